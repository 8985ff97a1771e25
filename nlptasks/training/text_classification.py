"""Text classification's part of a training: labels, features, loss and metrics."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from nlptasks.training import metrics
from nlptasks.training.calibration import fit_temperature, fit_threshold
from nlptasks.training.data import DataOptions, Example, Examples, read_examples
from nlptasks.training.family import Calibration, FamilyTrainer


class TextClassificationTrainer(FamilyTrainer):
    """One label a text, or several for a task with `multi_label`."""

    verb = "classify"
    metrics = metrics.HIGHER_IS_BETTER

    def read(
        self,
        sources: Sequence[str],
        options: DataOptions,
        *,
        labels: Sequence[str] | None = None,
        offline: bool = False,
        split: str = "train",
    ) -> Examples:
        return read_examples(
            sources,
            labels=labels or getattr(self.task, "labels", ()),
            options=options,
            multi_label=self.multi_label,
            offline=offline,
            split=split,
        )

    def text_of(self, row: Example) -> str:
        return row.text

    def label_of(self, row: Example) -> Hashable:
        return row.label

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        return {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {name: index for index, name in enumerate(labels)},
            "problem_type": "multi_label_classification" if self.multi_label else "single_label_classification",
        }

    def encode(
        self, rows: Sequence[Example], labels: Sequence[str], tokenizer: Any, max_length: int
    ) -> list[dict[str, Any]]:
        if not rows:
            return []
        encoded = tokenizer([row.text for row in rows], truncation=True, max_length=max_length)
        names = list(encoded)
        return [
            {**{name: encoded[name][i] for name in names}, "labels": self._target(row, len(labels))}
            for i, row in enumerate(rows)
        ]

    def collate(self, features: Sequence[dict[str, Any]], tokenizer: Any) -> dict[str, Any]:
        import torch

        from nlptasks.runtime.encoding import pad

        rows = [{name: value for name, value in row.items() if name != "labels"} for row in features]
        # The same padding as in serving, so that a head sees the same positions.
        batch = pad(rows, tokenizer.pad_token_id or 0, "cpu")
        kind = torch.float32 if self.multi_label else torch.long
        batch["labels"] = torch.tensor([row["labels"] for row in features], dtype=kind)
        return batch

    def loss(self, logits: Any, labels: Any, smoothing: float) -> Any:
        from torch.nn import functional

        logits = logits.float()
        if not self.multi_label:
            return functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        return functional.binary_cross_entropy_with_logits(logits, labels * (1 - smoothing) + smoothing / 2)

    def measure(self, logits: Any, labels: Any) -> dict[str, float]:
        if self.multi_label:
            return metrics.multi_label(metrics.sigmoid(logits), labels)
        return metrics.single_label(metrics.softmax(logits), labels)

    def calibrate(self, logits: Any, labels: Any) -> Calibration:
        wrong = round((1 - self.measure(logits, labels)["accuracy"]) * len(logits))
        temperature = fit_temperature(logits, lambda values: self.measure_loss(values, labels), wrong)
        scaled = logits / temperature
        if not self.multi_label:
            return Calibration(temperature, None, self.measure(scaled, labels))
        chances = metrics.sigmoid(scaled)
        threshold = fit_threshold(chances, labels)
        return Calibration(temperature, threshold, metrics.multi_label(chances, labels, threshold or 0.5))

    def measure_loss(self, logits: Any, labels: Any) -> float:
        """Negative log-likelihood, without the metrics that cost more."""
        import numpy as np

        if self.multi_label:
            chances = np.clip(metrics.sigmoid(logits), 1e-12, 1 - 1e-12)
            return float(-(labels * np.log(chances) + (1 - labels) * np.log(1 - chances)).mean())
        chances = metrics.softmax(logits)[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(chances, 1e-12)).mean())

    def _target(self, row: Example, size: int) -> int | list[float]:
        if isinstance(row.label, int):
            return row.label
        return [float(index in row.label) for index in range(size)]
