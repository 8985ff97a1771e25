"""A training that starts from the weights of an adapter instead of new ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.errors import AdapterError, TrainingError
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import AdapterStore
from nlptasks.store.adapters import PEFT_WEIGHTS, AdapterFolder, open_adapter
from nlptasks.store.base_check import check_base
from nlptasks.task import AnyTask, Recipe

if TYPE_CHECKING:
    from nlptasks.store.download import BaseFolder
    from nlptasks.training.families.base import FamilyTrainer

SHIPPED = "shipped"
"""What `init_from` calls the adapter that comes with the task."""

_SETTINGS = ("r", "lora_alpha", "use_rslora", "use_dora")
"""What recipe and adapter must agree on."""


@dataclass(frozen=True)
class Start:
    """The adapter that a training starts from. `name` is its name in the recipe, of a folder the last part only.

    `sha256` is that of its weights at the start: the adapter may be replaced by the one that started from it.
    """

    adapter: AdapterFolder
    name: str
    sha256: str

    @property
    def described(self) -> dict[str, str]:
        """For the manifest and the card."""
        return {"name": self.adapter.name, "sha256": self.sha256}

    def load(self, model: Any) -> None:
        """Put the weights, the head among them, into a model that PEFT has wrapped.

        Raises:
            TrainingError: the adapter has other layers than the model trains, or layers of other sizes.
        """
        import peft
        from safetensors.torch import load_file

        weights = load_file(self.adapter.path / PEFT_WEIGHTS)
        # Not "auto", which asks the Hub whether the base's embeddings were changed (peft#1452).
        trained = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
        held, wanted = ({(name, tuple(t.shape)) for name, t in state.items()} for state in (weights, trained))
        if differing := sorted(name for name, _ in held ^ wanted):
            raise TrainingError(
                f"init_from: expected the layers that this run trains, found others in {self.adapter.name!r} "
                f"({differing[0]}): give the target_modules and labels that it was trained with."
            )
        peft.set_peft_model_state_dict(model, weights)


def find_start(
    task: AnyTask, family: FamilyTrainer, base: BaseFolder, recipe: Recipe, labels: Sequence[str], settings: Settings
) -> Start | None:
    """The adapter that `recipe.init_from` names, or None if it names none; its files fit the run.

    Raises:
        TrainingError: the run would train other things than the adapter holds.
        AdapterMismatchError: the adapter was trained on another base.
        AdapterError: no adapter ships with the task, or it is not whole.
        UnknownNameError: there is no adapter of this name.
    """
    if recipe.init_from is None:
        return None
    if recipe.method != "lora":
        raise TrainingError(
            f"init_from: expected an adapter to be trained, found method {recipe.method!r}: give --method lora, or "
            "train the folder that `nlptasks adapters merge` makes of the adapter and its base."
        )
    adapter = _find(task, recipe.init_from, settings)
    check_base(adapter, base.id, base.path)
    if adapter.verb != family.verb:
        raise TrainingError(
            f"init_from: expected an adapter for {family.verb}, found {adapter.name!r} for {adapter.verb}."
        )
    _check_labels(adapter, labels)
    _check_settings(adapter, recipe)
    folder = Path(recipe.init_from).expanduser()
    name = folder.resolve().name if folder.is_dir() else recipe.init_from
    return Start(adapter, name, hashlib.sha256((adapter.path / PEFT_WEIGHTS).read_bytes()).hexdigest())


def _find(task: AnyTask, name: str, settings: Settings) -> AdapterFolder:
    if name != SHIPPED:
        return AdapterStore(settings).find(task.name, name)
    if task.adapter is None:
        raise AdapterError(
            f"init_from: expected an adapter that ships with {task.name}, found none; give one of yours."
        )
    return open_adapter(task.adapter)


def _check_labels(adapter: AdapterFolder, labels: Sequence[str]) -> None:
    known = adapter.labels
    if known is not None and known != tuple(labels):
        raise TrainingError(
            f"init_from: expected the labels of {adapter.name!r}, {', '.join(known)}, found {', '.join(labels)}: name "
            "them with --labels in the adapter's order, --rename those of the data, or train without --init-from."
        )


def _check_settings(adapter: AdapterFolder, recipe: Recipe) -> None:
    patterns = [name for name in ("rank_pattern", "alpha_pattern") if adapter.peft.get(name)]
    if patterns:
        raise TrainingError(
            f"init_from: expected one rank and one alpha for all layers, found {patterns[0]} in {adapter.name!r}: a "
            "recipe has no such setting; train without --init-from."
        )
    # Folders of older versions of PEFT lack the younger settings, which are switches.
    held = {name: adapter.peft.get(name) or False for name in _SETTINGS}
    differing = {name: value for name, value in held.items() if value != getattr(recipe, name)}
    if differing:
        settings = ", ".join(f"{name} {getattr(recipe, name)}" for name in differing)
        raise TrainingError(
            f"init_from: expected the settings of {adapter.name!r}, found {settings}: give "
            f"{' '.join(f'-o {name} {str(value).lower()}' for name, value in differing.items())}."
        )
