"""Which learning rate: three short runs from one start, and the lowest loss on held-out rows.

The rates are a third of the recipe's, the recipe's, and three times it. Steps of three follow Bengio 2012
(arXiv:1206.5533, section 3.1.1): the best rate is near the largest one that does not diverge, which is found by
factors of three. A short run prefers rates somewhat lower than a whole training would (Wu et al. 2018,
arXiv:1803.02021), so that a tie goes to the higher one.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.errors import TrainingError
from nlptasks.training.loop.events import Events

if TYPE_CHECKING:
    from nlptasks.runtime.loading.devices import Placement
    from nlptasks.task import Recipe
    from nlptasks.training.families.base import FamilyTrainer, Feature
    from nlptasks.training.loop.models import Trainable

FACTOR = 3.0
SHARE, FEWEST, MOST = 0.05, 20, 100
"""A short run has that share of the training's optimizer steps, within these bounds."""

TIE = 0.01
"""Losses that differ by less than this share are equal: the rows that measure them are few."""

ROWS = 256
"""Held-out rows that a short run is measured on, spread over all lengths."""


@dataclass(frozen=True)
class Rates:
    """Held-out losses after `steps` steps by learning rate, None where the run diverged; lowest rate first."""

    steps: int
    losses: dict[float, float | None]

    @property
    def chosen(self) -> float:
        """The rate with the lowest loss; of rates whose losses are equal within `TIE` the highest.

        Raises:
            TrainingError: all three diverged.
        """
        found = {rate: loss for rate, loss in self.losses.items() if loss is not None}
        if not found:
            tried = ", ".join(f"{rate:g}" for rate in self.losses)
            raise TrainingError(f"The loss diverged at every learning rate that was tried ({tried}): use a lower lr.")
        least = min(found.values())
        return max(rate for rate, loss in found.items() if loss <= least + TIE * abs(least))

    @property
    def table(self) -> str:
        """The rates with their losses, for a person."""
        lines = [f"learning rates, {self.steps} steps each from the same start:", "        lr  held-out loss"]
        for rate, loss in self.losses.items():
            shown = "diverged" if loss is None else f"{loss:.4f}"
            lines.append(f"{rate:>10.3g}  {shown:>13}{'  chosen' if rate == self.chosen else ''}")
        if self.chosen == max(self.losses):
            lines.append("the highest was chosen: a still higher lr may be better")
        return "\n".join(lines)


def probe_rates(
    trainable: Trainable,
    family: FamilyTrainer,
    recipe: Recipe,
    placement: Placement,
    folder: Path,
    training: list[Feature],
    held_out: list[Feature],
    stop: Callable[[], bool] = lambda: False,
) -> Rates:
    """Train shortly at three rates and put the weights back as they were.

    Every run is a small training of its own: the same rows in the same order, warmup, a rate that falls to zero.
    `folder` holds its checkpoints meanwhile.

    Raises:
        Interrupted: `stop` was true after a step.
    """
    import torch

    from nlptasks.training.loop.trainer import Loop

    start = {name: parameter.detach().clone() for name, parameter in trainable.trained.items()}
    per_epoch = math.ceil(math.ceil(len(training) / recipe.batch_size) / recipe.accumulate)
    steps = min(MOST, max(FEWEST, round(SHARE * recipe.epochs * per_epoch)))
    ordered = sorted(held_out, key=len)
    few = ordered[:: math.ceil(len(ordered) / ROWS)]
    losses: dict[float, float | None] = {}
    for rate in (recipe.lr / FACTOR, recipe.lr, recipe.lr * FACTOR):
        short = dataclasses.replace(
            recipe, lr=rate, epochs=steps / per_epoch, evals_per_epoch=1, patience=0, average=0.0
        )
        loop = Loop(trainable, family, short, placement, folder, training, few, Events([]), stop)
        try:
            loop.train()
            losses[rate] = _finite(loop.history[-1]["metrics"]["loss"])
        except TrainingError:
            losses[rate] = None
        finally:
            # Accelerate leaves its autocast on `forward`.
            trainable.model = loop.accelerator.unwrap_model(loop.model, keep_fp32_wrapper=False)
            with torch.no_grad():
                for name, value in start.items():
                    trainable.trained[name].copy_(value)
            trainable.model.zero_grad(set_to_none=True)
            shutil.rmtree(folder, ignore_errors=True)
    return Rates(steps, losses)


def _finite(loss: Any) -> float | None:
    return float(loss) if math.isfinite(loss) else None
