"""From raw scores to probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence


def softmax(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Probabilities of raw scores, divided by a temperature first (Guo et al. 2017, arXiv:1706.04599)."""
    top = max(scores, default=0.0)
    powers = [math.exp((score - top) / temperature) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]


def sigmoid(score: float) -> float:
    """The probability of a raw score on its own."""
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))
