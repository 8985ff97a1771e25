"""Rows out of files and Hub data sets, each with the place it came from. Nothing here knows a task."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

from nlptasks.data.arrow import HUB, arrow_rows, hub_rows
from nlptasks.data.columns import match_columns
from nlptasks.data.files import TAGGED_FORMATS, DataFile, text_fault
from nlptasks.data.json_rows import json_file, json_lines
from nlptasks.data.rows import DataOptions, Row, Table, plural
from nlptasks.data.text import TEXT, delimited, tagged, text_file
from nlptasks.data.workbooks import sheet_rows
from nlptasks.errors import DataError

MISALIGNED_LIMIT = 0.01
"""The share of spans that may be moved without being asked: above it, the offsets are wrong as a whole."""

Text = Literal["whole", "lines", "tags"]
"""What a .txt file is: one text, a text a line, or a token a line with its tag in the last column."""

Reader = Callable[[DataFile, Table], Iterator[Row]]

_READERS: dict[str, Reader] = {
    ".csv": delimited,
    ".tsv": delimited,
    ".jsonl": json_lines,
    ".json": json_file,
    ".parquet": arrow_rows,
    ".arrow": arrow_rows,
    ".xlsx": sheet_rows,
}
_NUMBER = re.compile(r"\d+")


@dataclass
class Findings:
    """What a reading found: `bad` rows stop it, `moved` ones above a share of `total`, `notes` never."""

    what: str
    total: int = 0
    bad: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_table(self, table: Table, faults: Sequence[str]) -> None:
        """Add the bad rows of a table in the file's order."""
        self.bad += in_order(table.source, [*table.problems, *faults])
        self.notes += table.notes
        if not table.rows and not table.problems:
            self.bad.append(f"{table.source}: expected rows, found none.")

    def check(self, allow_misaligned: bool) -> None:
        """Raise DataError for bad rows and for too many misaligned ones; note those that were moved."""
        count = len(self.moved)
        share = f"{count} of {self.total} {self.what} are misaligned"
        if allow_misaligned or count <= MISALIGNED_LIMIT * self.total:
            if self.bad:
                raise DataError(f"{plural(len(self.bad), 'bad row')}; nothing was loaded.", self.bad)
            if count:
                self.notes.insert(0, f"{share} and were moved to the nearest valid place")
            return
        what = (
            f"{share} ({count / self.total:.1%}), at most {MISALIGNED_LIMIT:.0%} may be; nothing was loaded. "
            "Correct them, or give allow_misaligned to move each to the nearest valid place."
        )
        if self.bad:
            what = f"{plural(len(self.bad), 'bad row')}, and {what}"
        raise DataError(what, [*self.bad, *self.moved])


def in_order(source: str, faults: Sequence[str]) -> list[str]:
    """Faults in the order of their rows."""

    def row(fault: str) -> int:
        number = _NUMBER.search(fault, len(source))
        return int(number[0]) if number else 0

    return sorted(faults, key=row)


def read_rows(
    source: str | Path,
    *,
    text: Text = "whole",
    encoding: str | None = None,
    sheet: str | None = None,
    name: str | None = None,
) -> Iterator[Row]:
    """The rows of a file, one after the other; a row that cannot be read says why in `fault`.

    The ending says the format (`FORMATS`, each also with .gz). Of .json and .xlsx the whole file is in memory, else one
    row. `text` says what a .txt file is, `encoding` and `sheet` are those of DataOptions, `name` is what faults call
    the file.

    Raises:
        DataError: the file is not there, of no known kind, or not what its ending says.
        MissingExtraError: a package for its kind is not installed.
    """
    file = _file(source, encoding, sheet, name)
    return _rows(file, Table(file.name), text)


def read_text(source: str | Path, encoding: str | None = None) -> str:
    """A plain text as it stands; raises DataError like `read_rows`."""
    file = DataFile(str(source), Path(source).expanduser(), encoding)
    if not file.path.is_file():
        raise DataError(file.fault)
    [row] = _rows(file, Table(file.name), "whole", text_file)
    if row.fault:
        raise DataError(f"{row.place}: {row.fault}")
    return str(row.fields[TEXT])


def read_table(
    source: str | Path,
    *,
    text: Text = "whole",
    encoding: str | None = None,
    sheet: str | None = None,
    name: str | None = None,
    limit: int | None = None,
) -> Table:
    """The rows of a file at once, at most `limit` of them; else like `read_rows`."""
    file = _file(source, encoding, sheet, name)
    table = Table(file.name)
    table.fill(islice(_rows(file, table, text), limit))
    return table


def read_tables(
    sources: Sequence[str], options: DataOptions | None = None, *, offline: bool = False, split: str = "train"
) -> list[Table]:
    """Read every source of labelled data; `split` is taken of a Hub data set that names none.

    Raises:
        DataError: naming every source that is not there or not readable at all.
    """
    if not sources:
        raise DataError("No data was given: name at least one file, or hub:ORG/NAME.")
    if faults := [fault for source in sources if (fault := _source_fault(source))]:
        raise DataError("The data cannot be read.", faults)
    return [_read(source, options or DataOptions(), offline, split) for source in sources]


def _source_fault(source: str) -> str:
    if source.startswith("hub:"):
        return "" if HUB.fullmatch(source) else f"{source}: expected hub:ORG/NAME[@REVISION][:SPLIT]."
    return DataFile(source, Path(source).expanduser()).fault


def _read(source: str, options: DataOptions, offline: bool, split: str) -> Table:
    table = Table(source)
    if source.startswith("hub:"):
        table.fill(hub_rows(source, table, offline=offline, split=split))
    else:
        file = _file(source, options.encoding, options.sheet)
        table.fill(_rows(file, table, "tags"))
        with file.path.open("rb") as stream:
            table.sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return _with_fields(table, options.columns) if table.columns and options.columns else table


def _with_fields(table: Table, columns: Mapping[str, str]) -> Table:
    """The table in which the columns that the caller named stand under the names of their fields too."""
    places = match_columns(table.source, table.columns, tuple(columns), columns)
    table.class_names |= {field: table.class_names[name] for field, name in places.items() if name in table.class_names}
    table.rows = [
        row._replace(
            fields=dict(row.fields) | {f: row.fields[name] for f, name in places.items() if name in row.fields}
        )
        for row in table.rows
    ]
    return table


def _file(source: str | Path, encoding: str | None, sheet: str | None, name: str | None = None) -> DataFile:
    file = DataFile(name or str(source), Path(source).expanduser(), encoding, sheet)
    if file.fault:
        raise DataError(file.fault)
    return file


def _rows(file: DataFile, table: Table, text: Text, reader: Reader | None = None) -> Iterator[Row]:
    """The rows of a file, those with texts that are none as faults; what columns there are is noted in `table`."""
    as_text = tagged if text == "tags" else partial(text_file, by_line=text == "lines")
    reader = reader or _READERS.get(file.format, tagged if file.format in TAGGED_FORMATS else as_text)
    try:
        for row in reader(file, table):
            fault = "" if row.fault else text_fault(row.fields, file.encoding)
            yield Row(row.place, fault=fault) if fault else row
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{file.name}: expected gzip, found something else or half a file ({error}).") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file.name}: expected {error.encoding}, found other bytes ({error.reason}).") from error
    except OSError as error:
        raise DataError(f"{file.name}: expected a file that can be read, found a fault ({error}).") from error
