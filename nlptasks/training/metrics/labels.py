"""Classification metrics: scikit-learn's, and the expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nlptasks.errors import MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

HIGHER_IS_BETTER = {"accuracy": True, "macro_f1": True, "mcc": True, "ece": False, "loss": False}
"""Metrics that a recipe may name; `loss` is the negative log-likelihood in nats."""

_TINY = 1e-12


def softmax(logits: Array) -> Array:
    """Probabilities of each row."""
    from scipy.special import softmax

    return softmax(logits, axis=1)  # type: ignore[no-any-return]


def sigmoid(logits: Array) -> Array:
    """Probability of each label on its own."""
    from scipy.special import expit

    return expit(logits)  # type: ignore[no-any-return]


def single_label(probabilities: Array, gold: Sequence[int]) -> dict[str, float]:
    """Metrics of rows with one label each.

    Args:
        probabilities: array of shape (rows, labels).
        gold: index of the right label of each row.
    """
    import numpy as np

    metrics = _sklearn()
    right = np.asarray(gold)
    found = probabilities.argmax(axis=1)
    likelihood = probabilities[np.arange(len(right)), right]
    present = sorted(set(right.tolist()) | set(found.tolist()))
    return {
        "accuracy": float(metrics.accuracy_score(right, found)),
        "macro_f1": float(metrics.f1_score(right, found, labels=present, average="macro", zero_division=0)),
        "mcc": float(metrics.matthews_corrcoef(right, found)),
        "ece": calibration_error(probabilities.max(axis=1), found == right),
        "loss": float(-np.log(np.maximum(likelihood, _TINY)).mean()),
    }


def multi_label(
    probabilities: Array, gold: Array, threshold: float = 0.5, found: Array | None = None
) -> dict[str, float]:
    """Metrics of rows with any number of labels; accuracy counts rows whose labels are all right.

    Args:
        probabilities: array of shape (rows, labels).
        gold: array of 0 and 1 of the same shape.
        threshold: least probability for a label to count.
        found: the answers as 0 and 1 where they are known; `threshold` is not used then.
    """
    import numpy as np

    metrics = _sklearn()
    found = (probabilities >= threshold).astype(float) if found is None else found
    clipped = np.clip(probabilities, _TINY, 1 - _TINY)
    nll = -(gold * np.log(clipped) + (1 - gold) * np.log(1 - clipped))
    return {
        "accuracy": float(metrics.accuracy_score(gold, found)),
        "macro_f1": float(metrics.f1_score(gold, found, average="macro", zero_division=0)),
        "mcc": float(metrics.matthews_corrcoef(gold.ravel(), found.ravel())),
        "ece": calibration_error(np.maximum(probabilities, 1 - probabilities).ravel(), (found == gold).ravel()),
        "loss": float(nll.mean()),
    }


def calibration_error(confidence: Any, correct: Any, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over bins of equal width (Guo et al. 2017, arXiv:1706.04599)."""
    import numpy as np

    confidence, correct = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    total = 0.0
    for index in range(bins):
        inside = place == index
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    return float(total)


def per_label(gold: Sequence[int], found: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and row count of each label."""
    metrics = _sklearn()
    precision, recall, f1, rows = metrics.precision_recall_fscore_support(
        list(gold), list(found), labels=list(range(len(names))), zero_division=0
    )
    return [
        {"label": name, "precision": float(p), "recall": float(r), "f1": float(f), "rows": int(n)}
        for name, p, r, f, n in zip(names, precision, recall, f1, rows, strict=True)
    ]


def confusion(gold: Sequence[int], found: Sequence[int], size: int) -> list[list[int]]:
    """Row counts: `matrix[right][answered]`."""
    matrix = [[0] * size for _ in range(size)]
    for right, answered in zip(gold, found, strict=True):
        matrix[right][answered] += 1
    return matrix


def _sklearn() -> Any:
    try:
        from sklearn import metrics
    except ImportError as error:
        raise MissingExtraError("Measuring", "train") from error
    return metrics
