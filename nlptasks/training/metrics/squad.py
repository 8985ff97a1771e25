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
from itertools import groupby
from typing import Any

from nlptasks.families.scores import softmax
from nlptasks.training.metrics.labels import calibration_error

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
_TINY = 1e-12


def normalise(text: str) -> str:
    """Lower case, without ASCII punctuation, English articles and needless spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(found: str, gold: Sequence[str]) -> float:
    """1 if `found` is one of the right answers, normalised, else 0; no right answer means "no answer"."""
    return float(any(normalise(found) == answer for answer in _normalised(gold)))


def f1(found: str, gold: Sequence[str]) -> float:
    """The best F1 of the words of `found` against any right answer; no right answer means "no answer"."""
    words = normalise(found).split()
    return max(_word_f1(words, answer.split()) for answer in _normalised(gold))


def _normalised(gold: Sequence[str]) -> list[str]:
    # The official script drops answers that are articles and punctuation only.
    return [answer for answer in map(normalise, gold) if answer] or [""]


def _word_f1(found: Sequence[str], gold: Sequence[str]) -> float:
    if not found or not gold:
        return float(list(found) == list(gold))
    shared = (Counter(found) & Counter(gold)).total()
    return 2 * shared / (len(found) + len(gold))


@dataclass(frozen=True)
class Answered:
    """What a model says of one question.

    `raw` are the raw scores of the best spans, best first, `null` that of no answer, `text` the best span's words
    ("" where no span could be an answer), `gold` the right answers' texts.
    """

    text: str
    raw: tuple[float, ...]
    null: float
    gold: tuple[str, ...]

    @property
    def margin(self) -> float:
        """By how much no answer outscores the best span; an answer is given up to a threshold of it."""
        return self.null - self.raw[0] if self.raw else float("inf")


class Answers:
    """All answered questions; metrics at any null threshold and temperature."""

    def __init__(self, rows: Sequence[Answered]) -> None:
        self.rows = rows
        self._f1 = [f1(row.text, row.gold) for row in rows]
        self._exact = [exact_match(row.text, row.gold) for row in rows]
        self._null = [f1("", row.gold) for row in rows]

    def measure(self, threshold: float = 0.0, temperature: float = 1.0) -> dict[str, float]:
        """All metrics but the loss."""
        import numpy as np

        given = [row.margin <= threshold for row in self.rows]
        count = max(1, len(self.rows))
        right = self.right(threshold)
        answerable = [index for index, row in enumerate(self.rows) if row.gold]
        return {
            "f1": sum(f if yes else n for f, n, yes in zip(self._f1, self._null, given, strict=True)) / count,
            "exact_match": sum(right) / count,
            "best_f1": self.best_threshold()[1],
            "has_answer_f1": sum(self._f1[index] for index in answerable) / max(1, len(answerable)),
            "ece": calibration_error(np.asarray(self.scores(threshold, temperature)), np.asarray(right, dtype=bool)),
        }

    def best_threshold(self) -> tuple[float, float]:
        """The null threshold with the best F1, half way to the next margin, and that F1."""
        order = sorted(range(len(self.rows)), key=lambda index: self.rows[index].margin)
        total = sum(self._null)
        lowest = self.rows[order[0]].margin - 1.0 if order else 0.0
        best, threshold, before = total, lowest, None
        for margin, group in groupby(order, key=lambda index: self.rows[index].margin):
            if before is not None and threshold == before:
                threshold = (before + margin) / 2 if margin < float("inf") else before
            before = margin
            total += sum(self._f1[index] - self._null[index] for index in group)
            if total > best:
                best, threshold = total, margin
        return threshold, best / max(1, len(self.rows))

    def right(self, threshold: float) -> list[bool]:
        """Whether each answer, or its absence, is exactly right."""
        return [
            bool(exact if row.margin <= threshold else null)
            for row, exact, null in zip(self.rows, self._exact, self._null, strict=True)
        ]

    def scores(self, threshold: float, temperature: float) -> list[float]:
        """Each answer's score as in serving: its share of a softmax over the best spans and no answer."""
        found = []
        for row in self.rows:
            chances = softmax([*row.raw, row.null], temperature)
            found.append(chances[0] if row.margin <= threshold else chances[-1])
        return found

    def answer_loss(self, threshold: float, temperature: float) -> float:
        """Negative log-likelihood, in nats, of each answer being right with the probability of its score."""
        import numpy as np

        scores = np.clip(self.scores(threshold, temperature), _TINY, 1 - 1e-9)
        return float(-np.where(self.right(threshold), np.log(scores), np.log(1 - scores)).mean())


def per_kind(kinds: Sequence[str], right: Sequence[float], shared: Sequence[float]) -> list[dict[str, Any]]:
    """Exact match, F1 and count of each kind of row."""
    table = []
    for kind in sorted(set(kinds)):
        members = [index for index, other in enumerate(kinds) if other == kind]
        table.append(
            {
                "label": kind,
                "exact_match": sum(right[index] for index in members) / len(members),
                "f1": sum(shared[index] for index in members) / len(members),
                "rows": len(members),
            }
        )
    return table
