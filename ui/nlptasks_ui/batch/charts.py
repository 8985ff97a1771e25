"""Charts of a batch's results: counts of labels, entities and answers, and the distribution of scores."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nlptasks import Result

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


def charts_of(results: Sequence[Result]) -> list[Chart]:
    """The charts that the fields of the results allow, whatever the task."""
    charts = [_labels(results), *_entities(results), _answers(results), _scores(results)]
    return [chart for chart in charts if chart]


def _labels(results: Sequence[Result]) -> Chart | None:
    if not any(hasattr(result, "labels") for result in results):
        return None
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(getattr(result, "labels", ()) or ("no label",))
    return _bars("Labels", "label", "rows", counts)


def _entities(results: Sequence[Result]) -> list[Chart | None]:
    entities = [entity for result in results for entity in getattr(result, "entities", ())]
    if not entities:
        return []
    types = Counter(entity.label for entity in entities)
    names = Counter(f"{entity.text} ({entity.label})" for entity in entities)
    return [_bars("Entities by type", "type", "entities", types), _bars("Entities", "entity", "occurrences", names)]


def _answers(results: Sequence[Result]) -> Chart | None:
    answers = [result for result in results if isinstance(getattr(result, "answerable", None), bool)]
    counts = Counter("answered" if getattr(result, "answerable", False) else "no answer" for result in answers)
    return _bars("Answers", "answer", "rows", counts)


def _scores(results: Sequence[Result]) -> Chart | None:
    """A histogram of the scores, in bins of equal width from 0 to 1."""
    scores = [score for result in results for score in _scores_of(result)]
    if not scores:
        return None
    counts = [0] * BINS
    for score in scores:
        counts[min(BINS - 1, int(score * BINS))] += 1
    names = tuple(f"{place / BINS:.1f}" for place in range(BINS))
    return Chart("Scores", "score (lower bound)", "scores", names, tuple(counts))


def _scores_of(result: Result) -> Iterable[float]:
    """The result's own score, else those of its parts."""
    parts = [getattr(result, name) for name in type(result).model_fields if name not in ("scores", "alternatives")]
    nested = [item for part in parts if isinstance(part, tuple | list) for item in part]
    for item in (result,) if _is_score(getattr(result, "score", None)) else nested:
        score: Any = getattr(item, "score", None)
        if _is_score(score):
            yield score


def _is_score(value: Any) -> bool:
    return isinstance(value, float) and not math.isnan(value) and 0 <= value <= 1


def _bars(title: str, axis: str, counted: str, counts: Counter[str]) -> Chart | None:
    """A bar chart, the most frequent name first; None if there are no counts."""
    if not counts:
        return None
    most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_BARS]
    if len(counts) > MAX_BARS:
        title = f"{title} ({MAX_BARS} most frequent)"
    return Chart(title, axis, counted, tuple(name for name, _ in most), tuple(count for _, count in most))
