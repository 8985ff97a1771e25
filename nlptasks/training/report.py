"""`EvalReport`: the quality of served answers with its intervals, on parts of the rows, and the worst rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlptasks.data.rows import Table, is_missing
from nlptasks.errors import DataError, clip
from nlptasks.training.families.base import Assessment, Dataset, FamilyTrainer
from nlptasks.training.metrics.rowwise import Difference, RowCounts, difference

WORST = 20
"""The most rows among the worst."""

LEAST_ROWS = 20
"""Fewer rows than these are too few for a slice by length."""

MOST_SLICES = 20
"""A column with more values than these is not one to slice by."""

_CLIP = 400


@dataclass(frozen=True)
class Slice:
    """The first of the row-wise metrics on some of the rows: those of a length, a file, or a value of a column.

    `name` is None for the rows without a value.
    """

    by: str
    name: str | None
    rows: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class BadAnswer:
    """A row whose answer is not right: `quality` is its metric alone, `score` the answer's own, if it has one."""

    place: str
    text: str
    right: str
    answer: str
    quality: float
    score: float | None


@dataclass(frozen=True)
class EvalReport:
    """The quality of a task's answers on labelled rows; `table` and `confusion` are those of `Assessment`.

    `intervals` are 95% bootstrap intervals of metrics; `metric` is the one that slices and the worst rows go by.
    `calibration` has a bin of scores in each entry: its borders, the mean score, the share of right answers, how many.
    `serving` are the options of the task, `notes` say how rows were read. `texts_per_second` does not include loading.
    """

    task: str
    model: str
    adapter: str | None
    rows: int
    labels: tuple[str, ...]
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    metric: str
    table: tuple[dict[str, Any], ...]
    confusion: tuple[tuple[int, ...], ...]
    slices: tuple[Slice, ...]
    worst: tuple[BadAnswer, ...]
    calibration: tuple[dict[str, Any], ...]
    texts_per_second: float
    truncated: int
    windowed: int
    serving: dict[str, Any]
    data: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Comparison:
    """Two reports on the same rows, and the differences of their row-wise metrics, new less old."""

    new: EvalReport
    old: EvalReport
    differences: dict[str, Difference]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


def differences(new: Assessment, old: Assessment) -> dict[str, Difference]:
    """The differences of the metrics of two systems on the same rows; of the first only, if their labels differ."""
    same = list(map(str.casefold, new.labels)) == list(map(str.casefold, old.labels))
    # A mean over labels has other counts for other labels.
    names = list(new.rowwise)[: None if same else 1]
    return {name: difference(new.rowwise[name], old.rowwise[name]) for name in names}


def slices(
    dataset: Dataset, texts: Sequence[str], columns: Mapping[str, Sequence[str | None]], counts: RowCounts
) -> tuple[Slice, ...]:
    """A metric by length, by file if there are several, and by the values of columns, one for each row."""
    groups: list[tuple[str, str | None, list[int]]] = [("length", name, rows) for name, rows in _by_length(texts)]
    files = [row.place.rpartition(":")[0] for row in dataset.rows]
    for by, values in {"file": files, **columns}.items():
        names = sorted(set(values), key=lambda name: (name is None, name or ""))
        if by != "file" or len(names) > 1:
            groups += [(by, name, [i for i, value in enumerate(values) if value == name]) for name in names]
    return tuple(
        Slice(by, name, len(rows), counts.of(rows), *RowCounts(counts.counts[rows], counts.value).interval())
        for by, name, rows in groups
    )


def _by_length(texts: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Three groups of texts of about the same size, by characters; none if that would be too few rows."""
    if len(texts) < 3 * LEAST_ROWS:
        return []
    lengths = np.asarray([len(text) for text in texts])
    borders = [int(border) for border in np.quantile(lengths, [1 / 3, 2 / 3])]
    if borders[0] == borders[1] or borders[1] >= lengths.max():
        return []
    place = np.searchsorted(borders, lengths)
    names = (f"to {borders[0]}", f"{borders[0] + 1} to {borders[1]}", f"from {borders[1] + 1}")
    return [(f"{name} characters", np.flatnonzero(place == number).tolist()) for number, name in enumerate(names)]


def columns_of(tables: Sequence[Table], names: Sequence[str], rows: Sequence[Any]) -> dict[str, list[str | None]]:
    """The values of columns of the data, one for each row, None where there is none.

    Raises:
        DataError: a table without such a column, or one with too many values.
    """
    if not names:
        return {}
    for table in tables:
        missing = [name for name in names if name not in table.all_columns]
        if missing:
            raise DataError(
                f"{table.source}: expected a column {missing[0]!r} to slice by, found {', '.join(table.all_columns)}."
            )
    fields = {row.place: row.fields for table in tables for row in table.rows}
    # A row of a record has the record's place, and behind it which part it is.
    cells = {name: [fields[_record(row.place, fields)].get(name) for row in rows] for name in names}
    values = {name: [None if is_missing(cell) else str(cell) for cell in column] for name, column in cells.items()}
    for name, column in values.items():
        if len(set(column)) > MOST_SLICES:
            raise DataError(
                f"--slice {name}: expected a column of at most {MOST_SLICES} values, found {len(set(column))}."
            )
    return values


def _record(place: str, fields: Mapping[str, Any]) -> str:
    while place not in fields and ", " in place:
        place = place.rpartition(", ")[0]
    return place


def worst(
    family: FamilyTrainer, dataset: Dataset, results: Sequence[Any], texts: Sequence[str], counts: RowCounts
) -> tuple[BadAnswer, ...]:
    """The rows with the least of a metric, of equal ones those that the model was surest of."""
    each = counts.each()
    sure = [getattr(result, "score", None) for result in results]
    order = sorted(range(len(results)), key=lambda row: (each[row], -(sure[row] or 0.0)))
    return tuple(
        BadAnswer(
            place=dataset.rows[row].place,
            text=clip(texts[row], _CLIP),
            right=clip(family.reference_text(dataset, dataset.rows[row]), _CLIP),
            answer=clip(family.answer_text(results[row]), _CLIP),
            quality=float(each[row]),
            score=sure[row],
        )
        for row in order[:WORST]
        if each[row] < counts.best
    )
