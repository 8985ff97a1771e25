"""Rows of data files and Hub data sets, each with the place it came from. Nothing here knows a task."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nlptasks.errors import DataError, MissingExtraError

COLUMN_FORMATS = (".conll", ".bio", ".iob", ".txt")
"""One token a line with its tag in the last column; a blank line ends a sentence."""

MISALIGNED_LIMIT = 0.01
"""The share of spans that may be moved without being asked: above it, the offsets are wrong as a whole."""

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", *COLUMN_FORMATS)
_HUB = re.compile(r"hub:(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?(?::(?P<split>[\w.-]+))?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NUMBER = re.compile(r"\d+")
_TAG = re.compile(r"O|[A-Z]-\S+")


@dataclass(frozen=True)
class Record:
    """One row; `place` is `file:line`, or the nearest thing to it that the format has."""

    place: str
    fields: Mapping[str, Any]


@dataclass
class Table:
    """What one source holds. `problems` has a line for each row that cannot be read.

    `class_names` maps a column of integers to the names that the source itself gives them.
    """

    source: str
    columns: tuple[str, ...] = ()
    records: list[Record] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    sha256: str | None = None
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    revision: str | None = None


class RowFault(ValueError):
    """What is wrong with one row; the reader adds the place."""


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
        self.bad += sorted([*table.problems, *faults], key=lambda fault: _row_number(fault, table.source))
        if not table.records and not table.problems:
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


def show(value: Any) -> str:
    """A value and its type, short enough for an error."""
    shown = repr(value)
    return "none" if value is None else f"{shown if len(shown) <= 40 else shown[:37] + '...'} ({type(value).__name__})"


def plural(count: int, what: str) -> str:
    """A count with its noun."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def read_tables(sources: Sequence[str], *, offline: bool = False, split: str = "train") -> list[Table]:
    """Read every source; `split` is taken of a Hub data set that names none.

    Raises:
        DataError: naming every source that is not there or not readable at all.
    """
    if not sources:
        raise DataError("No data was given: name at least one file, or hub:ORG/NAME.")
    faults = [fault for source in sources if (fault := _source_fault(source))]
    if faults:
        raise DataError("The data cannot be read.", faults)
    return [_read(source, offline, split) for source in sources]


def _source_fault(source: str) -> str | None:
    if source.startswith("hub:"):
        return None if _HUB.fullmatch(source) else f"{source}: expected hub:ORG/NAME[@REVISION][:SPLIT]."
    path = Path(source).expanduser()
    if not path.is_file():
        return f"{source}: expected a file, found {'a folder' if path.is_dir() else 'none'}."
    if _format(path) not in FORMATS:
        return f"{source}: expected one of {', '.join(FORMATS)} (also with .gz), found {path.suffix or 'no ending'!r}."
    if _format(path) == ".txt" and not _holds_columns(path):
        return f"{source}: expected a token and a tag (O, B-TYPE) on each line of a .txt file, found none on its first."
    return None


def _holds_columns(path: Path) -> bool:
    """Whether a .txt file, whose ending says nothing, begins like tagged columns."""
    content = path.read_bytes()
    if path.suffix.lower() == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError):
            return True  # The reading itself says what is wrong with it.
    lines = content.decode("utf-8-sig", errors="replace").split("\n")
    rows = (_cells(line) for line in lines if line.strip() and not line.startswith(("#", "-DOCSTART-")))
    first = next(rows, [])
    return len(first) > 1 and bool(_TAG.fullmatch(first[-1]))


def _read(source: str, offline: bool, split: str) -> Table:
    if source.startswith("hub:"):
        return _read_hub(source, offline, split)
    return parse_table(source, Path(source).expanduser().read_bytes())


