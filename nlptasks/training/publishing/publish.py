"""Write a trained adapter: staged, gated, and only then renamed to its place."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.store.adapters import MANIFEST, PEFT_CONFIG, PEFT_WEIGHTS, AdapterSettings, BaseReference, Manifest
from nlptasks.store.weights import fingerprint

if TYPE_CHECKING:
    from nlptasks.store.download import BaseFolder
    from nlptasks.task import AnyTask, Recipe
    from nlptasks.training.families.base import Calibration, FamilyTrainer
    from nlptasks.training.loop.models import Trainable


def describe(
    task: AnyTask,
    family: FamilyTrainer,
    name: str,
    base: BaseFolder,
    trainable: Trainable,
    recipe: Recipe,
    labels: Sequence[str],
    calibration: Calibration,
    data: Mapping[str, Any],
) -> Manifest:
    """The content of `nlptasks.json`."""
    config = trainable.task_model.config
    return Manifest(
        name=name,
        task=task.name,
        family=task.family,
        verb=family.verb,
        base=BaseReference(
            id=base.id,
            revision=base.revision,
            fingerprint=fingerprint(base.path),
            model_type=config.model_type,
            hidden_size=getattr(config, "hidden_size", None),
        ),
        method=recipe.method,
        labels=tuple(labels) or None,
        multi_label=family.multi_label,
        temperature=calibration.temperature,
        threshold=calibration.threshold,
        max_length=trainable.max_length,
        settings=AdapterSettings.model_validate(
            {"config": trainable.config_changes} if trainable.config_changes else {}
        ),
        recipe=recipe.model_dump(mode="json"),
        metrics={name: round(value, 6) for name, value in calibration.metrics.items()},
        data=dict(data),
        versions=versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def save(trainable: Trainable, folder: Path, manifest: Manifest, card: str) -> None:
    """Write the folder to serve: an adapter for LoRA, a whole model for full fine-tuning."""
    if trainable.targets:
        _save_adapter(trainable, folder)
    else:
        _save_model(trainable, folder)
    write_manifest(folder, manifest, card)


def write_manifest(folder: Path, manifest: Manifest, card: str) -> None:
    """Write the manifest and the card of a complete folder, and let others read its files."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card, encoding="utf-8")
    for file in folder.iterdir():
        # safetensors creates files that only their owner may read.
        file.chmod(0o644)


def _save_adapter(trainable: Trainable, folder: Path) -> None:
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    # Not "auto", which asks the Hub whether the base's embeddings were changed (peft#1452).
    state = get_peft_model_state_dict(trainable.model, save_embedding_layers=False)
    tensors = {name: tensor.detach().float().cpu().contiguous().clone() for name, tensor in state.items()}
    save_file(tensors, folder / PEFT_WEIGHTS, metadata={"format": "pt"})
    config = trainable.model.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(folder)
    path = folder / PEFT_CONFIG
    values = json.loads(path.read_text(encoding="utf-8"))
    # PEFT keeps names in sets, and adds head names of other architectures: sorted, two runs give the same file.
    if isinstance(values["target_modules"], list):
        values["target_modules"] = sorted(values["target_modules"])
    values["modules_to_save"] = sorted(trainable.targets.whole) if trainable.targets else None
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _save_model(trainable: Trainable, folder: Path) -> None:
    from nlptasks.runtime.loading.base import quiet_transformers

    trainable.model.config.use_cache = True
    with quiet_transformers():
        trainable.model.save_pretrained(folder)
        trainable.tokenizer.save_pretrained(folder)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that take part in a training."""
    by_package = {"python": platform.python_version()}
    for package in ("nlptasks", "torch", "transformers", "peft"):
        try:
            by_package[package] = version(package)
        except PackageNotFoundError:
            by_package[package] = "not installed"
    return by_package
