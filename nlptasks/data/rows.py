"""A row with its place, the table that rows make, and how data is read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from nlptasks.data.files import text_fault
from nlptasks.errors import DataError, clip

T = TypeVar("T")

_NO_VALUE = ("NAType", "NaTType")


class Row(NamedTuple):
    """One row; `place` is `file:line`, or the closest that the format allows.

    A row that cannot be read has no fields; `fault` is the reason. `bare` marks a text without a column, as of a .txt
    file: its field is "text".
    """

    place: str
    fields: Mapping[str, Any] = MappingProxyType({})
    fault: str = ""
    bare: bool = False


@dataclass
class Table:
    """The content of one source. `problems` has a line for each row that cannot be read, `notes` other remarks.

    `class_names` maps a column of integers to their names, where the source defines them. `known` are columns that
    count as read: those that the caller named, and the text of tokens.
    """

    source: str
    columns: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    sha256: str | None = None
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    revision: str | None = None
    notes: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    @property
    def all_columns(self) -> tuple[str, ...]:
        """The columns, or the names of all fields where the format has no header."""
        return self.columns or tuple(dict.fromkeys(name for row in self.rows for name in row.fields))

    def set_columns(self, names: Iterable[Any]) -> None:
        """Set the column names from a header; a column without a name is called by its number.

        Raises:
            DataError: two columns have the same name, or one is not valid text.
        """
        stripped = ("" if name is None else str(name).strip() for name in names)
        self.columns = tuple(name or f"column {number}" for number, name in enumerate(stripped, start=1))
        if fault := text_fault(self.columns):
            raise DataError(f"{self.source}: {fault}")
        if twice := ", ".join(sorted({repr(name) for name in self.columns if self.columns.count(name) > 1})):
            raise DataError(
                f"{self.source}: expected a different name for each column, found {twice} twice: rename one."
            )

    def fill(self, rows: Iterable[Row]) -> None:
        """Add rows, and the faults of those that cannot be read."""
        for row in rows:
            if row.fault:
                self.problems.append(f"{row.place}: {row.fault}")
            else:
                self.rows.append(row)


class Reads(dict[str, Any]):
    """The fields of a row; the names of those that are looked up and have a value are added to `names`."""

    def __init__(self, fields: Mapping[str, Any], names: set[str]) -> None:
        super().__init__(fields)
        self._names = names

    def __getitem__(self, name: str) -> Any:
        return self._read(name, super().__getitem__(name))

    def get(self, name: str, default: Any = None) -> Any:
        return self._read(name, super().get(name, default))

    def _read(self, name: str, value: Any) -> Any:
        if name in self and not is_missing(value):
            self._names.add(name)
        return value


def read_note(table: Table, names: set[str], *, always: bool = False) -> list[str]:
    """Which columns of a table were read, and which were not; nothing if all were, unless `always`."""
    columns = table.all_columns
    names = names | table.known
    used, left = [[name for name in columns if (name in names) is read] for read in (True, False)]
    if not used or not (left or always):
        return []
    ignored = f"; not read: {', '.join(left)}" if left else ""
    return [f"{table.source}: columns read: {', '.join(used)}{ignored}"]


Source = str | Table
"""Labelled data to read: the name of a file or Hub data set, or a table in memory."""


def source_name(source: Source) -> str:
    """A source's name, to display."""
    return source.source if isinstance(source, Table) else source


@dataclass(frozen=True)
class DataOptions:
    """How to read data. Columns that are not named are matched by their usual names.

    `columns` maps a field to the column that holds it, as in `{"text": "review"}`, or to None for an input field that
    no column holds; `text_column` and `label_column` name two of them. `labels` replaces the task's label names.
    `max_rows` limits the training rows. `held_out` is the share of rows kept out of training if there is no validation
    data. `encoding` is that of files that are neither UTF-8 nor UTF-16 with a byte order mark; `sheet` names the sheet
    of a workbook, the first if None. Rows and entities with other labels than those of `only` are left out, with a
    note.
    """

    text_column: str | None = None
    label_column: str | None = None
    labels: tuple[str, ...] | None = None
    max_rows: int | None = None
    held_out: float = 0.1
    rename: Mapping[str, str] = field(default_factory=dict)
    allow_misaligned: bool = False
    columns: Mapping[str, str | None] = field(default_factory=dict)
    encoding: str | None = None
    sheet: str | None = None
    only: tuple[str, ...] | None = None

    def column(self, name: str) -> str | None:
        """The column that the caller named for a field."""
        short = {"text": self.text_column, "label": self.label_column}
        return self.columns.get(name) or short.get(name)

    def wants(self, label: str) -> bool:
        """Whether rows or entities with this label are read."""
        return self.only is None or label.casefold() in {name.casefold() for name in self.only}


class RowFault(ValueError):
    """A fault of one row; the reader adds its place."""


def windows(items: Iterable[T], largest: int = 512) -> Iterator[list[T]]:
    """Items in lists, each twice as long as the last, from 8 to `largest`: the first are there soon."""
    size, rest = 8, iter(items)
    while window := list(islice(rest, size)):
        yield window
        size = min(2 * size, largest)


def is_missing(value: Any) -> bool:
    """Whether a cell has no value: None, a blank text, NaN, pandas' NA and NaT."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in _NO_VALUE


def show(value: Any) -> str:
    """A value and its type, short enough for an error."""
    return "none" if value is None else f"{clip(repr(value), 40)} ({type(value).__name__})"


def plural(count: int, what: str) -> str:
    """A count with its noun."""
    return f"{count} {what}{'' if count == 1 else 's'}"
