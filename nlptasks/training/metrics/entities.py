"""Entity metrics: seqeval's strict IOB2 scores, and how far an entity's score can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nlptasks.errors import MissingExtraError
from nlptasks.families import spans
from nlptasks.families.spans import Group, Tag
from nlptasks.training.metrics.labels import calibration_error, softmax

HIGHER_IS_BETTER = {"f1": True, "precision": True, "recall": True, "accuracy": True, "ece": False, "loss": False}
"""Metrics that a recipe may name: of entities, right in type and both borders; `accuracy` is that of words,
`ece` the calibration error of entity scores, `loss` the negative log-likelihood of a word's tag in nats."""

_TINY = 1e-12


@dataclass(frozen=True)
class TaggedWords:
    """The words of one model input.

    `tags` are the head's labels, `firsts` each word's first token (None where the tokenizer dropped the word),
    `gold` each word's right tag by its number, `tokens` all tokens that are not special.
    """

    tags: tuple[Tag, ...]
    firsts: tuple[int | None, ...]
    gold: tuple[int, ...]
    tokens: tuple[int, ...]


class Tagging:
    """What logits say of words: entities found as in serving, with the aggregation "first".

    `right` has a truth value for each entity found. Logits have the shape (tokens, tags) for each input.
    """

    def __init__(self, logits: Sequence[Any], texts: Sequence[TaggedWords]) -> None:
        import numpy as np

        self._gold: list[list[str]] = []
        self._found: list[list[str]] = []
        words, answers, groups, columns, right = [], [], [], [], []
        for values, text in zip(logits, texts, strict=True):
            rows = [None if first is None else values[first] for first in text.firsts]
            decided = [spans.OUTSIDE if row is None else text.tags[int(row.argmax())] for row in rows]
            found = spans.decode(decided)
            gold = spans.decode([text.tags[index] for index in text.gold])
            self._found.append(iob2_of_groups(found, len(rows)))
            self._gold.append(iob2_of_groups(gold, len(rows)))
            words += [row for row in rows if row is not None]
            answers += [index for row, index in zip(rows, text.gold, strict=True) if row is not None]
            for group in found:
                groups.append([row for row in rows[group.first : group.last + 1] if row is not None])
                columns.append([tag.type == group.type for tag in text.tags])
                right.append(group in gold)
        self._words = np.asarray(words, dtype=np.float64)
        self._answers = np.asarray(answers, dtype=int)
        self._groups, self._columns = groups, columns
        self.right = np.asarray(right, dtype=bool)

    def scores(self, temperature: float = 1.0) -> Any:
        """Each entity's score as in serving: the geometric mean of its type's probability over its words."""
        import numpy as np

        if not self._groups:
            return np.zeros(0)
        sizes = [len(rows) for rows in self._groups]
        chances = softmax(np.asarray([row for rows in self._groups for row in rows], dtype=np.float64) / temperature)
        chances = (chances * np.repeat(np.asarray(self._columns), sizes, axis=0)).sum(axis=1)
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        return np.exp(np.add.reduceat(np.log(np.maximum(chances, _TINY)), starts) / sizes)

    def entity_loss(self, temperature: float) -> float:
        """Negative log-likelihood, in nats, of each entity being right with the probability of its score."""
        import numpy as np

        scores = np.clip(self.scores(temperature), _TINY, 1 - 1e-9)
        return float(-np.where(self.right, np.log(scores), np.log(1 - scores)).mean())

    def measure(self, temperature: float = 1.0) -> dict[str, float]:
        """All metrics of `HIGHER_IS_BETTER`."""
        import numpy as np

        chances = softmax(self._words / temperature) if len(self._words) else np.ones((1, 1))
        likelihood = chances[np.arange(len(self._answers)), self._answers] if len(self._words) else np.ones(1)
        return {
            **entity_scores(self._gold, self._found),
            "ece": calibration_error(self.scores(temperature), self.right) if len(self.right) else 0.0,
            "loss": float(-np.log(np.maximum(likelihood, _TINY)).mean()),
        }


def iob2_of_groups(groups: Sequence[Group], count: int) -> list[str]:
    """IOB2 tags of `count` words."""
    tags = ["O"] * count
    for group in groups:
        for index in range(group.first, group.last + 1):
            tags[index] = f"{'B' if index == group.first else 'I'}-{group.type}"
    return tags


def entity_scores(gold: Sequence[list[str]], found: Sequence[list[str]]) -> dict[str, float]:
    """Precision, recall and F1 of all entities together, and the accuracy of tags.

    Args:
        gold: the right IOB2 tags of each text.
        found: the answered ones, of the same lengths.
    """
    report = _report(gold, found)
    overall = report.get("micro avg", {})
    pairs = [(g, f) for one, other in zip(gold, found, strict=True) for g, f in zip(one, other, strict=True)]
    return {
        "f1": float(overall.get("f1-score", 0.0)),
        "precision": float(overall.get("precision", 0.0)),
        "recall": float(overall.get("recall", 0.0)),
        "accuracy": sum(g == f for g, f in pairs) / max(1, len(pairs)),
    }


def per_type(gold: Sequence[list[str]], found: Sequence[list[str]]) -> list[dict[str, Any]]:
    """Precision, recall, F1 and entity count of each type."""
    return [
        {
            "label": name,
            "precision": float(row["precision"]),
            "recall": float(row["recall"]),
            "f1": float(row["f1-score"]),
            "rows": int(row["support"]),
        }
        for name, row in _report(gold, found).items()
        if not name.endswith(" avg")
    ]


def _report(gold: Sequence[list[str]], found: Sequence[list[str]]) -> dict[str, Any]:
    try:
        from seqeval.metrics import classification_report
        from seqeval.scheme import IOB2
    except ImportError as error:
        raise MissingExtraError("Measuring", "train") from error
    if all(tag == "O" for tags in [*gold, *found] for tag in tags):
        return {}
    report: dict[str, Any] = classification_report(
        list(gold), list(found), mode="strict", scheme=IOB2, output_dict=True, zero_division=0
    )
    return report
