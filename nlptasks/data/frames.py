"""Tables in memory of pandas, polars, Arrow and `datasets`, recognised by their methods; none is imported."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nlptasks.data.columns import field_values, input_columns
from nlptasks.data.rows import Row, Table, show
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


def data_sources(data: Any) -> list[str | Table]:
    """The sources of labelled data: names of files and Hub data sets, and tables in memory.

    `data` is one source or a list of them: a name, a table of pandas, polars, Arrow or `datasets`, a mapping of columns
    to lists; or it is a list of mappings, or of pairs of a text and its label.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(data, str | Path):
        return [str(data)]
    if isinstance(data, Table):
        return [data]
    if (frame := frame_rows(data)) is not None:
        return [_table(type(data).__name__, *frame, class_names=_class_names(data))]
    if isinstance(data, Mapping):
        if not all(isinstance(values, list | tuple) for values in data.values()):
            raise DataError(
                f"Data: expected a table, or a mapping of columns to lists, found {type(data).__name__} of "
                f"{', '.join(map(str, data)) or 'nothing'}: name one of its tables."
            )
        return [_table("columns", list(data), zip(*data.values(), strict=False))]
    items = list(data) if isinstance(data, Iterable) and not isinstance(data, bytes | bytearray) else []
    if items and all(isinstance(item, Mapping) for item in items):
        table = Table("rows", columns=tuple(dict.fromkeys(str(name) for item in items for name in item)))
        table.fill(Row(f"rows:{number}", dict(item)) for number, item in enumerate(items, start=1))
        return [table]
    if items and all(isinstance(item, list | tuple) and len(item) == 2 for item in items):
        return [_table("pairs", ["text", "label"], items)]
    if not items and isinstance(data, list | tuple):
        return []
    if not items or not all(isinstance(item, str | Path | Table) or frame_rows(item) for item in items):
        raise DataError(
            "Data: expected files, Hub data sets, tables, a list of mappings, or of pairs of a text and its label, "
            f"found {show(data)}."
        )
    return [source for item in items for source in data_sources(item)]


def _table(
    name: str,
    columns: list[str],
    rows: Iterable[Iterable[Any]],
    class_names: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> Table:
    table = Table(name, class_names=dict(class_names))
    table.set_columns(columns)
    table.fill(
        Row(f"{name}:{number}", dict(zip(table.columns, map(_plain, row), strict=True)))
        for number, row in enumerate(rows, start=1)
    )
    return table


def _plain(cell: Any) -> Any:
    """A cell as Python has it: numpy's numbers and arrays have `tolist`."""
    return cell.tolist() if hasattr(cell, "tolist") else cell


def _class_names(data: Any) -> dict[str, tuple[str, ...]]:
    """The names of the numbers of each column, where `datasets` defines them."""
    features = getattr(data, "features", None)
    named = {name: getattr(kind, "names", None) for name, kind in features.items()} if features else {}
    return {name: tuple(names) for name, names in named.items() if names}


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
