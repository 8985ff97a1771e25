"""The columns of a batch's output: the row's number, its own columns, and a column for each field of the answer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic_core import to_json

from nlptasks import AnyTask, Result
from nlptasks.batches.answers import Outcome
from nlptasks.surfaces import annotation_of

Kind = Literal["string", "integer", "number", "boolean", "json"]

ROW = "row"
"""The column of the row's number, from 1 over all inputs."""

INPUT = " (input)"
"""Ends the name of an input's column that has the name of one of the output."""

_KINDS: dict[Any, Kind] = {str: "string", int: "integer", float: "number", bool: "boolean"}


class Column(NamedTuple):
    """A column of the answers. `field` is that of the result, "" for the error; `json` columns hold nested values."""

    name: str
    kind: Kind
    field: str = ""


def answer_columns(task: AnyTask) -> list[Column]:
    """The columns of a task's answers, which depend on its result type alone.

    They are named `TASK.FIELD`: first the fields of the answer itself, then `TASK.error`, which says why a row has no
    answer, then the fields that all results have.
    """
    fields = task.result_type.model_fields
    first = [name for name in fields if name not in Result.model_fields]
    columns = [
        Column(f"{task.name}.{name}", _kind(fields[name].annotation), name) for name in [*first, *Result.model_fields]
    ]
    return [*columns[: len(first)], Column(f"{task.name}.error", "string"), *columns[len(first) :]]


def _kind(annotation: Any) -> Kind:
    plain, _ = annotation_of(annotation)
    if get_origin(plain) is Literal and all(isinstance(value, str) for value in get_args(plain)):
        return "string"
    return _KINDS.get(plain, "json")


class RowWriter:
    """Makes lines of JSON of outcomes. `keep` names the columns of the input to keep, all if None."""

    def __init__(self, task: AnyTask, keep: Collection[str] | None = None) -> None:
        self._columns = answer_columns(task)
        self._keep = keep
        self._names = {ROW, *(column.name for column in self._columns)}

    def line(self, number: int, outcome: Outcome) -> bytes:
        """One row of the output, with its line end."""
        row = outcome.row
        fields = row.fields or ({"text": row.text} if row.text else {})
        inputs = {name: fields[column] for column, name in self.names(fields).items()}
        values = outcome.result.model_dump(mode="json") if outcome.result else {}
        values[""] = outcome.error or None
        answer = {column.name: values.get(column.field) for column in self._columns}
        return json_line({ROW: number, **inputs, **answer})

    def names(self, columns: Collection[str]) -> dict[str, str]:
        """The names in the output of the input's columns that are in it, by their names in the input."""
        wanted = [name for name in columns if self._keep is None or name in self._keep]
        return {name: self._free_name(name, columns) for name in wanted}

    def _free_name(self, name: str, others: Collection[str]) -> str:
        """The name in the output: no other column of it or of the input has the name."""
        free = name
        while free in self._names or (free != name and free in others):
            free += INPUT
        return free


def json_line(value: Any) -> bytes:
    """A value as a line of JSON: numbers that JSON lacks become null, other types texts."""
    return to_json(value, inf_nan_mode="null", bytes_mode="base64", serialize_unknown=True) + b"\n"
