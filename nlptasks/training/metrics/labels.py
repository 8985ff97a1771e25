"""Classification metrics: scikit-learn's, and the expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nlptasks.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

HIGHER_IS_BETTER = {"accuracy": True, "macro_f1": True, "mcc": True, "ece": False, "loss": False}
"""Metrics that a recipe may name; `loss` is the negative log-likelihood in nats."""

TINY = 1e-12
"""The least probability that a logarithm is taken of."""


def softmax(logits: Array) -> Array:
    """Probabilities of each row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances: Array = powers / powers.sum(axis=1, keepdims=True)
    return chances


def sigmoid(logits: Array) -> Array:
    """The probability of each label, independent of the others."""
    from scipy.special import expit

    return expit(logits)  # type: ignore[no-any-return]


def label_loss(probabilities: Array, references: Sequence[int]) -> float:
    """Mean negative log-likelihood of the right label, one per row, in nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(references)), references], TINY)).mean())


def binary_loss(probabilities: Array, references: Any) -> float:
    """Mean negative log-likelihood, in nats, of references of 0 and 1 in an array of the same shape."""
    clipped = np.clip(probabilities, TINY, 1 - TINY)
    return float(-np.where(references, np.log(clipped), np.log(1 - clipped)).mean())


def single_label(probabilities: Array, references: Sequence[int]) -> dict[str, float]:
    """Metrics of rows with one label each.

    Args:
        probabilities: array of shape (rows, labels).
        references: index of the right label of each row.
    """
    metrics = _sklearn()
    right, predictions = np.asarray(references), probabilities.argmax(axis=1)
    present = np.union1d(right, predictions)
    return {
        "accuracy": float(metrics.accuracy_score(right, predictions)),
        "macro_f1": float(metrics.f1_score(right, predictions, labels=present, average="macro", zero_division=0)),
        "mcc": _correlation(right, predictions),
        "ece": calibration_error(probabilities.max(axis=1), predictions == right),
        "loss": label_loss(probabilities, references),
    }


def multi_label(
    probabilities: Array, references: Array, threshold: float = 0.5, predictions: Array | None = None
) -> dict[str, float]:
    """Metrics of rows with any number of labels; accuracy counts rows whose labels are all right.

    Args:
        probabilities: array of shape (rows, labels).
        references: array of 0 and 1 of the same shape.
        threshold: least probability for a label to count.
        predictions: answers as 0 and 1, which stand in for `threshold`.
    """
    metrics = _sklearn()
    predictions = (probabilities >= threshold).astype(float) if predictions is None else predictions
    correct = (predictions == references).ravel()
    return {
        "accuracy": float(metrics.accuracy_score(references, predictions)),
        "macro_f1": float(metrics.f1_score(references, predictions, average="macro", zero_division=0)),
        "mcc": _correlation(references.ravel(), predictions.ravel()),
        "ece": calibration_error(np.maximum(probabilities, 1 - probabilities).ravel(), correct),
        "loss": binary_loss(probabilities, references),
    }


def regression(training: Array, labels: Sequence[int], others: Array) -> Array:
    """Probabilities of shape (others, highest label + 1) of a logistic regression on vectors.

    Args:
        training: vectors of shape (rows, size).
        labels: the label of each training row.
        others: vectors to classify, of the same size.
    """
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(max_iter=1000).fit(training, labels)
    chances = np.zeros((len(others), max(labels) + 1))
    chances[:, fitted.classes_] = fitted.predict_proba(others)
    return chances


def calibration_error(confidence: Any, correct: Any, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over bins of equal width (Guo et al. 2017, arXiv:1706.04599)."""
    confidence, correct = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    # A bin's share of the rows times the gap of its means is the gap of its sums over all rows.
    gaps = np.abs(np.bincount(place, confidence - correct, minlength=bins))
    return float(gaps.sum() / max(1, len(confidence)))


def reliability(confidence: Any, correct: Any, bins: int = 10) -> list[dict[str, Any]]:
    """Bins of equal width that hold answers: their borders, mean score, share of right ones, and how many they are."""
    confidence, correct = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "from": number / bins,
            "to": (number + 1) / bins,
            "score": float(confidence[place == number].mean()),
            "right": float(correct[place == number].mean()),
            "answers": int((place == number).sum()),
        }
        for number in np.unique(place).tolist()
    ]


def per_label(references: Sequence[int], predictions: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and row count of each label."""
    columns = _sklearn().precision_recall_fscore_support(
        references, predictions, labels=range(len(names)), zero_division=0
    )
    return [
        {"label": name, "precision": float(p), "recall": float(r), "f1": float(f), "rows": int(n)}
        for name, p, r, f, n in zip(names, *columns, strict=True)
    ]


def confusion(references: Sequence[int], predictions: Sequence[int], size: int) -> list[list[int]]:
    """Row counts: `matrix[right][answered]`."""
    matrix: list[list[int]] = _sklearn().confusion_matrix(references, predictions, labels=range(size)).tolist()
    return matrix


def _correlation(references: Array, predictions: Array) -> float:
    """Matthews correlation; 0 where there is one label in all, about which scikit-learn warns."""
    one = len(np.union1d(references, predictions)) < 2
    return 0.0 if one else float(_sklearn().matthews_corrcoef(references, predictions))


def _sklearn() -> Any:
    try:
        from sklearn import metrics
    except ImportError as error:
        raise MissingExtraError("Measuring", "train") from error
    return metrics
