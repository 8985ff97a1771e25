"""Rows of files and Hub data sets, each with its place. Nothing here knows a task."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Generic, Literal, TypeVar

from nlptasks.data.arrow import HUB, arrow_rows, hub_rows
from nlptasks.data.columns import match_columns
from nlptasks.data.files import TAGGED_FORMATS, DataFile, text_fault
from nlptasks.data.json_rows import json_file, json_lines
from nlptasks.data.label_studio import flattened
from nlptasks.data.rows import DataOptions, Reads, Row, RowFault, Source, Table, plural, read_note
from nlptasks.data.text import TEXT, delimited, tagged, text_file
from nlptasks.data.workbooks import sheet_rows
from nlptasks.errors import DataError

MISALIGNED_LIMIT = 0.01
"""The share of spans that may be moved without `allow_misaligned`: above it, the offsets as a whole are wrong."""

Text = Literal["whole", "lines", "tags"]
"""The content of a .txt file: one text, one text per line, or one token per line with its tag in the last column."""

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

T = TypeVar("T")


@dataclass
class Findings(Generic[T]):
    """The rows of labelled data, and what was wrong with them. `notes` describe how they were read.

    `bad` has a line for each faulty row, which is an error; `problems` one for each span that was moved, an error if
    they are too many of `total`. `what` is the plural of the spans; `hint` ends the error of bad rows. `columns`
    says which columns were read, where some were not.
    """

    what: str
    hint: str = ""
    total: int = 0
    bad: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[T] = field(default_factory=list)

    def read(
        self,
        tables: Sequence[Table],
        parse: Callable[[Row, Table], T | None],
        *,
        expand: Callable[[Row], Iterable[Row]] = lambda row: (row,),
        allow_misaligned: bool = False,
    ) -> list[T]:
        """What `parse` makes of the rows of all tables; it raises RowFault for a bad row, and returns None to skip one.

        `expand` splits a record into its rows.

        Raises:
            DataError: naming every bad row, and the misaligned spans if there are too many.
        """
        for table in tables:
            faults: list[str] = []
            names: set[str] = set()
            records = (record._replace(fields=Reads(record.fields, names)) for record in table.rows)
            for row in (part for record in records for part in expand(record)):
                try:
                    if row.fault:
                        raise RowFault(row.fault)
                    parsed = parse(row, table)
                    self.rows += [] if parsed is None else [parsed]
                except RowFault as fault:
                    faults.append(f"{row.place}: {fault}")
            self.add_table(table, faults)
            self.columns += read_note(table, names)
        self.check(allow_misaligned)
        if not self.rows:
            raise DataError(f"{', '.join(table.source for table in tables)}: expected rows, found none.")
        return self.rows

    def add_table(self, table: Table, faults: Sequence[str]) -> None:
        """Add the bad rows of a table, in the order of the file."""

        def number(fault: str) -> int:
            match = _NUMBER.search(fault, len(table.source))
            return int(match[0]) if match else 0

        self.bad += sorted([*table.problems, *faults], key=number)
        self.notes += table.notes
        if not table.rows and not table.problems:
            self.bad.append(f"{table.source}: expected rows, found none.")

    def check(self, allow_misaligned: bool) -> None:
        """Raise DataError for bad rows and for too many misaligned spans; note those that were moved."""
        count, bad = len(self.problems), plural(len(self.bad), "bad row")
        share = f"{count} of {self.total} {self.what} are misaligned"
        if allow_misaligned or count <= MISALIGNED_LIMIT * self.total:
            if self.bad:
                raise DataError(f"{bad}; nothing was loaded.{self.hint}", self.bad)
            if count:
                self.notes.insert(0, f"{share} and were moved to the nearest valid place")
            return
        raise DataError(
            f"{f'{bad}, and ' if self.bad else ''}{share} ({count / self.total:.1%}), at most {MISALIGNED_LIMIT:.0%} "
            "may be; nothing was loaded. Correct them, or move each to the nearest valid place with "
            "--allow-misaligned.",
            [*self.bad, *self.problems],
        )


def read_rows(
    source: str | Path,
    *,
    text: Text = "whole",
    encoding: str | None = None,
    sheet: str | None = None,
    name: str | None = None,
) -> Iterator[Row]:
    """The rows of a file as a stream; one that cannot be read has a `fault`.

    The extension decides the format (`FORMATS`, each also with .gz). Memory does not grow with the number of rows,
    except for .json and .xlsx, which are read whole. `text` says what a .txt file is, `encoding` and `sheet` are those
    of DataOptions, `name` is the file's in messages.

    Raises:
        DataError: the file does not exist, has an unknown extension, or is not in the format of its extension.
        MissingExtraError: a package for its format is not installed.
    """
    file = _file(source, encoding, sheet, name)
    return _rows(file, Table(file.name), text)


def read_text(source: str | Path, encoding: str | None = None) -> str:
    """The whole of a plain text; raises DataError like `read_rows`."""
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
    """The rows of a file as a table, at most `limit` of them; the other arguments are those of `read_rows`."""
    file = _file(source, encoding, sheet, name)
    table = Table(file.name)
    table.fill(islice(_rows(file, table, text), limit))
    return table


def read_tables(
    sources: Sequence[Source], options: DataOptions | None = None, *, offline: bool = False, split: str = "train"
) -> list[Table]:
    """Read sources of labelled data; `split` is the default for Hub data sets, a table is read already.

    Raises:
        DataError: naming every source that does not exist or cannot be read.
    """
    if not sources:
        raise DataError("Expected at least one file or hub:ORG/NAME, found no data.")
    if faults := [fault for source in sources if isinstance(source, str) and (fault := _source_fault(source))]:
        raise DataError("The data cannot be read.", faults)
    return [_read(source, options or DataOptions(), offline, split) for source in sources]


def _source_fault(source: str) -> str:
    if source.startswith("hub:"):
        return "" if HUB.fullmatch(source) else f"{source}: expected hub:ORG/NAME[@REVISION][:SPLIT]."
    return DataFile(source, Path(source).expanduser()).fault


def _read(source: Source, options: DataOptions, offline: bool, split: str) -> Table:
    if isinstance(source, Table):
        table = dataclasses.replace(source)
    elif source.startswith("hub:"):
        table = Table(source)
        table.fill(hub_rows(source, table, offline=offline, split=split))
    else:
        table, file = Table(source), _file(source, options.encoding, options.sheet)
        table.fill(_rows(file, table, "tags"))
        with file.path.open("rb") as stream:
            table.sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    table = flattened(table)
    named = {field: column for field, column in options.columns.items() if column is not None}
    return _with_fields(table, named) if table.columns and named else table


def _with_fields(table: Table, columns: Mapping[str, str]) -> Table:
    """The table with the columns that the caller named also under the names of their fields."""
    places = match_columns(table.source, table.columns, tuple(columns), columns)
    table.known |= set(places.values())
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
    """The rows of a file; one with invalid text becomes a fault. Sets the columns of `table`."""
    as_text = tagged if text == "tags" else partial(text_file, by_line=text == "lines")
    reader = reader or _READERS.get(file.format, tagged if file.format in TAGGED_FORMATS else as_text)
    try:
        for row in reader(file, table):
            fault = "" if row.fault else text_fault(row.fields, file.encoding)
            yield Row(row.place, fault=fault) if fault else row
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{file.name}: expected gzip, found something else or a truncated file ({error}).") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file.name}: expected {error.encoding}, found other bytes ({error.reason}).") from error
    except OSError as error:
        raise DataError(f"{file.name}: expected a readable file, found an error ({error}).") from error
