"""The pieces of a text to translate; everything between them stays unchanged."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from nlptasks import sentences
from nlptasks_plugins.translation.spans import has_letter

_LINE = re.compile(r"[^\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
MARKS = re.compile(
    r"""(?:[^\S\n]*(?:
        [-*+•◦▪‣–—]            # an item of a list
        | \d{1,3}[.)]          # a numbered item
        | [A-Za-z][.)]         # a lettered one
        | \#{1,6}              # a heading
        | >+                   # a quotation
        | \[[ xX]\]            # a box to tick
    )(?=\s))*[^\S\n]*""",
    re.VERBOSE,
)
_PICTURES = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\ufe0f\u200d\u20e3\U000e0020-\U000e007f]+")
"""Emoji and dingbats, with what joins and varies them: most translation models write nothing for them."""


def segments(text: str) -> list[tuple[int, int]]:
    """(start, end) code points of each piece to translate: a sentence of a line, without marks, emoji and spaces.

    Pieces without a letter (numbers, rules, blank lines) are left out. In order, without overlap.
    """
    pieces = []
    for line in _LINE.finditer(text):
        marks = MARKS.match(line[0])
        first = marks.end() if marks else 0
        for start, end in _between(line[0], first):
            part = line[0][start:end]
            pieces += [(line.start() + start + a, line.start() + start + b) for a, b in sentences(part)]
    return [(start, end) for start, end in pieces if has_letter(text[start:end])]


def joined(text: str, places: Sequence[tuple[int, int]], replace: Callable[[int], str]) -> tuple[str, list[int]]:
    """The text with piece number i replaced by `replace(i)`, and where each replacement starts in it."""
    parts: list[str] = []
    starts = []
    length, last = 0, 0
    for number, (start, end) in enumerate(places):
        new = replace(number)
        parts += [text[last:start], new]
        starts.append(length + start - last)
        length += start - last + len(new)
        last = end
    return "".join([*parts, text[last:]]), starts


def _between(line: str, first: int) -> list[tuple[int, int]]:
    """The parts of a line, from `first` on, between its emoji."""
    pictures = [match.span() for match in _PICTURES.finditer(line, first)]
    starts = [first, *(end for _, end in pictures)]
    ends = [*(start for start, _ in pictures), len(line)]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]
