"""The rows of a batch: what each holds, and the input that the task reads in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from nlptasks import AnyTask, DataError, InvalidInputError
from nlptasks.data import DataOptions, Row, field_values, input_columns


class TaskRow(NamedTuple):
    """One input of a task. `value` is None for a blank line, which has no answer, and after an `error`.

    `fields` are the columns of its row, none for a `text` without columns; `place` is its file and line.
    """

    value: Any
    place: str = ""
    fields: Mapping[str, Any] = MappingProxyType({})
    error: str = ""
    text: str = ""


class RowReader:
    """Makes inputs of rows, one at a time; a row that cannot be read has an `error`.

    `columns` of the options name the columns by field, or None for a field without one; the others are matched by their
    usual names. A text without columns is the column "text" for those who name it. `fields` are input fields with one
    value for all rows. With `by_line`, a blank line is a row without an answer, not a fault. `notes` says which columns
    of a source are read, when its last row was.
    """

    def __init__(
        self,
        task: AnyTask,
        options: DataOptions | None = None,
        *,
        by_line: bool = False,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        self._task, self._options, self._by_line = task, options or DataOptions(), by_line
        self._fields = dict(fields or {})
        known = task.input_type.model_fields
        needed = (name for name, field in known.items() if field.is_required() and name not in self._fields)
        self._first = next(needed, next(iter(known)))
        self.notes: list[str] = []

    def read(self, rows: Iterable[Row], source: str) -> Iterator[TaskRow]:
        """The inputs of one source.

        Raises:
            DataError: the columns of the first row do not fit the task.
        """
        matches: dict[tuple[str, ...], dict[str, str]] = {}
        named = "text" in self._options.columns.values()
        for row in rows:
            fields = row.fields if named or not row.bare else MappingProxyType({})
            if row.fault:
                yield TaskRow(None, row.place, fields, row.fault)
            elif row.bare and not row.fields["text"].strip():
                # Where fields are named, it is not plain which one a text is.
                field = f"{self._first}: " if self._fields else ""
                error = "" if self._by_line else f"{field}expected a text, found none."
                yield TaskRow(None, row.place, fields, error)
            elif row.bare and not named:
                text = row.fields["text"]
                yield TaskRow(self.value_of(text), row.place, text=text)
            else:
                yield self._of_columns(row, source, matches)
        self.notes += _column_notes(source, matches)

    def value_of(self, value: Any) -> Any:
        """An input with the fields that all rows share; a bare text is the first field that they leave.

        Raises:
            InvalidInputError: a field has two values.
        """
        values = {self._first: value} if isinstance(value, str) and self._fields else value
        if not isinstance(values, Mapping) or not self._fields:
            return values
        if both := ", ".join(name for name in values if name in self._fields):
            raise InvalidInputError(f"{self._task.name} got its input twice", [f"once in place and once as {both}."])
        return {**self._fields, **values}

    def _of_columns(self, row: Row, source: str, matches: dict[tuple[str, ...], dict[str, str]]) -> TaskRow:
        """The input in a row with columns, which are matched once for all rows that have these columns."""
        names = tuple(row.fields)
        if names not in matches:
            named = self._options.columns
            twice = {name: name for name in self._fields if name in names and named.get(name, name)}
            try:
                matched = input_columns(self._task, source, names, self._options.columns, self._fields)
            except DataError as error:
                if not matches:
                    raise
                return TaskRow(None, row.place, row.fields, str(error).removeprefix(f"{source}: "))
            matches[names] = twice | matched
        cells = {field: row.fields[column] for field, column in matches[names].items()}
        value = field_values(self._task, cells)
        return TaskRow(self.value_of(value), row.place, row.fields)


def _column_notes(source: str, matches: Mapping[tuple[str, ...], Mapping[str, str]]) -> list[str]:
    """Which columns are read, unless each has the name of its field and none is left."""
    read = {column: field for match in matches.values() for field, column in match.items()}
    rest = [column for column in dict.fromkeys(name for names in matches for name in names) if column not in read]
    if not rest and all(column == field for column, field in read.items()):
        return []
    used = ", ".join(f"{field} from {column!r}" for column, field in read.items())
    ignored = f"; not read: {', '.join(map(repr, rest))}" if rest else ""
    return [f"{source}: {used}{ignored}"]
