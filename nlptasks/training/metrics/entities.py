"""Entity metrics: seqeval's strict IOB2 scores, and how far an entity's score can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlptasks.errors import MissingExtraError
from nlptasks.families import spans
from nlptasks.families.spans import Group, Tag
from nlptasks.training.metrics.labels import TINY, binary_loss, calibration_error, label_loss, softmax

HIGHER_IS_BETTER = {"f1": True, "precision": True, "recall": True, "accuracy": True, "ece": False, "loss": False}
"""Metrics that a recipe may name: of entities, right in type and both borders; `accuracy` is that of words,
`ece` the calibration error of entity scores, `loss` the negative log-likelihood of a word's tag in nats."""


@dataclass(frozen=True)
class TaggedWords:
    """The words of one model input.

    `tags` are the head's labels, `firsts` each word's first token (None where the tokenizer dropped the word),
    `references` each word's right tag by its number, `tokens` all tokens that are not special.
    """

    tags: tuple[Tag, ...]
    firsts: tuple[int | None, ...]
    references: tuple[int, ...]
    tokens: tuple[int, ...]


class Tagging:
    """The tags and entities that logits give to words, as in serving with the aggregation "first".

    `right` has a truth value for each predicted entity. Logits have the shape (tokens, tags) for each input.
    """

    def __init__(self, logits: Sequence[Any], texts: Sequence[TaggedWords]) -> None:
        self._references: list[list[str]] = []
        self._predictions: list[list[str]] = []
        words, answers, groups, columns, right = [], [], [], [], []
        for values, text in zip(logits, texts, strict=True):
            rows = [None if first is None else values[first] for first in text.firsts]
            decided = [spans.OUTSIDE if row is None else text.tags[int(row.argmax())] for row in rows]
            predicted = spans.decode(spans.join_tokens(decided, text.firsts))
            expected = spans.decode([text.tags[index] for index in text.references])
            self._predictions.append(iob2_of_groups(predicted, len(rows)))
            self._references.append(iob2_of_groups(expected, len(rows)))
            words += [row for row in rows if row is not None]
            answers += [index for row, index in zip(rows, text.references, strict=True) if row is not None]
            for group in predicted:
                groups.append([row for row in rows[group.first : group.last + 1] if row is not None])
                columns.append([tag.type == group.type for tag in text.tags])
                right.append(group in expected)
        self._words, self._answers = np.asarray(words, dtype=np.float64), answers
        self._groups, self._columns = groups, columns
        self.right = np.asarray(right, dtype=bool)

    def scores(self, temperature: float = 1.0) -> Any:
        """Each entity's score as in serving: the geometric mean of its type's probability over its words."""
        if not self._groups:
            return np.zeros(0)
        sizes = [len(rows) for rows in self._groups]
        chances = softmax(np.asarray([row for rows in self._groups for row in rows], dtype=np.float64) / temperature)
        chances = (chances * np.repeat(np.asarray(self._columns), sizes, axis=0)).sum(axis=1)
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        return np.exp(np.add.reduceat(np.log(np.maximum(chances, TINY)), starts) / sizes)

    def entity_loss(self, temperature: float) -> float:
        """Negative log-likelihood, in nats, of each entity being right with the probability of its score."""
        return binary_loss(self.scores(temperature), self.right)

    def measure(self, temperature: float = 1.0) -> dict[str, float]:
        """All metrics of `HIGHER_IS_BETTER`."""
        return {
            **entity_scores(self._references, self._predictions),
            "ece": calibration_error(self.scores(temperature), self.right),
            "loss": label_loss(softmax(self._words / temperature), self._answers) if self._answers else 0.0,
        }


def iob2_of_groups(groups: Sequence[Group], count: int) -> list[str]:
    """IOB2 tags of `count` words."""
    tags = ["O"] * count
    for group in groups:
        for index in range(group.first, group.last + 1):
            tags[index] = f"{'B' if index == group.first else 'I'}-{group.type}"
    return tags


def entity_scores(references: Sequence[list[str]], predictions: Sequence[list[str]]) -> dict[str, float]:
    """Precision, recall and F1 of all entities together, and the accuracy of tags.

    Args:
        references: the right IOB2 tags of each text.
        predictions: the answered ones, of the same lengths.
    """
    overall = _report(references, predictions).get("micro avg", {})
    pairs = [pair for both in zip(references, predictions, strict=True) for pair in zip(*both, strict=True)]
    return {
        "f1": float(overall.get("f1-score", 0.0)),
        "precision": float(overall.get("precision", 0.0)),
        "recall": float(overall.get("recall", 0.0)),
        "accuracy": sum(reference == predicted for reference, predicted in pairs) / max(1, len(pairs)),
    }


def per_type(references: Sequence[list[str]], predictions: Sequence[list[str]]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and entity count of each type."""
    names = {"precision": "precision", "recall": "recall", "f1": "f1-score"}
    return [
        {"label": label, **{name: float(row[key]) for name, key in names.items()}, "rows": int(row["support"])}
        for label, row in _report(references, predictions).items()
        if not label.endswith(" avg")
    ]


def _report(references: Sequence[list[str]], predictions: Sequence[list[str]]) -> dict[str, Any]:
    try:
        from seqeval.metrics import classification_report
        from seqeval.scheme import IOB2
    except ImportError as error:
        raise MissingExtraError("Measuring", "train") from error
    if all(tag == "O" for tags in [*references, *predictions] for tag in tags):
        return {}
    report: dict[str, Any] = classification_report(
        list(references), list(predictions), mode="strict", scheme=IOB2, output_dict=True, zero_division=0
    )
    return report
