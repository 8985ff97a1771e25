"""Temperature and threshold, fitted on held-out rows so that a score of 0.8 is right about 8 times in 10."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from nlptasks.training.metrics.labels import multi_label

if TYPE_CHECKING:
    from nlptasks.training.metrics.labels import Array

MIN_ROWS = 50
"""Fewer held-out rows are too few to change the scores by."""

_BOUNDS = (math.log(0.1), math.log(10.0))


def fit_temperature(loss: Callable[[float], float], rows: int, errors: int) -> float:
    """The temperature with the least negative log-likelihood on held-out rows (arXiv:1706.04599).

    1.0 for too few rows, and for rows without an error, whose likelihood only grows with the scores.

    Args:
        loss: negative log-likelihood of the rows when their logits are divided by a temperature.
        rows: how many there are.
        errors: how many of them are answered wrongly.
    """
    if rows < MIN_ROWS or errors == 0:
        return 1.0
    from scipy.optimize import minimize_scalar

    # The likelihood has a single optimum in the temperature.
    best = minimize_scalar(lambda log: loss(math.exp(log)), bounds=_BOUNDS, method="bounded", options={"xatol": 1e-6})
    return round(math.exp(best.x), 4)


def fit_threshold(probabilities: Array, references: Array) -> float | None:
    """The multi-label threshold with the best macro-F1; None (the task's default) for too few rows."""
    if len(probabilities) < MIN_ROWS:
        return None
    grid = [round(0.05 * step, 2) for step in range(1, 20)]
    # Of equal thresholds the one nearest to one half is taken.
    return max(grid, key=lambda t: (multi_label(probabilities, references, t)["macro_f1"], -abs(t - 0.5)))
