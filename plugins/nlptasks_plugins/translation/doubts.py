"""How far a sentence's translation can be trusted: its length beside the source's, and how likely its tokens were."""

from __future__ import annotations

import math

from nlptasks import Completion

DOUBTFUL = 0.4
"""Geometric mean of the tokens' probabilities below which a segment is tried again alone, and flagged. Of 750 sentences
of Tatoeba by the embedded translator, in five directions, 40 came below it: their mean chrF was 32, that of the others
61, and 7 of the 40 were above 60."""

LONGEST, SHORTEST = 3.0, 1 / 3
"""A translation with more, or fewer, than this many times the source's letters is tried again, and flagged."""

FREE_LETTERS = 10
"""Letters by which a translation may differ whatever the ratio: "Yes." is "Oui, bien sûr." in some sentences."""


def likelihood(done: Completion) -> float:
    """Geometric mean of the token probabilities; 1 where the model tells none."""
    return math.exp(sum(done.logprobs) / len(done.logprobs)) if done.logprobs else 1.0


def doubt_of(source: str, done: Completion) -> str | None:
    """Why the translation of a sentence may be wrong; None if nothing says so."""
    words = done.text.strip()
    if not words:
        return "nothing was written"
    if done.finish_reason == "length":
        return "it was cut at max_new_tokens"
    if len(words) > LONGEST * len(source) + FREE_LETTERS:
        return f"it is {len(words) / len(source):.1f} times as long as the sentence"
    if len(words) + FREE_LETTERS < SHORTEST * len(source):
        return f"it is only {len(words) / len(source):.1f} times as long as the sentence"
    score = likelihood(done)
    return f"its tokens are unlikely ({score:.2f} on average)" if score < DOUBTFUL else None


def said(source: str, done: Completion) -> str:
    """A sentence's translation; the sentence itself where the model wrote nothing, so that nothing is lost."""
    return done.text.strip() or source


def is_better(source: str, new: Completion, old: Completion) -> bool:
    """Whether a second translation of a sentence beats the first: without a doubt, else the likelier."""
    return _rank(source, new) > _rank(source, old)


def _rank(source: str, done: Completion) -> tuple[bool, float]:
    return doubt_of(source, done) is None, likelihood(done)
