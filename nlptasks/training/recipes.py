"""Recipes from TOML files and from the command line: every fault named at once, with the near miss."""

from __future__ import annotations

import logging
import math
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nlptasks.errors import DataError, InvalidInputError
from nlptasks.model import CLASSIFY_MEAN
from nlptasks.task import Recipe, current_settings, describe_validation

if TYPE_CHECKING:
    from nlptasks.training.families.base import FamilyTrainer

_log = logging.getLogger(__name__)

SMALL_BATCH = 8
"""Rows of the smallest batch that few training rows lead to."""

MOST_EPOCHS = 40
"""Epochs that few training rows lead to, at most; each is evaluated once."""


FEW_SHOT = {"max_length": 512}
"""A few rows are read whole."""

CONTRASTIVE = {
    "learning_rate": 1e-3, "per_device_train_batch_size": 32, "warmup_ratio": 0.1, "base_dropout": 0.0,
    "lora_dropout": 0.0,
}  # fmt: skip
"""Settings of a few contrastive steps. Of 150 questions (TREC, 8 rows of each of 6 labels, one seed, 14 passes) 0.84
were right with this rate, 0.66 with a third of it, 0.79 with twice as much; dropout took a third more time for 0.85."""


def load_recipe(path: Path, default: Recipe | None = None) -> Recipe:
    """A recipe from a TOML file; what the file leaves out comes from `default`.

    Raises:
        DataError: no such file, or no TOML.
        InvalidInputError: unknown keys and values that do not fit, all of them.
    """
    return override(default or Recipe(), recipe_file(path), title=f"The recipe {path.name} is not valid")


def recipe_file(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, unchecked; raises DataError if there is no such file, or no TOML in it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: expected a recipe file, found none.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected TOML, found an error: {error}.") from None


def override(recipe: Recipe, changes: Mapping[str, Any], *, title: str = "The recipe is not valid") -> Recipe:
    """The recipe with some settings changed; texts are read as the setting's type.

    A mapping under `extra` is added to the recipe's `extra`; `extra.NAME` adds one setting. A name of the last version
    is read, with a logged warning.

    Raises:
        InvalidInputError: naming every unknown key and every value that does not fit.
    """
    settings: dict[str, Any] = {}
    for key, value in changes.items():
        if key == "extra" and isinstance(value, Mapping):
            settings |= {f"extra.{name}": setting for name, setting in value.items()}
        else:
            settings[key.replace("-", "_")] = value
    settings, sentences = current_settings(settings)
    for sentence in sentences:
        _log.warning(sentence)
    extra = {name: settings.pop(name) for name in list(settings) if name.startswith("extra.")}
    if "extra" not in settings:
        settings["extra"] = {**recipe.extra, **{name.removeprefix("extra."): value for name, value in extra.items()}}
    try:
        return recipe.replace(**settings)
    except ValidationError as error:
        raise InvalidInputError(title, describe_validation(error, Recipe, "setting")) from None


def check_for(recipe: Recipe, family: FamilyTrainer) -> None:
    """Raise InvalidInputError, naming every fault, if the recipe has settings that the family does not take."""
    problems = []
    if recipe.metric_for_best_model not in family.metrics:
        expected = ", ".join(family.metrics)
        problems.append(f"metric_for_best_model: expected one of {expected}, found {recipe.metric_for_best_model!r}.")
    if recipe.few_shot and (recipe.method != "lora" or recipe.load_in_4bit):
        problems.append("few_shot: expected method lora without load_in_4bit.")
    if recipe.few_shot and family.verb != CLASSIFY_MEAN.verb:
        problems.append(f"few_shot: expected a task that gives texts labels, found {family.task.name}.")
    if recipe.contrastive_epochs and not recipe.few_shot:
        problems.append("contrastive_epochs: expected few_shot = true beside it.")
    if recipe.method == "full" and family.trained_head.make:
        problems.append("method: expected lora for a head that is no class of transformers, found 'full'.")
    for name, value in recipe.extra.items():
        setting = family.extras.get(name)
        if setting is None:
            problems.append(f"extra: expected settings of {', '.join(family.extras) or 'none'}, found {name!r}.")
        elif not setting.holds(value):
            problems.append(f"extra.{name}: expected {setting.rule}, found {value!r}.")
    if problems:
        raise InvalidInputError("The recipe is not valid", problems)


def steps_per_epoch(recipe: Recipe, rows: int) -> int:
    """Optimizer steps of one pass over the rows."""
    batches = math.ceil(rows / recipe.per_device_train_batch_size)
    return math.ceil(batches / recipe.gradient_accumulation_steps)


def num_steps(recipe: Recipe, rows: int) -> int:
    """Optimizer steps of the whole training, as the Trainer counts them."""
    return max(1, math.ceil(recipe.num_train_epochs * steps_per_epoch(recipe, rows)))


def scaled(recipe: Recipe, rows: int, fixed: Collection[str] = ()) -> Recipe:
    """The recipe with smaller batches and more epochs, if `rows` would have less than its `min_steps` steps.

    Batches are halved down to `SMALL_BATCH`; then epochs are added up to `MOST_EPOCHS`, with one evaluation each.
    `fixed` are the settings that the caller chose.
    """
    size, epochs = recipe.per_device_train_batch_size, recipe.num_train_epochs
    while (
        "per_device_train_batch_size" not in fixed
        and size >= 2 * SMALL_BATCH
        and num_steps(recipe.replace(per_device_train_batch_size=size), rows) < recipe.min_steps
    ):
        size //= 2
    small = recipe.replace(per_device_train_batch_size=size)
    if "num_train_epochs" in fixed or num_steps(small, rows) >= recipe.min_steps:
        return small
    wanted = min(MOST_EPOCHS, math.ceil(recipe.min_steps / steps_per_epoch(small, rows)))
    evaluations = recipe.evals_per_epoch if "evals_per_epoch" in fixed else 1
    return small.replace(num_train_epochs=max(epochs, wanted), evals_per_epoch=evaluations)


def for_few(recipe: Recipe, fixed: Collection[str]) -> Recipe:
    """A recipe with `few_shot` as it is followed; `fixed` settings stay."""
    settings = FEW_SHOT | (CONTRASTIVE if recipe.contrastive_epochs else {})
    return recipe.replace(**{name: value for name, value in settings.items() if name not in fixed})


def changed_settings(recipe: Recipe, default: Recipe) -> set[str]:
    """The settings in which a recipe differs from another."""
    return {name for name, value in recipe if value != getattr(default, name)}
