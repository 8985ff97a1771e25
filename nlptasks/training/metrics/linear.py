"""A linear layer on vectors by logistic regression, its strength and its temperature by cross-validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nlptasks.training.metrics import labels as metrics
from nlptasks.training.metrics.calibration import fit_threshold

if TYPE_CHECKING:
    from nlptasks.training.metrics.labels import Array

STRENGTHS = (1.0, 10.0, 100.0)
"""The inverse strengths of regularisation (scikit-learn's C) that are tried."""

_BOUNDS = (math.log(0.02), math.log(10.0))

Fold = tuple[Sequence[int], Sequence[int]]
"""The indices of training rows and of the others."""


@dataclass(frozen=True)
class LinearLayer:
    """Logits are `vectors @ weights.T + bias`, of shape (rows, labels).

    `weights` has shape (labels, size) and `bias` (labels,). `temperature`, `threshold` and `metrics` are those of
    logits for rows that the regression had not seen; without any the temperature is 1 and there are no metrics.
    """

    weights: Any
    bias: Any
    temperature: float = 1.0
    threshold: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    def logits(self, vectors: Any) -> Any:
        """Raw scores of shape (rows, labels) for vectors of shape (rows, size)."""
        return vectors @ self.weights.T + self.bias


def fit_layer(
    vectors: Array, marks: Array, folds: Sequence[Fold], apart: Sequence[Array] = (), *, multi_label: bool = False
) -> LinearLayer:
    """The layer that gives rows their labels.

    Args:
        vectors: shape (rows, size), of length one.
        marks: 1 for each label of a row, else 0; shape (rows, labels).
        folds: for the strength and the temperature; without any the first strength is taken.
        apart: for each fold the vectors of all rows by a base that has not seen the fold's other rows; by default
            `vectors`.
        multi_label: whether the labels do not exclude each other.
    """
    if not any(len(others) for _, others in folds):
        return LinearLayer(*_regression(vectors, marks, STRENGTHS[0], multi_label))
    seen = np.concatenate([np.asarray(others, dtype=int) for _, others in folds])
    tried = []
    for strength in STRENGTHS:
        logits = np.zeros(marks.shape)
        for (rows, others), known in zip(folds, apart or [vectors] * len(folds), strict=True):
            if len(others):
                weights, bias = _regression(known[rows], marks[rows], strength, multi_label)
                logits[others] = known[others] @ weights.T + bias
        temperature, loss = _temperature(logits[seen], marks[seen], multi_label)
        tried.append((loss, strength, temperature, logits[seen]))
    _, strength, temperature, logits = min(tried, key=lambda each: each[0])
    weights, bias = _regression(vectors, marks, strength, multi_label)
    if not multi_label:
        measured = metrics.single_label(metrics.softmax(logits / temperature), marks[seen].argmax(1).tolist())
        return LinearLayer(weights, bias, temperature, None, measured)
    chances = metrics.sigmoid(logits / temperature)
    threshold = fit_threshold(chances, marks[seen])
    measured = metrics.multi_label(chances, marks[seen], threshold or 0.5)
    return LinearLayer(weights, bias, temperature, threshold, measured)


def _regression(vectors: Array, marks: Array, strength: float, multi_label: bool) -> tuple[Array, Array]:
    """Weights of shape (labels, size) and biases of shape (labels,)."""
    from sklearn.linear_model import LogisticRegression

    def fit(targets: Any) -> tuple[Any, Any]:
        fitted = LogisticRegression(C=strength, max_iter=1000, tol=1e-6).fit(vectors, targets)
        return fitted.coef_, fitted.intercept_

    if multi_label:
        rows = [
            # A label that all rows have, or none, has nothing to learn but its share.
            (np.zeros((1, vectors.shape[1])), [math.log((column.sum() + 1) / (len(column) - column.sum() + 1))])
            if len(set(column.tolist())) < 2
            else fit(column)
            for column in marks.T
        ]
        return np.concatenate([each for each, _ in rows]), np.concatenate([each for _, each in rows])
    weights, bias = fit(marks.argmax(1))
    if len(weights) == 1:
        # Of two labels scikit-learn only gives the difference.
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return weights, bias


def _temperature(logits: Array, marks: Array, multi_label: bool) -> tuple[float, float]:
    """The temperature with the least negative log-likelihood, and that likelihood in nats a row.

    The targets of n rows of a label are (n + 1) / (n + 2) and not 1 (Platt 1999): a few rows without an error would
    make all answers certain.
    """
    from scipy.optimize import minimize_scalar

    counts = marks.sum(0)
    chances_of = metrics.sigmoid if multi_label else metrics.softmax
    if multi_label:
        targets = np.where(marks, (counts + 1) / (counts + 2), 1 / (len(marks) - counts + 2))
    else:
        rest = marks @ (1 / (counts + 2))
        targets = np.where(marks, 1 - rest[:, None], rest[:, None] / (marks.shape[1] - 1))

    def loss(log: float) -> float:
        chances = np.clip(chances_of(logits / math.exp(log)), metrics.TINY, 1 - metrics.TINY)
        parts = targets * np.log(chances) + ((1 - targets) * np.log(1 - chances) if multi_label else 0)
        return float(-parts.sum(1).mean())

    best = minimize_scalar(loss, bounds=_BOUNDS, method="bounded", options={"xatol": 1e-4})
    return round(math.exp(best.x), 4), float(best.fun)
