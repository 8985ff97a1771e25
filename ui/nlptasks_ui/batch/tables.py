"""The first rows of a file or of pasted lines, and the columns of a task's fields in them."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlptasks import DataError, Task
from nlptasks.data import FORMATS, Table, match_columns, read_table, text_rows
from nlptasks_ui.pages.files import check_size

KINDS = (*FORMATS, ".gz")
MAX_BYTES = 50_000_000
MAX_ROWS = 1_000_000
"""The most rows of a run: with its header, a sheet of a workbook has place for no more."""

MAX_COLUMNS = 500
FIRST_ROWS = 100
"""The rows that are read before a run."""


@dataclass(frozen=True)
class Upload:
    """A file that a user uploaded, or the `lines` that he pasted, with its first rows; `whole` if there are no more."""

    name: str
    table: Table
    whole: bool
    path: Path | None = None
    lines: str = ""

    def copy_to(self, target: Path) -> None:
        """Write a copy; raises DataError if the upload was deleted since."""
        if self.path is None:
            target.write_text(self.lines, encoding="utf-8", newline="\n")
            return
        try:
            shutil.copyfile(self.path, target)
        except FileNotFoundError:
            raise DataError(f"{self.name}: uploads are deleted after a day: upload it again.") from None


def read_file(path: Path) -> Upload:
    """The first rows of a file; `problems` has a line for each of them that cannot be read.

    Raises:
        DataError: the file as a whole is of no known kind, too large, without rows, or has two columns of one name.
    """
    check_size(path, path.name, MAX_BYTES, "split the file")
    table = read_table(path, text="lines", name=path.name, limit=FIRST_ROWS + 1)
    return _checked(table, path=path)


def read_lines(text: str, source: str = "pasted lines") -> Upload:
    """One row for each line that holds something; raises DataError like `read_file`."""
    table = Table(source, ("text",))
    lines = [line for line in io.StringIO(text, newline=None) if line.strip()]
    table.fill(text_rows(io.StringIO("".join(lines[: FIRST_ROWS + 1])), source, by_line=True))
    return _checked(table, lines="".join(lines), name=f"{source}.txt")


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


def _longest(table: Table, columns: Sequence[str]) -> str:
    return max(columns, key=lambda column: _average_length(table, column))


def _average_length(table: Table, column: str) -> float:
    texts = [row.fields.get(column) for row in table.rows]
    return sum(len(text) for text in texts if isinstance(text, str)) / max(1, len(texts))


def _checked(table: Table, *, name: str = "", path: Path | None = None, lines: str = "") -> Upload:
    """The upload, or a DataError for what makes it useless as a whole."""
    if len(table.columns) > MAX_COLUMNS:
        raise DataError(f"{table.source}: expected at most {MAX_COLUMNS} columns, found {len(table.columns)}.")
    whole = len(table.rows) + len(table.problems) <= FIRST_ROWS
    table.rows = [row for row in table.rows[:FIRST_ROWS] if not row.bare or row.fields["text"].strip()]
    if not table.rows and whole:
        raise DataError(f"{table.source}: expected rows, found none.", table.problems)
    return Upload(name or table.source, table, whole, path, lines)
