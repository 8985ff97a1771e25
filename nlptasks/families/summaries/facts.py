"""Numbers and names of a summary that its text does not have. Pure text, in any language with or without capitals."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

_NUMBER = re.compile(r"\d+(?:[.,:/\u00a0\u202f' ]\d{2,3}(?!\d))*(?:[.,:/]\d+)?")
_WORD = re.compile(r"[^\W\d_]+")
_OPENING = re.compile(r"(?:^|[.!?:;…\"“”«»„‘(\[–—\n])[\s\"“«„‘(\[]*$")
"""What stands before a word that has a capital wherever it is: the beginning, or a mark."""

_BEFORE = 8
"""Characters before a word in which such a mark is looked for."""

NOUNS = 0.2
"""Share of capitals among the words inside sentences from which on capitals mark nouns, as in German, and no names."""

LEAST_WORDS = 20
"""Fewer words inside sentences are too few to tell."""

LANGUAGES = ("en", "fr", "de", "es", "it", "pt", "nl")
"""Languages whose numbers in words are read. All are tried: a word of two of them ("once", "cent") counts too."""

STEM = 4
"""Letters of a name that are enough when the rest is an ending: "Canadian" for "Canada"."""


class Facts:
    """The numbers and words of a text."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _numbers(self) -> frozenset[str]:
        return frozenset(_numbers(self._text))

    @cached_property
    def _spelled(self) -> frozenset[str]:
        """The numbers that the text has in words: "ninety-one" is 91, "eleven million" 11000000, 11 and 1000000."""
        from text_to_num import alpha2digit

        texts = (self._text, " ; ".join(self._text.split()))
        return frozenset(
            number for language in LANGUAGES for text in texts for number in _numbers(alpha2digit(text, language, 0))
        )

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(word.casefold() for word in _WORD.findall(self._text))

    @cached_property
    def _initials(self) -> str:
        return "".join(word[0].casefold() for word in _WORD.findall(self._text))

    @cached_property
    def _names_are_marked(self) -> bool:
        """Whether a capital inside a sentence marks a name in this text."""
        inner = [word for word in _WORD.finditer(self._text) if not _opens(word)]
        capitals = sum(word[0][0].isupper() for word in inner)
        return len(inner) < LEAST_WORDS or capitals < NOUNS * len(inner)

    def missing(self, sentence: str) -> list[str]:
        """The numbers and names of a sentence that the text does not have, in their order."""
        numbers = [n for n in _numbers(sentence) if n not in self._numbers and n not in self._spelled]
        return numbers + ([name for name in _names(sentence) if not self._has(name)] if self._names_are_marked else [])

    def _has(self, name: str) -> bool:
        word = name.casefold()
        if word in self._words or (name.isupper() and word in self._initials):
            return True
        stem = word[: max(STEM, len(word) - 3)]
        return len(word) > STEM and any(other.startswith(stem) for other in self._words)


def _numbers(text: str) -> Iterable[str]:
    """Numbers as digits alone: 2,000 is 2000, and 9:40 is 940."""
    return (re.sub(r"\D", "", number) for number in _NUMBER.findall(text))


def _names(sentence: str) -> list[str]:
    """Words with a capital that they would not have as common nouns."""
    return [
        word[0] for word in _WORD.finditer(sentence) if word[0][0].isupper() and len(word[0]) > 1 and not _opens(word)
    ]


def _opens(word: re.Match[str]) -> bool:
    """Whether a word is the first of a sentence, a quotation or the like."""
    return bool(_OPENING.search(word.string[max(0, word.start() - _BEFORE) : word.start()]))
