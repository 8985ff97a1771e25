"""What a training would find in some data, without a model: rows, columns, balance, lengths, every fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

from nlptasks.data import DataOptions, splits
from nlptasks.data.frames import data_sources
from nlptasks.data.tables import read_tables
from nlptasks.errors import DataError
from nlptasks.training.families.base import FamilyTrainer

PREVIEW = 5


@dataclass(frozen=True)
class DataCheck:
    """Data that can be trained on. `counts` has the rows, entities or answers of each label; lengths are characters."""

    rows: int
    counts: dict[str, int]
    characters: dict[str, float]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """A file's columns, its first rows, and the columns that would be read as text and as label.

    Those are None where a family does not choose columns by name, or finds none.
    """

    columns: tuple[str, ...]
    preview: tuple[tuple[str, ...], ...]
    text_column: str | None
    label_column: str | None


def check_data(family: FamilyTrainer, data: Any, options: DataOptions, *, offline: bool = False) -> DataCheck:
    """Read data, as `finetune` takes it, as a training would.

    Raises:
        DataError: naming every bad row with its line, or because nothing can be learnt from the rows.
    """
    read = family.read(data_sources(data), options, offline=offline)
    family.check_training(read.rows)
    lengths = [len(family.row_text(row)) for row in read.rows]
    warnings = list(read.warnings)
    if not splits.split(read.rows, options.held_out, 0, text=family.row_text, label=family.stratum)[1]:
        warnings.append(f"no row would be held out, since {splits.ALONE}: train with --validation")
    return DataCheck(len(read.rows), read.counts, spread(lengths), read.notes, warnings, read.sources)


def layout(family: FamilyTrainer, source: str, options: DataOptions, *, offline: bool = False) -> Layout:
    """The columns of a source, without a look at what stands in them.

    Raises:
        DataError: the source is not there or not readable at all.
    """
    [table] = read_tables([source], options, offline=offline)
    if not table.columns and not table.rows:
        raise DataError(
            "The data cannot be read.", table.problems or [f"{source}: expected rows, found an empty file."]
        )
    columns = table.all_columns
    rows = [tuple(str(row.fields.get(name, "")) for name in columns) for row in table.rows[:PREVIEW]]
    return Layout(columns, tuple(rows), *family.columns(columns, options))


def spread(lengths: Sequence[int]) -> dict[str, float]:
    """Median, 95th percentile and maximum."""
    if len(lengths) < 2:
        return {"median": float(lengths[0]), "95 %": float(lengths[0]), "longest": float(lengths[0])}
    cuts = quantiles(lengths, n=20, method="inclusive")
    return {"median": cuts[9], "95 %": cuts[18], "longest": float(max(lengths))}
