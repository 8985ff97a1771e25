"""Tables in memory of pandas, polars, Arrow and `datasets`, recognised by their methods; none is imported."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nlptasks.data.columns import field_values, input_columns
from nlptasks.data.rows import Table
from nlptasks.errors import DataError, InvalidInputError

if TYPE_CHECKING:
    from nlptasks.task import Task


def frame_rows(value: Any) -> tuple[list[str], Iterable[Iterable[Any]]] | None:
    """The columns and rows of a table in memory; None for anything else."""
    if hasattr(value, "iter_rows"):  # polars
        return list(value.columns), value.iter_rows()
    if hasattr(value, "itertuples"):  # pandas
        return [str(name) for name in value.columns], value.itertuples(index=False, name=None)
    names = getattr(value, "column_names", None)
    if isinstance(names, list):  # Arrow, datasets
        rows = value.to_pylist() if hasattr(value, "to_pylist") else value
        return list(names), (row.values() for row in rows)
    return None


def task_inputs(task: Task[Any, Any, Any], value: Any, present: Collection[str] = ()) -> Any:
    """A table's rows as mappings of a task's fields, an array of Arrow as a list; anything else as it is.

    `present` are fields that have their values already.

    Raises:
        InvalidInputError: a field that the task needs has no column.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return [value]  # One fault, not one a byte.
    if isinstance(value, str | Mapping):
        return value
    frame = frame_rows(value)
    if frame is None:
        value = value.to_pylist() if hasattr(value, "to_pylist") else value
        return value.item() if getattr(value, "ndim", None) == 0 else value
    names, rows = frame
    table = Table(type(value).__name__)
    hint = "Give one column, as in table['review'], or rename it."
    try:
        table.set_columns(names)
        matched = input_columns(task, table.source, table.columns, present=present, hint=hint)
    except DataError as error:
        raise InvalidInputError(f"{task.name} cannot read this table", [str(error)]) from None
    places = {field: table.columns.index(column) for field, column in matched.items()}
    cells = map(list, rows)
    return [field_values(task, {field: row[place] for field, place in places.items()}) for row in cells]
