"""Why: how much each word of an input speaks for an answer.

A word's weight is the log-odds of the answer with the word less its log-odds without it (leave-one-out, Li et al.
2016, arXiv:1612.08220). That needs an answer for every word and no gradient, so that all backends explain alike:
torch, compiled graphs and other servers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from nlptasks.families import windows
from nlptasks.families.spans import Span, words
from nlptasks.model import Model
from nlptasks.results import Answer, Classification, Entities, Entity, Explanation, Result, WordWeight

MAX_PARTS = 96
"""Parts that a text of one window is left out in, at most: more words are left out several at a time."""

MAX_LABELS = 20
"""Labels that are explained, the most probable ones."""

GAP = "…"
"""Stands for a word of a text whose spans are sought, which must keep their places."""

LEAST = 1e-6
"""The bounds of a probability whose log-odds are taken: LEAST and 1 - LEAST."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a text that is read at once: its `span`, its parts, and its share in the answer."""

    span: Span
    parts: tuple[Span, ...]
    share: float = 1.0

    def variants(self, text: str, gap: str = "") -> list[str]:
        """The piece as it is, then without each of its parts."""
        start, end = self.span
        return [text[start:end], *(text[start:first] + gap + text[last:end] for first, last in self.parts)]


EXPLAIN: Any = Field(
    default=False, description="Say how much each word speaks for the answer; takes about a reading for each word."
)


def read_pieces(texts: Sequence[str], results: Sequence[Result], model: Model) -> list[list[Piece]]:
    """The pieces that each text was read in, as its result says; without what was cut."""
    room = model.info.max_tokens - windows.MARGIN
    long = {i: text for i, (text, one) in enumerate(zip(texts, results, strict=True)) if _is_long(one)}
    spans = windows.measure(model, long)
    read = []
    for i, (text, result) in enumerate(zip(texts, results, strict=True)):
        ranges = windows.cut(spans.get(i, ()), len(text), room)
        read.append(pieces(text, ranges[:1] if result.truncated else ranges))
    return read


def _is_long(result: Result) -> bool:
    return result.windows > 1 or result.truncated


def pieces(text: str, ranges: Sequence[Span]) -> list[Piece]:
    """The pieces of a text with these ranges of code points."""
    places = words(text)
    counted = [[word for word in places if start <= word[0] < end] for start, end in ranges]
    total = sum(map(len, counted)) or 1
    return [
        Piece(span, tuple(_grouped(group)), len(group) / total) for span, group in zip(ranges, counted, strict=True)
    ]


def _grouped(places: Sequence[Span]) -> list[Span]:
    size = -(-len(places) // MAX_PARTS) or 1
    groups = [places[i : i + size] for i in range(0, len(places), size)]
    return [(group[0][0], group[-1][1]) for group in groups]


def log_odds(chance: float) -> float:
    """The natural logarithm of the odds, in nats."""
    chance = min(max(chance, LEAST), 1 - LEAST)
    return math.log(chance / (1 - chance))


def of_labels(text: str, places: Sequence[Piece], groups: Sequence[Sequence[Classification]]) -> list[Explanation]:
    """How the words speak for each label, from the answers to the variants of each piece.

    What a window adds to the answer is its share of the words.
    """
    weights: dict[str, list[WordWeight]] = {one.label: [] for one in groups[0][0].scores[:MAX_LABELS]}
    for piece, (whole, *others) in zip(places, groups, strict=True):
        before = _chances(whole)
        for span, other in zip(piece.parts, others, strict=True):
            after = _chances(other)
            for label, listed in weights.items():
                weight = piece.share * (log_odds(before[label]) - log_odds(after[label]))
                listed.append(_weight(text, span, weight))
    return [Explanation(target=label, words=tuple(listed)) for label, listed in weights.items()]


def _chances(result: Classification) -> dict[str, float]:
    return {one.label: one.score for one in result.scores}


def of_spans(
    text: str, piece: Piece, targets: Sequence[Entity], variants: Sequence[Entities]
) -> dict[tuple[int, int, str], Explanation]:
    """How the words of a piece speak for each entity in it; an entity that is no longer there has the chance 0."""
    explanations = {}
    whole, *others = variants
    for target in targets:
        before = _chance(target, whole.entities, lambda place: place - piece.span[0])
        listed = []
        for part, other in zip(piece.parts, others, strict=True):
            after = _chance(target, other.entities, _moved(piece.span[0], part))
            listed.append(_weight(text, part, log_odds(before) - log_odds(after)))
        explanations[target.start, target.end, target.label] = Explanation(
            target=target.label, start=target.start, end=target.end, words=tuple(listed)
        )
    return explanations


def _moved(start: int, part: Span) -> Callable[[int], int]:
    """Where a code point of a text is in the piece from `start` on, once GAP stands for a part of it."""

    def move(place: int) -> int:
        if place <= part[0]:
            return place - start
        if place >= part[1]:
            return place - start - (part[1] - part[0]) + len(GAP)
        return part[0] - start + len(GAP)

    return move


def _chance(target: Entity, entities: Sequence[Entity], move: Callable[[int], int]) -> float:
    """The score of the entity at the target's place with its label, or 0."""
    start, end = move(target.start), move(target.end)
    scores = [e.score for e in entities if e.label == target.label and e.start < end and e.end > start]
    return max(scores, default=0.0)


REACH = 600
"""Code points on each side of an answer whose words are left out."""


def around(text: str, span: Span) -> Span:
    """The span and REACH on each side of it, between words; all of a text that is not much longer."""
    if len(text) <= 3 * REACH:
        return 0, len(text)
    inside = [word for word in words(text) if word[0] >= span[0] - REACH and word[1] <= span[1] + REACH]
    return (inside[0][0], inside[-1][1]) if inside else (0, len(text))


def chance_of(answer: Answer, other: Answer, start: int, removed: Span | None) -> float:
    """The probability of an answer among those in a piece of its context, from `start` on, without a part of it."""
    if not answer.answerable:
        return other.score if not other.answerable else 1 - other.score
    move = _moved(start, removed) if removed else lambda place: place - start
    first, last = move(answer.start), move(answer.end)
    if other.answerable and other.start < last and other.end > first:
        return other.score
    return max((one.score for one in other.alternatives if one.start < last and one.end > first), default=0.0)


def of_answer(
    texts: dict[str, str], parts: Sequence[tuple[str, Span]], chances: Sequence[float], target: str
) -> Explanation:
    """How the words of a question and of a context speak for an answer.

    `parts` are fields with spans; `chances` has the answer's probability as it is, then without each part.
    """
    before, *others = map(log_odds, chances)
    listed = [
        _weight(texts[field], span, before - after, field) for (field, span), after in zip(parts, others, strict=True)
    ]
    return Explanation(target=target, words=tuple(listed))


def _weight(text: str, span: Span, weight: float, field: str = "text") -> WordWeight:
    return WordWeight(text=text[slice(*span)], start=span[0], end=span[1], weight=weight, field=field)
