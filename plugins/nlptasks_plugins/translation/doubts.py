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


def likelihood(completion: Completion) -> float:
    """Geometric mean of the token probabilities; 1 where the model reports none."""
    return math.exp(sum(completion.logprobs) / len(completion.logprobs)) if completion.logprobs else 1.0


def doubt_of(source: str, completion: Completion) -> str | None:
    """Why the translation of a sentence may be wrong; None if there is no reason to doubt it."""
    words = completion.text.strip()
    if not words:
        return "nothing was written"
    if completion.finish_reason == "length":
        return "it was cut at max_new_tokens"
    if len(words) > LONGEST * len(source) + FREE_LETTERS:
        return f"it is {len(words) / len(source):.1f} times as long as the sentence"
    if len(words) + FREE_LETTERS < SHORTEST * len(source):
        return f"it is only {len(words) / len(source):.1f} times as long as the sentence"
    score = likelihood(completion)
    return f"its tokens are unlikely ({score:.2f} on average)" if score < DOUBTFUL else None


def translated(source: str, completion: Completion) -> str:
    """A sentence's translation; the sentence itself where the model wrote nothing, so that nothing is lost."""
    return completion.text.strip() or source


def is_better(source: str, new: Completion, old: Completion) -> bool:
    """Whether a second translation of a sentence beats the first: without a doubt, else the likelier."""
    return _rank(source, new) > _rank(source, old)


def _rank(source: str, completion: Completion) -> tuple[bool, float]:
    return doubt_of(source, completion) is None, likelihood(completion)
