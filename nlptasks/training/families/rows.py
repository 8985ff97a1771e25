"""Rows of a task's types: columns are named as the fields of the input and as the first field of the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nlptasks.data.labelled_texts import DataOptions, Examples, describe, scarce_labels
from nlptasks.data.rows import Reads, Table, read_note
from nlptasks.data.tables import Findings
from nlptasks.errors import InvalidInputError
from nlptasks.results import Result
from nlptasks.task import Task

if TYPE_CHECKING:
    from nlptasks.training.families.base import FamilyTrainer


@dataclass(frozen=True)
class TaskRow:
    """One checked row: an input of the task and the answer to it; `place` is its file and line."""

    inputs: Any
    label: Any
    place: str


@dataclass
class TaskRows(Examples):
    """Checked rows. `labels` are the head's; without any, `unit` is what is counted."""

    unit: str = "rows"

    @property
    def counts(self) -> dict[str, int]:
        """How many rows each label has, or how many there are."""
        return super().counts if self.labels else {self.unit: len(self.rows)}


def parse_rows(family: FamilyTrainer, tables: Sequence[Table], options: DataOptions, labels: Sequence[str]) -> TaskRows:
    """The rows that a family's `parse_record` makes of all records.

    Raises:
        DataError: naming every bad row.
    """
    findings: Findings[Any] = Findings(family.unit)
    rows: list[Any] = []
    for table in tables:
        faults: list[str] = []
        read: set[str] = set()
        for row in table.rows:
            try:
                fields = Reads(_named(row.fields, family.task, options), read)
                rows += family.parse_record(fields, row.place, labels)
            except (ValueError, InvalidInputError) as error:
                faults.append(f"{row.place}: {_sentence(error)}")
        findings.add_table(table, faults)
        chosen = {options.text_column, options.label_column} - {None}
        findings.notes += read_note(table, read | {str(name) for name in chosen}, always=True)
    findings.check(allow_misaligned=False)
    dataset = TaskRows(rows, tuple(labels), [describe(table) for table in tables], findings.notes, unit=family.unit)
    dataset.warnings += scarce_labels(dataset.counts) if labels else []
    return dataset


def row_of(fields: Mapping[str, Any], task: Task[Any, Any, Any]) -> tuple[Any, Any]:
    """The input and the answer in a record.

    Raises:
        InvalidInputError: the columns do not make an input.
        ValueError: there is no answer.
    """
    columns = task.input_type.model_fields
    [inputs] = task.validate([{name: fields[name] for name in columns if fields.get(name) is not None}])
    name = _answer(task.result_type)
    if fields.get(name) is None:
        raise ValueError(f"expected a column {name!r} with the answer, found {', '.join(fields)}")
    return inputs, fields[name]


def _named(fields: Mapping[str, Any], task: Task[Any, Any, Any], options: DataOptions) -> Mapping[str, Any]:
    """The row with the columns that the user named under the names of the fields they stand for."""
    answer = _answer(task.result_type)
    chosen = {next(iter(task.input_type.model_fields)): options.text_column, answer: options.label_column}
    named = {name: column for name, column in chosen.items() if column is not None}
    missing = [column for column in named.values() if column not in fields]
    if missing:
        raise ValueError(f"expected a column {missing[0]!r}, found {', '.join(fields)}")
    fields = {**fields, **{name: fields[column] for name, column in named.items()}}
    if options.rename and answer in fields:
        fields[answer] = options.rename.get(str(fields[answer]), fields[answer])
    return fields


def _answer(result_type: type[Result]) -> str:
    """The first field of a result that is not every result's."""
    return next(name for name in result_type.model_fields if name not in Result.model_fields)


def _sentence(error: Exception) -> str:
    """An error of one row as one sentence."""
    if isinstance(error, InvalidInputError):
        return " ".join(error.problems)
    if isinstance(error, ValidationError):
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}" for fault in error.errors())
        return "; ".join(faults) + "."
    return f"{error}."
