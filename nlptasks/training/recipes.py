"""Recipes from TOML files and from the command line: every fault named at once, with the near miss."""

from __future__ import annotations

import dataclasses
import difflib
import logging
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from nlptasks.errors import DataError, InvalidInputError
from nlptasks.task import Recipe

if TYPE_CHECKING:
    from nlptasks.training.families.base import FamilyTrainer

FIELDS: dict[str, Any] = {name: kind for name, kind in get_type_hints(Recipe).items() if name != "extra"}

REMOVED = {
    "probe_lr": "train with a third of lr and three times lr as well, and compare the losses",
    "extra.bidirectional": "train on an encoder, which reads in both directions",
}
"""Settings of earlier versions, and what to do instead; files that still hold them are read."""

_log = logging.getLogger(__name__)

_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "r": ("at least 1", lambda v: v >= 1),
    "alpha": ("at least 1", lambda v: v >= 1),
    "dropout": ("from 0 to below 1", lambda v: 0 <= v < 1),
    "base_dropout": ("from 0 to below 1", lambda v: v is None or 0 <= v < 1),
    "lr": ("above 0", lambda v: 0 < v < float("inf")),
    "epochs": ("above 0", lambda v: 0 < v < float("inf")),
    "batch_size": ("at least 1", lambda v: v >= 1),
    "accumulate": ("at least 1", lambda v: v >= 1),
    "warmup": ("from 0 to below 1 (a share of all steps)", lambda v: 0 <= v < 1),
    "weight_decay": ("0 or more", lambda v: 0 <= v < float("inf")),
    "label_smoothing": ("from 0 to below 1", lambda v: 0 <= v < 1),
    "max_length": ("at least 4", lambda v: v >= 4),
    "average": ("from 0 to below 1", lambda v: 0 <= v < 1),
    "patience": ("0 or more", lambda v: v >= 0),
    "evals_per_epoch": ("at least 1", lambda v: v >= 1),
    "seed": ("from 0 to 4294967295", lambda v: 0 <= v < 2**32),
}


def load_recipe(path: Path, default: Recipe | None = None) -> Recipe:
    """A recipe from a TOML file; what the file leaves out comes from `default`.

    Raises:
        DataError: no such file, or no TOML.
        InvalidInputError: unknown keys and values that do not fit, all of them.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: expected a recipe file, found none.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected TOML, found a fault: {error}.") from None
    return override(default or Recipe(), values, place=f"The recipe {path.name} is not valid")


def override(recipe: Recipe, values: Mapping[str, Any], *, place: str = "The recipe is not valid") -> Recipe:
    """The recipe with some fields changed; texts are read as the field's type.

    A mapping under `extra` is added to the recipe's own; `extra.NAME` adds one setting. A setting of `REMOVED` is
    ignored with a warning.

    Raises:
        InvalidInputError: naming every unknown key and every value that does not fit.
    """
    problems: list[str] = []
    changed: dict[str, Any] = {}
    for key, value in _flat(values):
        name = key.replace("-", "_")
        if name in REMOVED:
            _log.warning("%s is no longer a recipe setting and was ignored: %s.", name, REMOVED[name])
        elif name == "extra":
            problems.append(f"extra: expected a table, found {value!r}.")
        elif name.startswith("extra."):
            changed["extra"] = {**changed.get("extra", recipe.extra), name.removeprefix("extra."): value}
        elif name in FIELDS:
            try:
                changed[name] = _convert(name, value)
            except ValueError as error:
                problems.append(f"{key}: expected {error}, found {value!r}.")
        else:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(FIELDS)}."
            problems.append(f"{key} is not a recipe setting; {hint}")
    if problems:
        raise InvalidInputError(place, problems)
    return check(dataclasses.replace(recipe, **changed), place=place)


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings one by one, those of a table `extra` as `extra.NAME`."""
    for key, value in values.items():
        if key == "extra" and isinstance(value, Mapping):
            yield from ((f"extra.{name}", setting) for name, setting in value.items())
        else:
            yield key, value


def check(recipe: Recipe, *, place: str = "The recipe is not valid") -> Recipe:
    """Return the recipe if every value is in its range; raises InvalidInputError naming all that are not."""
    problems = []
    for name, (rule, holds) in _RULES.items():
        value = getattr(recipe, name)
        if not holds(value):
            problems.append(f"{name}: expected {rule}, found {value!r}.")
    if problems:
        raise InvalidInputError(place, problems)
    return recipe


def check_for(recipe: Recipe, family: FamilyTrainer) -> None:
    """`check`, and whether the metric and the extra settings are the family's.

    Raises:
        InvalidInputError: naming every fault.
    """
    check(recipe)
    if recipe.metric not in family.metrics:
        known = ", ".join(family.metrics)
        raise InvalidInputError(
            "The recipe is not valid", [f"metric: expected one of {known}, found {recipe.metric!r}."]
        )
    problems = []
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


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON values."""
    values = dataclasses.asdict(recipe)
    if isinstance(recipe.targets, tuple):
        values["targets"] = list(recipe.targets)
    values["extra"] = dict(recipe.extra)
    return values


def _convert(name: str, value: Any) -> Any:
    """`value` as the field's type; raises ValueError with what was expected."""
    kind = FIELDS[name]
    if type(None) in get_args(kind):
        if value is None:
            return None
        [kind] = set(get_args(kind)) - {type(None)}
    if get_origin(kind) is not None and all(isinstance(choice, str) for choice in get_args(kind)):
        if value not in get_args(kind):
            raise ValueError(f"one of {', '.join(get_args(kind))}")
        return value
    if name == "targets":
        return _targets(value)
    if kind is str:
        if not isinstance(value, str) or not value:
            raise ValueError("a text")
        return value
    if kind is bool:
        return _switch(value)
    what = "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(what)
    try:
        number = float(value)
        if kind is int and number != int(number):
            raise ValueError(what)
        return int(number) if kind is int else number
    except (ValueError, OverflowError):
        raise ValueError(what) from None


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise ValueError("true or false")
    return bool(value == "true")


def _targets(value: Any) -> str | tuple[str, ...]:
    if value == "all-linear":
        return "all-linear"
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) and n.strip() for n in names) or not names:
        raise ValueError('"all-linear" or names of layers')
    return tuple(name.strip() for name in names)
