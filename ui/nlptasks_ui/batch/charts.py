"""Charts of a batch's results: counts of labels, entities and answers, and the distribution of scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

BINS = 10
MAX_BARS = 15
"""The most bars that are legible side by side."""


@dataclass(frozen=True)
class Chart:
    """A bar chart: `names` with their `counts`. `axis` titles the names, `counted` the counts."""

    title: str
    axis: str
    counted: str
    names: tuple[str, ...]
    counts: tuple[int, ...]


class Tally:
    """Counts what the charts show, answer by answer, whatever the task. An answer is a result's fields as JSON."""

    def __init__(self) -> None:
        self._labels, self._types, self._names, self._answerable = (Counter[str]() for _ in range(4))
        self._scores = [0] * BINS

    def add(self, answer: Mapping[str, Any]) -> None:
        """Count an answer."""
        if isinstance(answer.get("labels"), list):
            self._labels.update(answer["labels"] or ("no label",))
        spans = answer.get("entities")
        entities = [item for item in spans if {"label", "text"} <= item.keys()] if isinstance(spans, list) else []
        self._types.update(entity["label"] for entity in entities)
        self._names.update(f"{entity['text']} ({entity['label']})" for entity in entities)
        if isinstance(answer.get("answerable"), bool):
            self._answerable["answered" if answer["answerable"] else "no answer"] += 1
        for score in _scores_of(answer):
            self._scores[min(BINS - 1, int(score * BINS))] += 1

    def charts(self) -> list[Chart]:
        """The charts that the answers allow."""
        charts = [
            _bars("Labels", "label", "rows", self._labels),
            _bars("Entities by type", "type", "entities", self._types),
            _bars("Entities", "entity", "occurrences", self._names),
            _bars("Answers", "answer", "rows", self._answerable),
        ]
        if any(self._scores):
            names = tuple(f"{place / BINS:.1f}" for place in range(BINS))
            charts.append(Chart("Scores", "score (lower bound)", "scores", names, tuple(self._scores)))
        return [chart for chart in charts if chart]


def is_score(value: Any) -> bool:
    """Whether a value is a score from 0 to 1."""
    return isinstance(value, float | int) and not isinstance(value, bool) and 0 <= value <= 1


def _scores_of(answer: Mapping[str, Any]) -> Iterator[float]:
    """The answer's own score, else those of its parts."""
    if is_score(answer.get("score")):
        yield answer["score"]
        return
    parts = [value for name, value in answer.items() if name not in ("scores", "alternatives")]
    for item in (item for part in parts if isinstance(part, list) for item in part):
        if isinstance(item, dict) and is_score(item.get("score")):
            yield item["score"]


def _bars(title: str, axis: str, counted: str, counts: Counter[str]) -> Chart | None:
    """A bar chart, the most frequent name first; None if there are no counts."""
    if not counts:
        return None
    most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_BARS]
    if len(counts) > MAX_BARS:
        title = f"{title} ({MAX_BARS} most frequent)"
    return Chart(title, axis, counted, tuple(name for name, _ in most), tuple(count for _, count in most))
