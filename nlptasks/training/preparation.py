"""Data in, the two sides of a training out; every fault of the data is found here, before any model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.data import splits
from nlptasks.data.labelled_texts import DataOptions
from nlptasks.errors import DataError
from nlptasks.settings import Settings
from nlptasks.task import Recipe
from nlptasks.training.families.base import Dataset, FamilyTrainer
from nlptasks.training.loop.checkpoints import RECIPE

if TYPE_CHECKING:
    from nlptasks.store.download import BaseFolder
    from nlptasks.training.start import Start


@dataclass(frozen=True)
class Prepared:
    """Rows of both sides, and what the manifest says about them."""

    training: list[Any]
    held_out: list[Any]
    labels: tuple[str, ...]
    described: dict[str, Any]
    notes: list[str]
    warnings: list[str]


def prepare(
    family: FamilyTrainer,
    sources: Sequence[str],
    validation: Sequence[str],
    exclude: Sequence[str],
    options: DataOptions,
    recipe: Recipe,
    settings: Settings,
) -> Prepared:
    """Read, exclude, split; every fault is found here, before any model."""
    read = family.read(sources, options, offline=settings.offline)
    rows, notes, warnings = read.rows, list(read.notes), list(read.warnings)
    held: Dataset | None = None
    if validation:
        held = family.read(validation, options, labels=read.labels, offline=settings.offline, split="validation")
        notes += held.notes
    excluded = []
    if exclude:
        texts = family.texts(exclude, options, offline=settings.offline)
        kept = splits.without(rows, texts, text=family.row_text)
        notes.append(f"{len(rows) - len(kept)} training rows were excluded: their texts stand in {', '.join(exclude)}")
        excluded = [{"name": Path(source).name, "rows_excluded": len(rows) - len(kept)} for source in exclude]
        rows = kept
    if options.max_rows:
        rows = splits.sample(rows, options.max_rows, recipe.seed, label=family.stratum)
    if held:
        training, held_out = list(rows), list(held.rows)
        both = len(training) - len(splits.without(training, [family.row_text(r) for r in held_out], text=family.row_text))
        if both:
            warnings.append(
                f"{both} training rows have a text of the validation data: --exclude {validation[0]} drops them"
            )
    else:
        training, held_out = splits.split(
            rows, options.held_out, recipe.seed, text=family.row_text, label=family.stratum
        )
    training, held_out = family.augment(training, recipe), family.augment(held_out, recipe)
    _check_sides(family, training, held_out)
    described = {
        "train": read.sources,
        "validation": held.sources if held else [],
        "exclude": excluded,
        "train_rows": len(training),
        "held_out_rows": len(held_out),
    }
    named = f"; labels {', '.join(read.labels)}" if read.labels else ""
    notes.append(f"{len(training)} rows to train on, {len(held_out)} held out{named}")
    return Prepared(training, held_out, read.labels, described, notes, warnings)


def _check_sides(family: FamilyTrainer, training: list[Any], held_out: list[Any]) -> None:
    family.check_training(training)
    if not held_out:
        raise DataError(
            f"Held-out rows: expected at least one, found none among {len(training)} rows. "
            "Give more rows, or a file with --validation."
        )


def run_plan(base: BaseFolder, data: Prepared, recipe: Recipe, start: Start | None) -> dict[str, Any]:
    """What a resumed run must share with the run that was started."""
    from nlptasks.store.adapters import fingerprint

    return {
        "base": base.id,
        "fingerprint": fingerprint(base.path),
        # The recipe has its name; another adapter may have taken it since.
        "start": f"{start.adapter.name} {start.sha256[:16]}" if start else None,
        **{f"{RECIPE}{name}": value for name, value in recipe.model_dump(mode="json").items()},
        "labels": list(data.labels),
        "data": data.described,
    }
