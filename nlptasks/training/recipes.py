"""Recipes from TOML files and from the command line: every fault named at once, with the near miss."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nlptasks.errors import DataError, InvalidInputError
from nlptasks.task import Recipe, current_settings, describe_validation

if TYPE_CHECKING:
    from nlptasks.training.families.base import FamilyTrainer

_log = logging.getLogger(__name__)


def load_recipe(path: Path, default: Recipe | None = None) -> Recipe:
    """A recipe from a TOML file; what the file leaves out comes from `default`.

    Raises:
        DataError: no such file, or no TOML.
        InvalidInputError: unknown keys and values that do not fit, all of them.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: expected a recipe file, found none.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected TOML, found an error: {error}.") from None
    return override(default or Recipe(), settings, title=f"The recipe {path.name} is not valid")


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
