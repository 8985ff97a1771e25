"""The head and its trainer. Imported when a model is loaded or trained, not with the plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from nlptasks.training import Assessment, FamilyTrainer, Feature, TaskRow
from nlptasks_stars import stars_of


class AttentionHead(torch.nn.Module):
    """One score for a text: of the mean of its tokens, weighted by attention."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.weight = torch.nn.Linear(config.hidden_size, 1)
        self.score = torch.nn.Linear(config.hidden_size, 1)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        weights = self.weight(hidden).squeeze(-1).masked_fill(mask == 0, torch.finfo(hidden.dtype).min).softmax(-1)
        return self.score((weights.unsqueeze(-1) * hidden).sum(1))


class RatingTrainer(FamilyTrainer):
    """Columns text and stars, a number from 1 to 5."""

    metrics: Mapping[str, bool] = {"mae": False, "loss": False}
    headline = "mae"

    def parse_label(self, value: Any, labels: Sequence[str]) -> float:
        try:
            stars = float(value)
        except (TypeError, ValueError):
            stars = float("nan")
        if not 1 <= stars <= 5:
            raise ValueError(f"expected stars from 1 to 5, found {value!r}")
        return stars

    def stratum(self, row: TaskRow) -> int:
        return round(row.label)

    def targets(self, features: Sequence[Feature], width: int) -> torch.Tensor:
        return torch.tensor([[(feature.target - 1) / 4] for feature in features])

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
        """The logistic loss, with a share of the scale as the target."""
        return functional.binary_cross_entropy_with_logits(logits.float(), labels * (1 - smoothing) + smoothing / 2)

    def measure(self, logits: Sequence[Any], features: Sequence[Feature]) -> dict[str, float]:
        scores = torch.tensor([[float(row[0])] for row in logits])
        errors = [abs(stars_of(float(row[0])) - f.target) for row, f in zip(logits, features, strict=True)]
        return {"mae": sum(errors) / len(errors), "loss": float(self.loss(scores, self.targets(features, 0), 0.0))}

    def assess(self, read: Any, results: Sequence[Any]) -> Assessment:
        errors = [abs(result.stars - row.label) for result, row in zip(results, read.rows, strict=True)]
        return Assessment({"mae": sum(errors) / len(errors)})
