"""What differs between families in training: columns, features, head, loss and metrics.

The loop, the checkpoints, the gate and the report are the same for all. A family registers by its name
in `FAMILIES`; token classification, question answering and text to text have their place there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from nlptasks.errors import TrainingError
from nlptasks.task import Task
from nlptasks.training.data import DataOptions, Examples

if TYPE_CHECKING:
    from nlptasks.runtime.adapters import Verb

AnyTask = Task[Any, Any, Any]

FAMILIES = {"text_classification": "nlptasks.training.text_classification:TextClassificationTrainer"}


@dataclass(frozen=True)
class Calibration:
    """What was fitted on held-out rows, and the metrics with it."""

    temperature: float = 1.0
    threshold: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)


class FamilyTrainer(ABC):
    """The family's part of a training. `metrics` maps the names a recipe may give to "higher is better"."""

    verb: ClassVar[Verb]
    metrics: ClassVar[Mapping[str, bool]]

    def __init__(self, task: AnyTask) -> None:
        self.task = task

    @property
    def multi_label(self) -> bool:
        return bool(getattr(self.task, "multi_label", False))

    @abstractmethod
    def read(
        self,
        sources: Sequence[str],
        options: DataOptions,
        *,
        labels: Sequence[str] | None = None,
        offline: bool = False,
        split: str = "train",
    ) -> Examples:
        """Read and check rows; `labels` are those of an adapter or of the training rows. Raises DataError."""

    @abstractmethod
    def text_of(self, row: Any) -> str:
        """The text that tells whether two rows are the same."""

    @abstractmethod
    def label_of(self, row: Any) -> Hashable:
        """What a split keeps the shares of."""

    @abstractmethod
    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        """Arguments of `from_pretrained` that give the head its labels."""

    @abstractmethod
    def encode(
        self, rows: Sequence[Any], labels: Sequence[str], tokenizer: Any, max_length: int
    ) -> list[dict[str, Any]]:
        """Model inputs with `labels`, one mapping a row, without padding."""

    @abstractmethod
    def collate(self, features: Sequence[dict[str, Any]], tokenizer: Any) -> dict[str, Any]:
        """A padded batch of tensors on the CPU."""

    @abstractmethod
    def loss(self, logits: Any, labels: Any, smoothing: float) -> Any:
        """The mean loss of a batch, computed in float32."""

    @abstractmethod
    def measure(self, logits: Any, labels: Any) -> dict[str, float]:
        """Metrics of evaluated rows, from numpy arrays."""

    @abstractmethod
    def calibrate(self, logits: Any, labels: Any) -> Calibration:
        """Fit temperature and threshold, from numpy arrays."""


def family_trainer(task: AnyTask) -> FamilyTrainer:
    """The trainer of a task's family; raises TrainingError for a family that cannot be trained yet."""
    place = FAMILIES.get(task.family)
    if place is None:
        raise TrainingError(
            f"{task.name} belongs to the family {task.family}, which cannot be trained yet. "
            f"Families with training: {', '.join(FAMILIES)}."
        )
    module, _, name = place.partition(":")
    trainer: FamilyTrainer = getattr(import_module(module), name)(task)
    return trainer
