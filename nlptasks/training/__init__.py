"""Recipes to adapters: data, transformers.Trainer with PEFT, metrics and the gate.

from nlptasks.training import finetune

report = finetune("sentiment", "reviews.csv", name="mine")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlptasks.data.labelled_texts import DataOptions
    from nlptasks.training.evaluate import EvalReport, evaluate
    from nlptasks.training.families.base import Assessment, Calibration, Dataset, FamilyTrainer, Feature, Setting
    from nlptasks.training.families.rows import TaskRow
    from nlptasks.training.families.text_classification import LabelTrainer
    from nlptasks.training.loop.events import Event
    from nlptasks.training.recipes import load_recipe
    from nlptasks.training.run import TrainReport, finetune

_HOMES = {
    **dict.fromkeys(
        ("Assessment", "Calibration", "Dataset", "FamilyTrainer", "Feature", "Setting"),
        "nlptasks.training.families.base",
    ),
    "DataOptions": "nlptasks.data.labelled_texts",
    "EvalReport": "nlptasks.training.evaluate",
    "Event": "nlptasks.training.loop.events",
    "LabelTrainer": "nlptasks.training.families.text_classification",
    "TaskRow": "nlptasks.training.families.rows",
    "TrainReport": "nlptasks.training.run",
    "evaluate": "nlptasks.training.evaluate",
    "finetune": "nlptasks.training.run",
    "load_recipe": "nlptasks.training.recipes",
}

__all__ = [
    "Assessment",
    "Calibration",
    "DataOptions",
    "Dataset",
    "EvalReport",
    "Event",
    "FamilyTrainer",
    "Feature",
    "LabelTrainer",
    "Setting",
    "TaskRow",
    "TrainReport",
    "evaluate",
    "finetune",
    "load_recipe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nlptasks.training' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
