"""The output of a batch, made of its parts: JSONL, CSV, Parquet or a workbook, by its ending."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from nlptasks import MissingExtraError, NlptasksError
from nlptasks.batches.columns import ROW, Kind
from nlptasks.batches.parts import writing

_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
"""Characters that a spreadsheet may take for the start of a formula (OWASP, CSV Injection)."""

_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?%?")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that are not allowed in XML, and so not in a workbook."""

_CELL = 32_767
"""The most characters in a cell of a workbook."""

_SHEET = 1_048_576
"""The most rows of a sheet, with the header."""

_CUT = " [truncated: JSONL, CSV and Parquet have the full text]"
_BEGIN = (1980, 1, 1, 0, 0, 0)
"""The date of a workbook and its files, so that the same rows give the same bytes."""

_DATE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

_GROUP = 65_536
"""Rows of a row group of a Parquet file."""


def output_format(path: Path) -> str:
    """The ending of an output.

    Raises:
        NlptasksError: it is none of `OUTPUTS`.
        MissingExtraError: a package for it is not installed.
    """
    ending = path.suffix.lower()
    if ending not in OUTPUTS:
        raise NlptasksError(
            f"{path}: expected an output that ends in {', '.join(OUTPUTS)}, found {ending or 'none'!r}."
        )
    module = {".parquet": "pyarrow", ".xlsx": "openpyxl"}.get(ending)
    if module:
        try:
            __import__(module)
        except ImportError as error:
            raise MissingExtraError(f"An output in {ending}", "tables") from error
    return ending


def write_output(parts: Sequence[Path], output: Path, answers: Mapping[str, Kind], temporary: Path) -> None:
    """Write the rows of all parts to the output, which is whole or not there.

    The columns are the row's number, those of the input in the order of their first appearance, and `answers`.

    Raises:
        NlptasksError: the disk is full and the like.
    """
    write = OUTPUTS[output_format(output)]
    with writing(output):
        with temporary.open("wb") as stream:
            write(stream, PartTable(parts, answers))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(output)


class PartTable:
    """The rows of part files as one table, read anew by each loop."""

    def __init__(self, parts: Sequence[Path], answers: Mapping[str, Kind]) -> None:
        self._parts, self._answers = parts, answers

    def lines(self) -> Iterator[bytes]:
        """The rows as lines of JSON."""
        for part in self._parts:
            with part.open("rb") as stream:
                yield from stream

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows; a column that a row lacks is not in it."""
        return map(json.loads, self.lines())

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """The kind of each column; one of the input whose rows differ holds texts."""
        read: dict[str, set[Kind]] = {}
        for row in self.rows():
            for name, value in row.items():
                if name not in self._answers and name != ROW:
                    kinds = read.setdefault(name, set())
                    kinds |= set() if value is None else {_kind_of(value)}
        return {ROW: "integer", **{name: _common(kinds) for name, kinds in read.items()}, **self._answers}

    def cells(self) -> Iterator[list[Any]]:
        """The rows as plain values of each column's kind: nested ones are JSON."""
        for row in self.rows():
            yield cells(row, self.kinds)


def cells(row: Mapping[str, Any], kinds: Mapping[str, Kind]) -> list[Any]:
    """A row as plain values of the kinds: nested ones are JSON."""
    return [_cell(row.get(name), kind) for name, kind in kinds.items()]


def _kind_of(value: Any) -> Kind:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer" if -(2**63) <= value < 2**63 else "string"
    return "number" if isinstance(value, float) else "string" if isinstance(value, str) else "json"


def _common(kinds: set[Kind]) -> Kind:
    if len(kinds) == 1:
        return next(iter(kinds))
    return "number" if kinds == {"integer", "number"} else "string"


def _cell(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if kind == "json" or isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value) if kind == "string" else float(value) if kind == "number" else value


def write_csv(stream: BinaryIO, table: PartTable, *, spreadsheet: bool = False) -> None:
    """Write a header and the rows, in UTF-8.

    For a `spreadsheet`, the file has the byte order mark that Excel needs to recognize UTF-8, and a text that could be
    taken for a formula a leading apostrophe.
    """
    text = io.TextIOWrapper(stream, "utf-8-sig" if spreadsheet else "utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    plain = _without_formula if spreadsheet else lambda value: value
    writer.writerows([plain(value) for value in row] for row in chain([list(table.kinds)], table.cells()))
    text.detach()


def _write_parquet(stream: BinaryIO, table: PartTable) -> None:
    from pyarrow import parquet

    with parquet.ParquetWriter(stream, record_batch([], table.kinds).schema) as writer:
        for group in _groups(table.cells(), _GROUP):
            writer.write_batch(record_batch(group, table.kinds))


def record_batch(rows: Sequence[Sequence[Any]], kinds: Mapping[str, Kind]) -> Any:
    """Rows of cells as an Arrow record batch with a column for each of the kinds."""
    import pyarrow

    types = {"integer": pyarrow.int64(), "number": pyarrow.float64(), "boolean": pyarrow.bool_()}
    schema = pyarrow.schema([(name, types.get(kind, pyarrow.string())) for name, kind in kinds.items()])
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pyarrow.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)


def _groups(rows: Iterator[list[Any]], size: int) -> Iterator[list[list[Any]]]:
    while group := list(islice(rows, size)):
        yield group


def write_workbook(stream: BinaryIO, table: PartTable) -> None:
    """Write a workbook of one sheet. Every text is stored and marked as text, so that none is taken for a formula."""
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("results")
    sheet.freeze_panes = "A2"
    for number, row in enumerate(chain([list(table.kinds)], table.cells())):
        if number >= _SHEET:
            raise NlptasksError(
                f"Expected at most {_SHEET - 1:,} rows for a workbook, found more: repeat the command with an output "
                "in .csv, .jsonl or .parquet."
            )
        sheet.append([_sheet_cell(sheet, value) for value in row])
    dated = io.BytesIO()
    book.save(dated)
    with zipfile.ZipFile(dated) as source, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == "docProps/core.xml":
                content = _DATE.sub(b"1980-01-01T00:00:00Z", content)
            target.writestr(zipfile.ZipInfo(entry.filename, _BEGIN), content, zipfile.ZIP_DEFLATED)


def _without_formula(value: Any) -> Any:
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def _sheet_cell(sheet: Any, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    from openpyxl.cell import WriteOnlyCell

    value = _FORBIDDEN.sub("\ufffd", value)
    if len(value) > _CELL:
        value = value[: _CELL - len(_CUT)] + _CUT
    cell = WriteOnlyCell(sheet, value)
    cell.data_type = "s"
    cell.quotePrefix = bool(_FORMULA.match(value))
    return cell


def _write_lines(stream: BinaryIO, table: PartTable) -> None:
    stream.writelines(table.lines())


OUTPUTS: dict[str, Callable[[BinaryIO, PartTable], None]] = {
    ".jsonl": _write_lines,
    ".csv": write_csv,
    ".parquet": _write_parquet,
    ".xlsx": write_workbook,
}
"""How an output is written, by its ending."""
