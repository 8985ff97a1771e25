"""How far a sentence's translation can be trusted: what it kept of the sentence, and how likely its tokens were."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from nlptasks import Completion
from nlptasks_plugins.translation.spans import IN_PARTS, differences, reading

DOUBTFUL = 0.5
"""Geometric mean of the tokens' probabilities below which a segment is flagged: docs/guide.md has the curve."""

UNFINISHED = 0.4
"""The same below which a segment is tried again with a wider search, which takes longer."""

LONGEST, SHORTEST = 3.0, 1 / 3
"""A translation with more, or fewer, than this many times the source's letters is tried again, and flagged."""

UNLIKELY = "its tokens are unlikely"
"""How the doubt begins that only the probabilities raise."""

FREE_LETTERS = 10
"""Letters by which a translation may differ whatever the ratio: "Yes." is "Oui, bien sûr." in some sentences."""

_REPEATED = re.compile(r"\b(\w+(?:\W+\w+){0,4})(?:\W+\1\b){2,}", re.IGNORECASE)


def likelihood(completion: Completion) -> float:
    """Geometric mean of the token probabilities; 1 where the model reports none."""
    return math.exp(sum(completion.logprobs) / len(completion.logprobs)) if completion.logprobs else 1.0


def doubt_of(source: str, completion: Completion, *, western: bool = True) -> str | None:
    """Why the translation of a sentence may be wrong; None if there is no reason to doubt it."""
    return fault_of(source, completion, western=western) or unlikely(completion)


def is_unfinished(source: str, completion: Completion, *, western: bool = True) -> bool:
    """Whether a wider search may find a better translation."""
    return likelihood(completion) < UNFINISHED or fault_of(source, completion, western=western) is not None


def unlikely(completion: Completion) -> str | None:
    """What the probabilities of the tokens say against a translation, or None."""
    score = likelihood(completion)
    return f"{UNLIKELY} ({score:.2f} on average)" if score < DOUBTFUL else None


def fault_of(source: str, completion: Completion, *, western: bool = True) -> str | None:
    """What the sentence and its translation alone say against it, or None."""
    words = completion.text.strip()
    if not words:
        return "nothing was written"
    if completion.finish_reason == "length":
        return "it was cut at max_new_tokens"
    if len(words) > LONGEST * len(source) + FREE_LETTERS:
        return f"it is {len(words) / len(source):.1f} times as long as the sentence"
    if len(words) + FREE_LETTERS < SHORTEST * len(source):
        return f"it is only {len(words) / len(source):.1f} times as long as the sentence"
    if "\ufffd" in words:
        return "it holds a character that was not read or written whole (U+FFFD)"
    if (repeated := _REPEATED.search(words)) and not _REPEATED.search(source):
        return f"it repeats {repeated[1]!r}"
    if words == source.strip() and reading(source, IN_PARTS, western=western).texts:
        return "it equals its source"
    return differences(source, words, western=western)


def is_copy(source: str, translation: str) -> bool:
    """Whether a translation has the words of its source, whatever their case and what stands between them."""
    one, other = (re.findall(r"\w+", text.casefold()) for text in (source, translation))
    return one == other


def is_near_copy(source: str, translation: str) -> bool:
    """Whether the translation of a short text has most of its letters; names and numbers make many so."""
    return (
        len(source) < 100
        and SequenceMatcher(None, source.casefold(), translation.casefold(), autojunk=False).ratio() > 0.6
    )


def merged(text: str, completions: Sequence[Completion]) -> Completion:
    """Parts of a sentence, or the steps to its translation, as one completion with this text."""
    return Completion(
        text,
        "length" if any(part.finish_reason == "length" for part in completions) else "stop",
        sum(part.num_prompt_tokens for part in completions),
        sum(part.num_generated_tokens for part in completions),
        tuple(logprob for part in completions for logprob in part.logprobs),
        any(part.truncated for part in completions),
    )


def is_better(source: str, new: Completion, old: Completion, *, western: bool = True) -> bool:
    """Whether a second translation of a sentence beats the first: without a fault or doubt, else the likelier."""
    return _rank(source, new, western) > _rank(source, old, western)


def _rank(source: str, completion: Completion, western: bool) -> tuple[bool, bool, float]:
    fault = fault_of(source, completion, western=western)
    return fault is None, fault is None and unlikely(completion) is None, likelihood(completion)
