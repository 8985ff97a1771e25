"""Where sentences end, in any language that ends them with a mark. Pure text; offsets are code points."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

# Quotes and brackets after a full stop belong to the sentence; Chinese and Japanese put no space behind it.
_STOP = re.compile(r"""[.!?…؟۔।]["'”’»)\]]*(?=\s)|[。！？]["”’」』）]*|\n\s*\n""")
_SHORT = frozenset(
    {
        *("mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "fig", "approx"),
        *("bzw", "ca", "nr", "str", "usw", "vgl"),
        *("mme", "mlle", "env", "sra", "ud", "uds"),
    }
)
"""Abbreviations whose full stop ends no sentence, in English, German, French and Spanish."""


def stops(text: str, start: int = 0, end: int | None = None) -> Iterator[re.Match[str]]:
    """The marks in `text[start:end]` that end a sentence, and the blank lines between paragraphs.

    In doubt (an abbreviation, "on 3. May") the sentence goes on: too long is better than too short.
    """
    return (stop for stop in _STOP.finditer(text, start, len(text) if end is None else end) if _ends(text, stop))


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence without the white space around it; together they hold every other character."""
    return trimmed(text, [0, *(stop.end() for stop in stops(text)), len(text)])


def trimmed(text: str, borders: Sequence[int]) -> list[tuple[int, int]]:
    """The ranges between borders, each without the white space around it; blank ranges are left out."""
    ranges = []
    for start, end in pairwise(borders):
        part = text[start:end]
        if part.strip():
            ranges.append((end - len(part.lstrip()), start + len(part.rstrip())))
    return ranges


def _ends(text: str, stop: re.Match[str]) -> bool:
    """Whether a sentence ends at a stop."""
    if stop[0][0] == "\n":
        return True
    if text[stop.end() : stop.end() + 20].lstrip()[:1].islower():
        return False
    if stop[0] != ".":
        return True
    word = re.split(r"[\s.(]", text[max(0, stop.start() - 20) : stop.start()])[-1]
    initial = len(word) == 1 and word.isalpha()
    ordinal = word.isdecimal() and len(word) <= 2
    return not (initial or ordinal or word.lower() in _SHORT)
