"""Where sentences end, in any language that ends them with a mark. Pure text; offsets are code points."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Quotes and brackets after a full stop belong to the sentence; Chinese and Japanese put no space behind it.
_STOP = re.compile(r"""[.!?…؟۔।]["'”’»)\]]*(?=\s)|[。！？]["”’」』）]*|\n\s*\n""")
_SHORT = frozenset(
    {
        *("mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "fig", "approx"),
        *("bzw", "ca", "nr", "str", "usw", "vgl"),
        *("mme", "mlle", "env", "sra", "ud", "uds"),
    }
)
"""Words whose full stop is theirs alone, in English, German, French and Spanish."""


def stops(text: str, start: int = 0, end: int | None = None) -> Iterator[re.Match[str]]:
    """The marks in `text[start:end]` that end a sentence, and the blank lines between paragraphs.

    In doubt (an abbreviation, "on 3. May") the sentence is taken to go on: too much is better than too little.
    """
    return (stop for stop in _STOP.finditer(text, start, len(text) if end is None else end) if _ends(text, stop))


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence without the white space around it; together they hold every other character."""
    ends = [stop.end() for stop in stops(text)]
    found = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        words = text[start:end]
        if words.strip():
            found.append((start + len(words) - len(words.lstrip()), end - len(words) + len(words.rstrip())))
    return found


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
