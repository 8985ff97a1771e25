"""A row of a data file with its place, and the table that rows make."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from nlptasks.data.files import text_fault
from nlptasks.errors import DataError

_NO_VALUE = ("NAType", "NaTType")


class Row(NamedTuple):
    """One row; `place` is `file:line`, or the nearest thing to it that the format has.

    A row that cannot be read has no fields and says in `fault` why. `bare` is a text that stands in no column:
    its field is called "text".
    """

    place: str
    fields: Mapping[str, Any] = MappingProxyType({})
    fault: str = ""
    bare: bool = False


@dataclass
class Table:
    """What one source holds. `problems` has a line for each row that cannot be read, `notes` what else to know.

    `class_names` maps a column of integers to the names that the source itself gives them.
    """

    source: str
    columns: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    sha256: str | None = None
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    revision: str | None = None
    notes: list[str] = field(default_factory=list)

    def set_columns(self, names: Iterable[Any]) -> None:
        """Take the names of a header; a column without one is called by its number.

        Raises:
            DataError: two columns have the same name, or one is no text.
        """
        stripped = ("" if name is None else str(name).strip() for name in names)
        self.columns = tuple(name or f"column {number}" for number, name in enumerate(stripped, start=1))
        if fault := text_fault(self.columns):
            raise DataError(f"{self.source}: {fault}")
        if twice := ", ".join(sorted({repr(name) for name in self.columns if self.columns.count(name) > 1})):
            raise DataError(
                f"{self.source}: expected a name of its own for each column, found {twice} twice: rename one."
            )

    def fill(self, rows: Iterable[Row]) -> None:
        """Take rows, and the faults of those that cannot be read."""
        for row in rows:
            if row.fault:
                self.problems.append(f"{row.place}: {row.fault}")
            else:
                self.rows.append(row)


class RowFault(ValueError):
    """What is wrong with one row; the reader adds the place."""


def is_missing(value: Any) -> bool:
    """Whether a cell has no value: None, a blank text, NaN, pandas' NA and NaT."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in _NO_VALUE


def show(value: Any) -> str:
    """A value and its type, short enough for an error."""
    shown = repr(value)
    return "none" if value is None else f"{shown if len(shown) <= 40 else shown[:37] + '...'} ({type(value).__name__})"


def plural(count: int, what: str) -> str:
    """A count with its noun."""
    return f"{count} {what}{'' if count == 1 else 's'}"
