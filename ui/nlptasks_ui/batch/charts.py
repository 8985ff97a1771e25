"""What the results of a batch have in common, as counts to be drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nlptasks import Result

BINS = 10
MOST = 15
"""Bars that can be read beside each other."""


@dataclass(frozen=True)
class Chart:
    """Bars: `names` and their `counts`; `axis` is what is named, `counted` what is counted."""

    title: str
    axis: str
    counted: str
    names: tuple[str, ...]
    counts: tuple[int, ...]


def charts_of(results: Sequence[Result]) -> list[Chart]:
    """The charts that fit the results: by what their fields are, not by their task."""
    found = [_labels(results), *_entities(results), _answers(results), _scores(results)]
    return [chart for chart in found if chart]


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
    return [_bars("Entities by type", "type", "entities", types), _bars("Entities", "entity", "times", names)]


def _answers(results: Sequence[Result]) -> Chart | None:
    told = [result for result in results if isinstance(getattr(result, "answerable", None), bool)]
    counts = Counter("answered" if getattr(result, "answerable", False) else "no answer" for result in told)
    return _bars("Answers", "answer", "rows", counts)


def _scores(results: Sequence[Result]) -> Chart | None:
    """How sure the model was, in bins of equal width from 0 to 1."""
    scores = [score for result in results for score in _scores_of(result)]
    if not scores:
        return None
    counts = [0] * BINS
    for score in scores:
        counts[min(BINS - 1, int(score * BINS))] += 1
    names = tuple(f"{place / BINS:.1f}" for place in range(BINS))
    return Chart("Scores", "score, from", "scores", names, tuple(counts))


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
    """The most frequent first; None where there is nothing to count."""
    if not counts:
        return None
    most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST]
    if len(counts) > MOST:
        title = f"{title}: the {MOST} most frequent"
    return Chart(title, axis, counted, tuple(name for name, _ in most), tuple(count for _, count in most))
