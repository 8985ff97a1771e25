"""Rank the spans of a context that may answer a question: pure functions over raw logits.

The search is that of BERT's script for SQuAD (`run_squad.py`; Devlin et al. 2019, arXiv:1810.04805, section 4.3):
a span's score is its start logit plus its end logit, sought among the best starts and the best ends.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice

from nlptasks.families.spans import words
from nlptasks.model import SpanLogits

N_BEST = 20
"""How many starts, ends and spans of each window are ranked; `n_best_size` of BERT's script."""


@dataclass(frozen=True)
class Candidate:
    """A span in code points of the context, with the sum of its raw start and end logits."""

    start: int
    end: int
    score: float

    def overlaps(self, other: Candidate) -> bool:
        """Whether the two share a character."""
        return self.start < other.end and other.start < self.end


class Words:
    """Where the words of a text begin and end (`spans.words`)."""

    def __init__(self, text: str) -> None:
        spans = words(text)
        self._starts = [start for start, _ in spans]
        self._ends = [end for _, end in spans]

    def snap(self, start: int, end: int) -> tuple[int, int] | None:
        """A span widened to whole words; None if it touches no word."""
        first = bisect_right(self._ends, start)
        last = bisect_left(self._starts, end) - 1
        if start >= end or first > last:
            return None
        return self._starts[first], self._ends[last]


def find(
    logits: SpanLogits, shift: int, borders: Words, longest: int, count: int = N_BEST
) -> dict[tuple[int, int], float]:
    """The best spans of one window and their raw scores, best first, at word borders of the whole context.

    Args:
        logits: the model's answer for a window.
        shift: code point of the context at which the window begins.
        borders: words of the whole context, so that a window's border inside a word does not cut it.
        longest: tokens that a span may have.
        count: starts, ends and spans to keep.
    """
    starts, ends = logits.starts, logits.ends
    snapped = [borders.snap(start + shift, end + shift) for start, end in logits.spans]
    whole = {index: span for index, span in enumerate(snapped) if span}
    firsts = nlargest(count, whole, key=starts.__getitem__)
    lasts = nlargest(count, whole, key=ends.__getitem__)
    scored = [
        (starts[i] + ends[j], whole[i][0], whole[j][1])
        for i in firsts
        for j in lasts
        if i <= j < i + longest and whole[i][0] < whole[j][1]
    ]
    # All good ends may lie before all good starts; one word is still an answer.
    scored = scored or [(starts[i] + ends[i], *span) for i, span in whole.items()]
    best: dict[tuple[int, int], float] = {}
    for score, start, end in sorted(scored, key=lambda item: -item[0]):
        best.setdefault((start, end), score)
    return dict(islice(best.items(), count))


def merge(windows: Iterable[dict[tuple[int, int], float]]) -> list[Candidate]:
    """One list for all windows, best first; a span that several windows hold keeps its best raw score."""
    best: dict[tuple[int, int], float] = {}
    for spans in windows:
        for span, score in spans.items():
            best[span] = max(score, best.get(span, score))
    return sorted((Candidate(*span, score) for span, score in best.items()), key=lambda c: (-c.score, c.start, c.end))


def without_overlaps(order: Sequence[Candidate], count: int) -> list[int]:
    """Indices of the first `count` candidates that overlap none before them."""
    chosen: list[int] = []
    for index, candidate in enumerate(order):
        if len(chosen) == count:
            break
        if not any(candidate.overlaps(order[other]) for other in chosen):
            chosen.append(index)
    return chosen
