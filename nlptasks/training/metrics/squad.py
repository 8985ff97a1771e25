"""SQuAD's metrics: exact match and F1 of an answer's words, with and without the choice not to answer.

Definitions are those of the official scripts for SQuAD 1.1 (Rajpurkar et al. 2016, arXiv:1606.05250) and 2.0
(Rajpurkar et al. 2018, arXiv:1806.03822).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlptasks.families.scores import softmax
from nlptasks.training.metrics.labels import binary_loss, calibration_error

HIGHER_IS_BETTER = {
    "f1": True,
    "exact_match": True,
    "best_f1": True,
    "has_answer_f1": True,
    "ece": False,
    "loss": False,
}
"""Metrics that a recipe may name, as shares of 1: `best_f1` is F1 at the best null threshold, `has_answer_f1` that of
the questions with an answer when every question must be answered, `ece` the calibration error of scores, `loss` the
negative log-likelihood in nats of a border's right token."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, without ASCII punctuation, English articles and needless spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(text: str, references: Sequence[str]) -> float:
    """1 if `text` is a right answer, normalised, else 0; no right answer means "no answer"."""
    return float(normalise(text) in _normalised(references))


def f1(text: str, references: Sequence[str]) -> float:
    """The best F1 of the words of `text` against any right answer; no right answer means "no answer"."""
    words = normalise(text).split()
    return max(_word_f1(words, reference.split()) for reference in _normalised(references))


def _normalised(references: Sequence[str]) -> list[str]:
    # The official script drops answers that are articles and punctuation only.
    return [answer for answer in map(normalise, references) if answer] or [""]


def _word_f1(words: Sequence[str], reference: Sequence[str]) -> float:
    if not words or not reference:
        return float(words == reference)
    shared = (Counter(words) & Counter(reference)).total()
    return 2 * shared / (len(words) + len(reference))


@dataclass(frozen=True)
class Answered:
    """A model's answer to one question.

    `raw` are the raw scores of the best spans, best first, `null` that of no answer, `text` the best span's text
    ("" where no span could be an answer), `references` the texts of the right answers.
    """

    text: str
    raw: tuple[float, ...]
    null: float
    references: tuple[str, ...]

    @property
    def margin(self) -> float:
        """By how much no answer outscores the best span, which is the answer if the margin is at most a threshold."""
        return self.null - self.raw[0] if self.raw else float("inf")


class Answers:
    """All answered questions; metrics at any null threshold and temperature."""

    def __init__(self, rows: Sequence[Answered]) -> None:
        self.rows = rows
        self._margins = np.asarray([row.margin for row in rows])
        self._answerable = np.asarray([bool(row.references) for row in rows], dtype=bool)
        self._f1 = np.asarray([f1(row.text, row.references) for row in rows])
        self._exact = np.asarray([exact_match(row.text, row.references) for row in rows])
        # F1 and exact match of no answer.
        self._null = np.asarray([f1("", row.references) for row in rows])

    def measure(self, threshold: float = 0.0, temperature: float = 1.0) -> dict[str, float]:
        """All metrics but the loss."""
        right = self.right(threshold)
        return {
            "f1": _mean(np.where(self._margins <= threshold, self._f1, self._null)),
            "exact_match": _mean(right),
            "best_f1": self.best_threshold()[1],
            "has_answer_f1": _mean(self._f1[self._answerable]),
            "ece": calibration_error(self.scores(threshold, temperature), right),
        }

    def best_threshold(self) -> tuple[float, float]:
        """The null threshold with the best F1, half way to the next margin, and that F1."""
        if not self.rows:
            return 0.0, 0.0
        order = np.argsort(self._margins, kind="stable")
        margins = self._margins[order]
        # The sum of F1 if the first `count` questions are answered; questions with one margin only together.
        totals = self._null.sum() + np.cumsum([0.0, *(self._f1 - self._null)[order]])
        totals[1:-1][margins[1:] == margins[:-1]] = -np.inf
        count = int(totals.argmax())
        borders = [margins[0] - 1.0 if count == 0 else margins[count - 1]]
        borders += [margins[count]] if 0 < count < len(margins) and np.isfinite(margins[count]) else []
        return float(np.mean(borders)), float(totals[count]) / len(self.rows)

    def right(self, threshold: float) -> Any:
        """Whether each answer, or its absence, is exactly right: an array of booleans."""
        return np.where(self._margins <= threshold, self._exact, self._null).astype(bool)

    def scores(self, threshold: float, temperature: float) -> list[float]:
        """Each answer's score as in serving: its share of a softmax over the best spans and no answer.

        No answer counts from the threshold on, so that the two outcomes are equally likely where one becomes the other.
        """
        chances = [softmax([*row.raw, row.null - threshold], temperature) for row in self.rows]
        return [row[0 if margin <= threshold else -1] for row, margin in zip(chances, self._margins, strict=True)]

    def answer_loss(self, threshold: float, temperature: float) -> float:
        """Negative log-likelihood, in nats, of each answer being right with the probability of its score."""
        return binary_loss(np.asarray(self.scores(threshold, temperature)), self.right(threshold))


def per_kind(kinds: Sequence[str], exact: Sequence[float], shared: Sequence[float]) -> list[dict[str, Any]]:
    """Exact match, F1 and count of each kind of row."""
    groups = {kind: [index for index, other in enumerate(kinds) if other == kind] for kind in sorted(set(kinds))}
    return [
        {
            "label": kind,
            "exact_match": _mean([exact[index] for index in group]),
            "f1": _mean([shared[index] for index in group]),
            "rows": len(group),
        }
        for kind, group in groups.items()
    ]


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else 0.0
