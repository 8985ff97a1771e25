"""The answers of a task to the rows of Arrow tables, as columns beside theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nlptasks.batches.columns import RowWriter, answer_columns
from nlptasks.batches.files import cells, record_batch
from nlptasks.batches.rows import RowReader
from nlptasks.batches.sources import Source
from nlptasks.batches.work import TaskWork
from nlptasks.data import DataOptions


class TableAnswers:
    """Adds the columns of a batch's output to tables. `columns` and `fields` are those of `RowReader`."""

    def __init__(self, work: TaskWork, columns: Mapping[str, str | None], fields: Mapping[str, Any]) -> None:
        self._work, self._options, self._fields = work, DataOptions(columns=dict(columns)), fields
        self._names = RowWriter(work.task, work.keep).names
        self._line = RowWriter(work.task, ()).line
        self._kinds = {column.name: column.kind for column in answer_columns(work.task)}

    def add(self, table: Any) -> Any:
        """A table with the columns to keep and those of the answers; raises what `RowReader.read` does."""
        reader = RowReader(self._work.task, self._options, fields=self._fields)
        outcomes = self._work.answer(list(Source(table).rows(reader)))
        rows = [json.loads(self._line(0, outcome)) for outcome in outcomes]
        names = self._names(table.column_names)
        whole = table.select(list(names)).rename_columns(list(names.values()))
        answers = record_batch([cells(row, self._kinds) for row in rows], self._kinds)
        for name, column in zip(self._kinds, answers.columns, strict=True):
            whole = whole.append_column(name, column)
        return whole
