"""Training rows and held-out rows out of data; every fault of the data is raised here, before any model is loaded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.data import splits
from nlptasks.data.labelled_texts import DataOptions
from nlptasks.data.rows import Source, plural, source_name
from nlptasks.errors import DataError
from nlptasks.model import CLASSIFY_MEAN
from nlptasks.settings import Settings
from nlptasks.task import Recipe
from nlptasks.training import recipes
from nlptasks.training.families.base import Dataset, FamilyTrainer
from nlptasks.training.loop.checkpoints import RECIPE
from nlptasks.training.recipes import num_steps

if TYPE_CHECKING:
    from nlptasks.store.download import BaseFolder
    from nlptasks.training.start import Start


FEW_HELD_OUT = 30
"""Below that many held-out rows, a metric says little: one row is more than 3 % of them."""


FEW = 200
"""Training rows below which a classifier on the base's vectors is proposed."""


@dataclass(frozen=True)
class Prepared:
    """Training rows and held-out rows, and their description for the manifest.

    `recipe` is scaled to the number of rows; `folds` are pairs of training rows and held-out rows.
    """

    training: list[Any]
    held_out: list[Any]
    labels: tuple[str, ...]
    described: dict[str, Any]
    notes: list[str]
    warnings: list[str]
    recipe: Recipe
    folds: list[tuple[list[Any], list[Any]]]


def prepare(
    family: FamilyTrainer,
    sources: Sequence[Source],
    validation: Sequence[Source],
    exclude: Sequence[Source],
    options: DataOptions,
    recipe: Recipe,
    settings: Settings,
    *,
    fixed: Collection[str] = (),
    folds: int = 0,
) -> Prepared:
    """Read, exclude, split, and scale the recipe, except for its `fixed` settings. Raises DataError."""
    read = family.read(sources, options, offline=settings.offline)
    rows, notes, warnings = read.rows, list(read.notes), list(read.warnings)
    held: Dataset | None = None
    if validation:
        held = family.read(validation, options, labels=read.labels, offline=settings.offline, split="validation")
        notes += held.notes
    excluded = []
    if exclude:
        texts = family.texts(exclude, options, offline=settings.offline)
        others = splits.without(rows, texts, text=family.row_text)
        count = len(rows) - len(others)
        notes.append(f"{count} training rows were excluded: their texts are in {', '.join(map(source_name, exclude))}")
        excluded = [{"name": Path(source_name(source)).name, "rows_excluded": count} for source in exclude]
        rows = others
    if options.max_rows:
        rows = splits.sample(rows, options.max_rows, recipe.seed, label=family.stratum)
    if recipe.few_shot:
        refuse_conflicts(rows, family)
    if held or recipe.few_shot:
        training, held_out = list(rows), list(held.rows) if held else []
        both = len(training) - len(
            splits.without(training, [family.row_text(r) for r in held_out], text=family.row_text)
        )
        if both:
            flag = f"--exclude {source_name(validation[0])}"
            warnings.append(f"{both} training rows have a text of the validation data: {flag} drops them")
    else:
        training, held_out = splits.split(
            rows, options.held_out, recipe.seed, text=family.row_text, label=family.stratum
        )
    parts = splits.folds(rows, folds, recipe.seed, text=family.row_text, label=family.stratum) if folds else []
    training, held_out = family.augment(training, recipe), family.augment(held_out, recipe)
    parts = [(family.augment(one, recipe), family.augment(other, recipe)) for one, other in parts]
    if any(not other for _, other in parts):
        raise DataError(f"--folds: expected at most one fold a row, found {folds} folds and {len(rows)} rows.")
    family.check_training(training)
    if not held_out and not recipe.few_shot:
        raise DataError(
            f"Held-out rows: expected at least one, found none among {len(training)} rows, since {splits.ALONE}. Give "
            "more texts, or a file with --validation."
        )
    described = {
        "train": read.sources,
        "validation": held.sources if held else [],
        "exclude": excluded,
        "train_rows": len(training),
        "held_out_rows": len(held_out),
    }
    named = f"; labels {', '.join(read.labels)}" if read.labels else ""
    side = f"{len(held_out)} held out" if held_out else "measured by cross-validation"
    notes.append(f"{len(training)} rows to train on, {side}{named}")
    if recipe.few_shot:
        if folds:
            warnings.append("--folds changes nothing here: few_shot cross-validates by itself")
        return Prepared(training, held_out, read.labels, described, notes, warnings, recipe, [])
    if len(training) < FEW and CLASSIFY_MEAN in family.task.heads:
        notes.append(f"fewer than {FEW} rows: --few-shot takes seconds and is often better with so few")
    if len(held_out) < FEW_HELD_OUT:
        warnings.append(
            f"only {plural(len(held_out), 'held-out row')}: they decide little; use --folds 5, or give more rows"
            " with --validation"
        )
    chosen = recipes.scaled(recipe, len(training), fixed)
    if names := recipes.changed_settings(chosen, recipe):
        listed = ", ".join(
            f"{name} {getattr(chosen, name):g} (not {getattr(recipe, name):g})" for name in sorted(names)
        )
        steps = f"{num_steps(chosen, len(training))} steps instead of {num_steps(recipe, len(training))}"
        notes.append(f"few rows: {listed}, for {steps}; -o min_steps 0 leaves the recipe as it is")
    return Prepared(training, held_out, read.labels, described, notes, warnings, chosen, parts)


def refuse_conflicts(rows: Sequence[Any], family: FamilyTrainer) -> None:
    """Raise DataError if a text has two labels: among a few rows that is half of what is known of it."""
    unequal = splits.conflicts(rows, text=family.row_text, label=family.stratum)
    if unequal:
        raise DataError(
            "A text has two labels: leave one of its rows out.",
            [f"{one.place} and {other.place}" for one, other in unequal],
        )


def run_plan(base: BaseFolder, data: Prepared, recipe: Recipe, start: Start | None) -> dict[str, Any]:
    """The settings and data that a resumed run must share with the run that was started."""
    from nlptasks.store.weights import fingerprint

    return {
        "base": base.id,
        "fingerprint": fingerprint(base.path),
        # The recipe only has the name, which another adapter may have by now.
        "start": f"{start.adapter.name} {start.sha256[:16]}" if start else None,
        **{f"{RECIPE}{name}": value for name, value in recipe.model_dump(mode="json").items()},
        "labels": list(data.labels),
        "data": data.described,
    }
