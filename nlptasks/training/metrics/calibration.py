"""Temperature and threshold, fitted on held-out rows so that a score of 0.8 is right about 8 times in 10."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from nlptasks.training.metrics import labels as metrics

if TYPE_CHECKING:
    from nlptasks.training.metrics.labels import Array

MIN_ROWS = 50
"""Fewer held-out rows tell too little to move the scores."""

_LOWEST, _HIGHEST = 0.1, 10.0


def fit_temperature(loss: Callable[[float], float], rows: int, errors: int) -> float:
    """The temperature with the least negative log-likelihood on held-out rows (arXiv:1706.04599).

    1.0 where the rows cannot tell: too few of them, or no error among them, since the likelihood of
    faultless rows only grows with the scores.

    Args:
        loss: negative log-likelihood of the rows when their logits are divided by a temperature.
        rows: how many there are.
        errors: how many of them are answered wrongly.
    """
    if rows < MIN_ROWS or errors == 0:
        return 1.0
    low, high = math.log(_LOWEST), math.log(_HIGHEST)
    # The likelihood has one optimum in the temperature, so thirds that cannot hold it may be dropped.
    for _ in range(80):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if loss(math.exp(left)) <= loss(math.exp(right)):
            high = right
        else:
            low = left
    return round(math.exp((low + high) / 2), 4)


def fit_threshold(probabilities: Array, gold: Array) -> float | None:
    """The multi-label threshold with the best macro-F1; None (the task's default) where rows are few."""
    if len(probabilities) < MIN_ROWS:
        return None
    grid = [round(0.05 * step, 2) for step in range(1, 20)]
    # Of equal thresholds the one nearest to one half is taken.
    return max(grid, key=lambda t: (metrics.multi_label(probabilities, gold, t)["macro_f1"], -abs(t - 0.5)))
