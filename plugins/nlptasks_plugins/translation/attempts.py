"""Sentences are tried in several ways until what must stay has stayed and nothing makes the translation doubtful."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nlptasks import Completion
from nlptasks_plugins.translation.doubts import doubt_of, fault_of, is_better, is_unfinished, merged
from nlptasks_plugins.translation.spans import FOREIGN, IN_PARTS, differences, reading

Write = Callable[[Sequence["Sentence"]], list[Completion]]
"""Lets the model write a translation of each sentence."""


@dataclass(frozen=True)
class Sentence:
    """A sentence, its language (None if not known) and the one to write; `western` if both are."""

    text: str
    source: str | None
    target: str
    western: bool


@dataclass(frozen=True)
class Attempt:
    """A sentence's translation, and what makes it doubtful."""

    completion: Completion
    doubt: str | None


def settle(sentences: Sequence[Sentence], write: Write, search: Write) -> list[Attempt]:
    """A translation of each sentence; a doubtful one is tried again with `search`, which looks further than `write`."""
    best: list[Completion | None] = [None] * len(sentences)
    numbers = [0] * len(sentences)

    def attempt(places: Sequence[int], writer: Write, number: int | None = None) -> None:
        """Translate the sentences at these places, as before if `number` is None, and keep what is better."""
        tried = [numbers[place] if number is None else number for place in places]
        for place, way, new in zip(
            places, tried, _attempts([sentences[p] for p in places], tried, writer), strict=True
        ):
            old, sentence = best[place], sentences[place]
            if new and (old is None or is_better(sentence.text, new, old, western=sentence.western)):
                best[place], numbers[place] = new, way

    todo = list(range(len(sentences)))
    for number in range(IN_PARTS + 1):
        attempt(todo, write, number)
        todo = [place for place in todo if _is_altered(sentences[place], best[place])]
    attempt([p for p, new in enumerate(best) if new and _is_unfinished(sentences[p], new, numbers[p])], search)
    return [
        Attempt(new, _doubt(sentence, new, number))
        for sentence, new, number in zip(sentences, best, numbers, strict=True)
        if new
    ]


def chained(source: Sentence, first: Attempt, second: Attempt) -> Attempt:
    """A translation of a translation as that of the first one's sentence."""
    whole = merged(second.completion.text, [first.completion, second.completion])
    return Attempt(whole, first.doubt or second.doubt or fault_of(source.text, whole, western=source.western))


def _is_altered(sentence: Sentence, written: Completion | None) -> bool:
    return written is None or differences(sentence.text, written.text, western=sentence.western) is not None


def _is_unfinished(sentence: Sentence, written: Completion, number: int) -> bool:
    texts = reading(sentence.text, number, western=sentence.western).texts
    return bool(texts) and is_unfinished(sentence.text, written, western=sentence.western)


def _doubt(sentence: Sentence, written: Completion, number: int) -> str | None:
    texts = reading(sentence.text, number, western=sentence.western).texts
    if not texts:
        return "it is in another script and was kept" if sentence.western and FOREIGN.search(sentence.text) else None
    parts = "its words were translated in parts, around what must stay" if len(texts) > 1 else None
    return doubt_of(sentence.text, written, western=sentence.western) or parts


def _attempts(sentences: Sequence[Sentence], numbers: Sequence[int], write: Write) -> list[Completion | None]:
    """The translations at these attempts; None where something that must stay did not come back."""
    readings = [reading(s.text, number, western=s.western) for s, number in zip(sentences, numbers, strict=True)]
    parts = [replace(s, text=text) for s, read in zip(sentences, readings, strict=True) for text in read.texts]
    written = iter(_whole(parts, write))
    completions: list[Completion | None] = []
    for read in readings:
        texts = [next(written) for _ in read.texts]
        whole = read.joined([part.text for part in texts])
        if whole is None:
            completions.append(None)
        elif len(texts) != 1:
            completions.append(merged(whole, texts))
        else:
            others = ((read.joined([other.text]), other) for other in texts[0].alternatives)
            alternatives = tuple(replace(other, text=text) for text, other in others if text is not None)
            empty = not texts[0].text.strip()
            completions.append(replace(texts[0], text="" if empty else whole, alternatives=alternatives))
    return completions


def _whole(sentences: Sequence[Sentence], write: Write) -> list[Completion]:
    """Translations of whole sentences: what is longer than the model reads is translated in halves."""
    if not sentences:
        return []
    written = write(sentences)
    long = [i for i, new in enumerate(written) if new.truncated and len(sentences[i].text) > 1]
    halves = iter(_whole([half for i in long for half in _halves(sentences[i])], write))
    for i in long:
        two = [next(halves), next(halves)]
        written[i] = merged(" ".join(half.text.strip() for half in two), two)
    return written


def _halves(sentence: Sentence) -> tuple[Sentence, Sentence]:
    """A sentence cut at the space nearest to its middle, or in the middle of a word without one."""
    text = sentence.text
    spaces = [match.start() for match in re.finditer(r"(?<=\S)\s+(?=\S)", text)]
    middle = min(spaces, key=lambda at: abs(2 * at - len(text)), default=len(text) // 2)
    return replace(sentence, text=text[:middle].strip()), replace(sentence, text=text[middle:].strip())
