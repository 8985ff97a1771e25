"""Rows of data files and Hub data sets, each with the place it came from. Nothing here knows a task."""

from __future__ import annotations

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

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
_HUB = re.compile(r"hub:(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?(?::(?P<split>[\w.-]+))?")
_SURROGATE = re.compile("[\ud800-\udfff]")


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
    return None


def _read(source: str, offline: bool, split: str) -> Table:
    if source.startswith("hub:"):
        return _read_hub(source, offline, split)
    path = Path(source).expanduser()
    content = path.read_bytes()
    table = Table(source, sha256=hashlib.sha256(content).hexdigest())
    if path.suffix.lower() == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise DataError(f"{source}: expected gzip, found something else or half a file ({error}).") from error
    kind = _format(path)
    if kind == ".parquet":
        _read_parquet(table, content)
        return table
    # Undecodable bytes come back as surrogates, so that their rows can be named.
    text = content.decode("utf-8-sig", errors="surrogateescape")
    readers = {".csv": _read_csv, ".tsv": _read_tsv, ".jsonl": _read_jsonl, ".json": _read_json}
    readers[kind](table, text)
    return table


def _format(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _read_csv(table: Table, text: str) -> None:
    _read_delimited(table, text, ",", csv.QUOTE_MINIMAL)


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
            table.columns = tuple(name.strip() for name in row)
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
    for column, feature in data.features.items():
        names = getattr(feature, "names", None)
        if names:
            table.class_names[column] = tuple(names)
    _add_rows(table, data)
    return table