def parse_table(source: str, content: bytes) -> Table:
    """The rows of a file's bytes; the ending of `source` says the format, and places begin with it.

    Raises:
        DataError: the bytes as a whole are not what the ending says.
    """
    table = Table(source, sha256=hashlib.sha256(content).hexdigest())
    if source.lower().endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise DataError(f"{source}: expected gzip, found something else or half a file ({error}).") from error
    kind = _format(Path(source))
    if kind == ".parquet":
        _read_parquet(table, content)
        return table
    # Undecodable bytes come back as surrogates, so that their rows can be named.
    text = content.decode("utf-8-sig", errors="surrogateescape")
    readers = {".csv": _read_csv, ".tsv": _read_tsv, ".jsonl": _read_jsonl, ".json": _read_json}
    readers.get(kind, _read_columns)(table, text)
    return table


def _format(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _read_csv(table: Table, text: str) -> None:
    # Spreadsheets of many countries separate by semicolons, since their comma is the decimal point.
    head = text.split("\n", 1)[0]
    _read_delimited(table, text, ";" if head.count(";") > head.count(",") else ",", csv.QUOTE_MINIMAL)


def _read_tsv(table: Table, text: str) -> None:
    """Tab-separated files exist with and without quoting; the reading with fewer faults is taken."""
    quoted, plain = Table(table.source), Table(table.source)
    _read_delimited(quoted, text, "\t", csv.QUOTE_MINIMAL)
    if not quoted.problems:
        best = quoted
    else:
        _read_delimited(plain, text, "\t", csv.QUOTE_NONE)
        best = plain if len(plain.problems) < len(quoted.problems) else quoted
    table.columns, table.records, table.problems = best.columns, best.records, best.problems


def _read_delimited(table: Table, text: str, delimiter: str, quoting: int) -> None:
    csv.field_size_limit(1 << 30)
    stream = io.StringIO(text, newline="")
    rows = csv.reader(stream, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
    while True:
        line = rows.line_num + 1
        place = f"{table.source}:{line}"
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            found = "a quote that is never closed" if "end of data" in str(error) else str(error)
            table.problems.append(f"{place}: expected fields separated by {delimiter!r}, found {found}.")
            continue
        if not table.columns:
            table.columns = tuple(name.strip() or f"column {place}" for place, name in enumerate(row, start=1))
        elif row:
            _add_delimited(table, place, row)


def _add_delimited(table: Table, place: str, row: list[str]) -> None:
    if len(row) != len(table.columns):
        table.problems.append(f"{place}: expected {len(table.columns)} fields, found {len(row)}.")
    elif any(_SURROGATE.search(value) for value in row):
        table.problems.append(f"{place}: expected UTF-8, found other bytes; save the file as UTF-8.")
    else:
        table.records.append(Record(place, dict(zip(table.columns, row, strict=True))))


def _read_jsonl(table: Table, text: str) -> None:
    # Not splitlines(): it would also cut at U+2028 and the like, which JSON strings may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{table.source}:{number}"
        if _SURROGATE.search(line):
            table.problems.append(f"{place}: expected UTF-8, found other bytes; save the file as UTF-8.")
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            table.problems.append(f"{place}: expected a JSON object, found broken JSON ({error.msg}).")
            continue
        _add_object(table, place, row)


def _read_columns(table: Table, text: str) -> None:
    """One record a sentence, at the place of its first token."""
    table.columns = ("tokens", "tags")
    first, width = 0, 0
    sentence: list[list[str]] = []
    # The blank line at the end closes the last sentence.
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        cells = _cells(line)
        if not line.strip() or cells[0] == "-DOCSTART-":
            if sentence:
                fields = {"tokens": [row[0] for row in sentence], "tags": [row[-1] for row in sentence]}
                table.records.append(Record(f"{table.source}:{first}", fields))
            sentence = []
        elif not _is_comment(line, cells, width):
            width = width or len(cells)
            fault = _cells_fault(cells, width)
            if fault:
                table.problems.append(f"{table.source}:{number}: {fault}")
                continue
            first = first if sentence else number
            sentence.append(cells)


def _cells(line: str) -> list[str]:
    # Not split(): it would also cut at a no-break space inside a token.
    line = line.rstrip("\r\t ")
    cells = line.split("\t") if "\t" in line else [cell for cell in line.split(" ") if cell]
    return [cell.strip() for cell in cells]


def _is_comment(line: str, cells: list[str], width: int) -> bool:
    """Whether a line is a comment and not the token `#` with its tag."""
    tagged = len(cells) == (width or 2) and bool(_TAG.fullmatch(cells[-1]))
    return cells == ["#"] or (line.startswith(("# ", "#\t")) and not tagged)


def _cells_fault(cells: list[str], width: int) -> str | None:
    if any(_SURROGATE.search(cell) for cell in cells):
        return "expected UTF-8, found other bytes; save the file as UTF-8."
    if len(cells) < 2:
        return f"expected a token and a tag in columns, found one column ({cells[0]!r})."
    if len(cells) != width:
        return f"expected {width} columns as in the first line, found {len(cells)}."
    if not cells[0]:
        return "expected a token in the first column, found none."
    return None


def _read_json(table: Table, text: str) -> None:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            # One object a line under the name .json is common.
            return _read_jsonl(table, text)
        raise DataError(f"{table.source}:{error.lineno}: expected JSON, found a fault: {error.msg}.") from error
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        content = lists[0] if len(lists) == 1 else [content]
    if not isinstance(content, list):
        raise DataError(f"{table.source}: expected a JSON array of objects, found {type(content).__name__}.")
    for number, row in enumerate(content, start=1):
        _add_object(table, f"{table.source}: item {number}", row)
    return None


def _add_object(table: Table, place: str, row: object) -> None:
    match row:
        case [str() as text, dict() as annotations] if "entities" in annotations:
            # spaCy's training pairs are the one common shape that is no object.
            row = {"text": text, **annotations}
    if not isinstance(row, dict):
        table.problems.append(f"{place}: expected a JSON object, found {type(row).__name__}.")
        return
    new = tuple(key for key in row if key not in table.columns)
    table.columns += new
    table.records.append(Record(place, row))


def _read_parquet(table: Table, content: bytes) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Reading Parquet", "train") from error
    try:
        rows = pyarrow.parquet.read_table(io.BytesIO(content))
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{table.source}: expected Parquet, found something else ({error}).") from error
    table.columns = tuple(rows.column_names)
    # The Hub's own files have their features in the metadata.
    with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
        table.class_names = _class_names(json.loads(rows.schema.metadata[b"huggingface"])["info"]["features"])
    _add_rows(table, rows.to_pylist())


def _add_rows(table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    table.records += [Record(f"{table.source}: row {number}", row) for number, row in enumerate(rows, start=1)]


def _read_hub(source: str, offline: bool, split: str) -> Table:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("Reading Hub data sets", "train") from error
    found = _HUB.fullmatch(source)
    assert found is not None
    chosen = found["split"] or split
    try:
        data = datasets.load_dataset(
            found["repo"],
            revision=found["revision"],
            split=chosen,
            download_config=datasets.DownloadConfig(local_files_only=offline),
        )
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "the network is off, and it is not in the cache" if offline else "check its name, split and the network"
        raise DataError(f"{source}: the split {chosen!r} cannot be loaded: {reason} ({hint}).") from error
    table = Table(source, columns=tuple(data.column_names), revision=found["revision"])
    table.class_names = _class_names(data.features.to_dict())
    _add_rows(table, data)
    return table


def _class_names(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """What the numbers of each column mean, by the `datasets` library's description of the columns."""
    found: dict[str, tuple[str, ...]] = {}
    for column, feature in features.items():
        match feature:
            # Tags are a sequence of class labels, which older files describe by a list of one.
            case (
                {"_type": "ClassLabel", "names": names}
                | {"feature": {"_type": "ClassLabel", "names": names}}
                | [{"_type": "ClassLabel", "names": names}]
            ):
                found[column] = tuple(names)
    return found


def _row_number(fault: str, source: str) -> int:
    """The row number in a fault's place, so that faults are listed in the file's order."""
    number = _NUMBER.search(fault, len(source))
    return int(number[0]) if number else 0
