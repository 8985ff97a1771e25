"""A training from few rows: contrastive steps if the recipe has any, then a linear layer on the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nlptasks.errors import CancelledError
from nlptasks.training.families.base import Calibration, Feature
from nlptasks.training.families.few_shot import FOLDS, folds_of
from nlptasks.training.job import Fitted, Job
from nlptasks.training.loop.contrastive import contrast, num_steps
from nlptasks.training.loop.stopping import stopping
from nlptasks.training.metrics.linear import LinearLayer, fit_layer

if TYPE_CHECKING:
    from nlptasks.runtime.loading.devices import Placement
    from nlptasks.training.loop.models import Trainable

CONTRASTED_FOLDS = 2
"""Folds with contrastive steps: each fold takes its steps again."""


@dataclass
class FewShotJob(Job):
    """All rows train; strength, temperature and metrics come from cross-validation, or from validation data."""

    def _baselines(
        self, trainable: Trainable, placement: Placement, training: list[Feature], held_out: list[Feature]
    ) -> dict[str, dict[str, float]]:
        # A logistic regression on the vectors is what is trained here.
        if not self.recipe.load_in_4bit:
            trainable.model.to(placement.device)
        return {}

    def _fit(
        self, trainable: Trainable, training: list[Feature], held_out: list[Feature], placement: Placement
    ) -> tuple[Trainable, Fitted]:
        device, recipe = placement.device, self.recipe
        marks = self._marks(training)
        rows = self.data.training
        strata = [self.family.stratum(row) for row in rows]
        texts = [self.family.row_text(row) for row in rows]
        steps = num_steps(recipe, len(rows))
        folds = folds_of(texts, strata, CONTRASTED_FOLDS if steps else FOLDS, recipe.seed)
        total = steps + sum(num_steps(recipe, len(inside)) for inside, _ in folds)
        self.events("start", steps=total, done=0, epochs=recipe.contrastive_epochs, metric="", headline="")
        taken = 0
        with stopping(self.cancel) as stop:

            def on_step(_: int, loss: float, rate: float) -> None:
                nonlocal taken
                taken += 1
                epoch = recipe.contrastive_epochs * taken / total
                self.events("step", step=taken, epoch=epoch, loss=loss, lr=rate)
                if stop():
                    raise CancelledError(f"Stopped at step {taken} of {total}.")

            apart = []
            for inside, _ in folds if steps else ():
                other, features, _ = self._build(placement, rows, ())
                other.model.to(device)
                contrast(other, self.family, [features[i] for i in inside], marks[inside], recipe, device, on_step)
                apart.append(self._vectors(other, features))
            if steps:
                contrast(trainable, self.family, training, marks, recipe, device, on_step)
        layer = fit_layer(self._vectors(trainable, training), marks, folds, apart, multi_label=self.family.multi_label)
        _put(layer, trainable)
        metrics = layer.metrics
        if held_out:
            logits = layer.logits(self._vectors(trainable, held_out)) / layer.temperature
            metrics = self.family.measure(list(logits), held_out)
        calibration = Calibration(layer.temperature, layer.threshold, metrics)
        measured = len(held_out) or sum(len(others) for _, others in folds)
        return trainable, Fitted(device, steps, steps, (), {"epoch": 0.0, "step": steps}, calibration, measured)

    def _vectors(self, trainable: Trainable, features: list[Feature]) -> Any:
        """Vectors of length one, as the head makes them: shape (features, size)."""
        from nlptasks.training.loop.models import mean_vectors

        means = mean_vectors(trainable, self.family, features, frozen=False)
        return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)

    def _marks(self, features: Sequence[Feature]) -> Any:
        targets = np.asarray([feature.target for feature in features])
        return targets if targets.ndim == 2 else np.eye(len(self.data.labels))[targets]


def _put(layer: LinearLayer, trainable: Trainable) -> None:
    """Make a layer the weights of a model's head."""
    import torch

    with torch.no_grad():
        for name, parameter in trainable.trained.items():
            if ".lora_" not in name:
                values = layer.weights if name.endswith("weight") else layer.bias
                parameter.copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))
