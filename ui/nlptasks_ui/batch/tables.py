"""What a user hands in for a batch, as rows: files of six kinds, or pasted lines; and which column is which field."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nlptasks import DataError, Task
from nlptasks.data import Record, Table, common_column, parse_table

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".txt", ".xlsx")
MAX_BYTES = 50_000_000
MAX_ROWS = 50_000
MAX_COLUMNS = 500
_UNPACKED = 20
"""How many times its size a workbook may hold; those that offices write hold about ten times."""

TEXT = "text"
"""The column of a file that has lines and no columns."""

COMMON = {
    "text": ("text", "sentence", "content", "review", "comment", "body", "message", "document", "article"),
    "question": ("question", "query"),
    "context": ("context", "passage", "paragraph", "document", "text"),
    "prompt": ("prompt", "instruction", "text", "question"),
    "target_language": ("target_language", "target", "to"),
    "source_language": ("source_language", "language", "lang", "from"),
}
"""Usual column names of public data sets, by the field that they are for."""


def read_file(path: Path) -> Table:
    """The rows of a file; `problems` has a line for each row that cannot be read, and the others are kept.

    Raises:
        DataError: the file as a whole is of no known kind, too large, without rows, or has two columns of one name.
    """
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise DataError(f"{path.name}: expected one of {', '.join(FORMATS)}, found {kind or 'no ending'!r}.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DataError(
            f"{path.name}: expected at most {MAX_BYTES // 10**6} MB, found {size / 10**6:.0f} MB: split the file."
        )
    content = path.read_bytes()
    if kind == ".xlsx":
        return _checked(_read_workbook(path.name, content))
    if kind == ".txt":
        return read_lines(content.decode("utf-8-sig", errors="surrogateescape"), path.name)
    return _checked(parse_table(path.name, content))


def read_lines(text: str, source: str = "pasted text") -> Table:
    """One row for each line that holds something; raises DataError like `read_file`."""
    table = Table(source, columns=(TEXT,))
    for number, line in enumerate(text.splitlines(), start=1):
        if any("\ud800" <= character <= "\udfff" for character in line):
            table.problems.append(f"{source}:{number}: expected UTF-8, found other bytes; save the file as UTF-8.")
        elif line.strip():
            table.records.append(Record(f"{source}:{number}", {TEXT: line.strip()}))
    return _checked(table)


def guess_columns(task: Task[Any, Any, Any], table: Table) -> dict[str, str]:
    """The column for each input field that has one: of the field's own name, else of a usual one.

    A required field of text that is still without a column gets the one with the longest texts.
    """
    found: dict[str, str] = {}
    for name, field in task.input_type.model_fields.items():
        free = [column for column in table.columns if column not in found.values()]
        column = common_column(free, (name, *COMMON.get(name, ())))
        if column is None and field.is_required() and free:
            column = max(free, key=lambda name: _average_length(table, name))
        if column is not None:
            found[name] = column
    if not found and table.columns:
        # A task may have no required field, when it takes one of several.
        found[next(iter(task.input_type.model_fields))] = max(table.columns, key=lambda c: _average_length(table, c))
    return found


def inputs_of(table: Table, columns: Mapping[str, str], fixed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One input for each row: fields from their columns, and those that all rows share.

    A cell without a value leaves its field to the shared one, or else to the field's default.
    """
    rows = []
    for record in table.records:
        cells = {field: record.fields.get(column) for field, column in columns.items()}
        rows.append({**fixed, **{field: value for field, value in cells.items() if value not in (None, "")}})
    return rows


def _average_length(table: Table, column: str) -> float:
    texts = [record.fields.get(column) for record in table.records[:100]]
    return sum(len(text) for text in texts if isinstance(text, str)) / max(1, len(texts))


def _checked(table: Table) -> Table:
    """The table, or a DataError for what makes it useless as a whole."""
    if len(table.columns) > MAX_COLUMNS:
        raise DataError(f"{table.source}: expected at most {MAX_COLUMNS} columns, found {len(table.columns)}.")
    twice = sorted({name for name in table.columns if table.columns.count(name) > 1})
    if twice:
        named = ", ".join(repr(name) for name in twice)
        raise DataError(f"{table.source}: expected a name of its own for each column, found {named} twice: rename one.")
    if len(table.records) > MAX_ROWS:
        raise DataError(
            f"{table.source}: expected at most {MAX_ROWS:,} rows, found {len(table.records):,}: split the file, "
            "or run it with `nlptasks run TASK -f FILE`."
        )
    if not table.records:
        raise DataError(f"{table.source}: expected rows, found none.", table.problems)
    return table


def _read_workbook(source: str, content: bytes) -> Table:
    """The first sheet of a workbook, its first row the names of the columns."""
    import openpyxl

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            size = sum(part.file_size for part in packed.infolist())
        if size > _UNPACKED * MAX_BYTES:
            raise DataError(f"{source}: expected a workbook of texts, found {size / 10**9:.1f} GB packed in it.")
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    except DataError:
        raise
    except Exception as error:
        # openpyxl raises whatever the broken part of the file made it stumble over.
        raise DataError(f"{source}: expected an Excel workbook, found something else ({error}).") from error
    try:
        table = Table(source)
        sheet, *others = book.worksheets
        if others:
            table.problems.append(f"{source}: only the first of {len(others) + 1} sheets is read ({sheet.title}).")
        # Some writers note a wrong size in the sheet, and openpyxl would believe it.
        sheet.reset_dimensions()
        for number, cells in enumerate(_rows(sheet), start=1):
            _add_row(table, number, cells)
        return table
    finally:
        book.close()


def _rows(sheet: Any) -> Iterator[list[Any]]:
    for cells in sheet.iter_rows(values_only=True):
        row = [_value(cell) for cell in cells]
        while row and row[-1] in (None, ""):
            row.pop()
        yield row


def _value(cell: Any) -> Any:
    """Numbers and texts as what a reader of the sheet would call them: every field of text takes them."""
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell if cell is None else str(cell)


def _add_row(table: Table, number: int, cells: Sequence[Any]) -> None:
    place = f"{table.source}:{number}"
    if not cells or len(table.records) > MAX_ROWS:
        return
    if not table.columns:
        table.columns = tuple(str(cell or "").strip() or f"column {i}" for i, cell in enumerate(cells, start=1))
    elif len(cells) > len(table.columns):
        table.problems.append(f"{place}: expected {len(table.columns)} cells, found {len(cells)}.")
    else:
        filled = [*cells, *[None] * (len(table.columns) - len(cells))]
        table.records.append(Record(place, dict(zip(table.columns, filled, strict=True))))
