"""The rows of a batch, from a file or pasted lines, and the columns of its fields."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nlptasks import DataError, Task
from nlptasks.data import FORMATS, Table, match_columns, read_table, text_rows
from nlptasks_ui.pages.files import check_size

KINDS = (*FORMATS, ".gz")
MAX_BYTES = 50_000_000
MAX_ROWS = 50_000
MAX_COLUMNS = 500


def read_file(path: Path) -> Table:
    """The rows of a file; `problems` has a line for each row that cannot be read, and the others stay.

    Raises:
        DataError: the file as a whole is of no known kind, too large, without rows, or has two columns of one name.
    """
    check_size(path, path.name, MAX_BYTES, "split the file")
    return _checked(read_table(path, text="lines", name=path.name, limit=MAX_ROWS + 1))


def read_lines(text: str, source: str = "pasted text") -> Table:
    """One row for each line that holds something; raises DataError like `read_file`."""
    table = Table(source, ("text",))
    table.fill(text_rows(io.StringIO(text, newline=None), source, by_line=True))
    return _checked(table)


def guess_columns(task: Task[Any, Any, Any], table: Table) -> dict[str, str]:
    """The column for each input field that has one, by the field's name or a usual one.

    A required field without one gets the column with the longest texts.
    """
    fields = task.input_type.model_fields
    matched: dict[str, str] = {}
    for name, field in fields.items():
        free = [column for column in table.columns if column not in matched.values()]
        matched |= match_columns(table.source, free, [name])
        if name not in matched and field.is_required() and free:
            matched[name] = _longest(table, free)
    # A task may have no required field, when it takes one of several.
    return matched or {next(iter(fields)): _longest(table, table.columns)}


def inputs_of(table: Table, columns: Mapping[str, str], fixed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One input for each row: fields from their columns, and those that all rows share.

    A cell without a value leaves its field to the shared one, or else to the field's default.
    """
    rows = []
    for row in table.rows:
        cells = {field: row.fields.get(column) for field, column in columns.items()}
        rows.append({**fixed, **{field: value for field, value in cells.items() if value not in (None, "")}})
    return rows


def _longest(table: Table, columns: Sequence[str]) -> str:
    return max(columns, key=lambda column: _average_length(table, column))


def _average_length(table: Table, column: str) -> float:
    texts = [row.fields.get(column) for row in table.rows[:100]]
    return sum(len(text) for text in texts if isinstance(text, str)) / max(1, len(texts))


def _checked(table: Table) -> Table:
    """The table without blank lines, or a DataError for what makes it useless as a whole."""
    if len(table.columns) > MAX_COLUMNS:
        raise DataError(f"{table.source}: expected at most {MAX_COLUMNS} columns, found {len(table.columns)}.")
    table.rows = [row for row in table.rows if not row.bare or row.fields["text"].strip()]
    if len(table.rows) + len(table.problems) > MAX_ROWS:
        raise DataError(
            f"{table.source}: expected at most {MAX_ROWS:,} rows, found more: split the file, "
            "or run it with `nlptasks run TASK -f FILE`."
        )
    if not table.rows:
        raise DataError(f"{table.source}: expected rows, found none.", table.problems)
    return table
