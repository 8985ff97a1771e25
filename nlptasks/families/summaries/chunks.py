"""Cut a long text into chunks at paragraphs, turns of a dialogue and sentences. Offsets are code points."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate

from nlptasks.families.sentences import stops, trimmed

SENTENCE, LINE, PARAGRAPH = 0, 1, 2
"""Grades of a place to cut: after a sentence, before a turn or a list item, between paragraphs."""

_LINE = re.compile(
    r"""\n(?=[^\S\n]*(?:
        [-*•–]\s                   # an item of a list
        | \d{1,3}[.)]\s            # a numbered item
        | [^\s:][^:\n]{0,40}:\s    # a turn: who speaks, and what
    ))""",
    re.VERBOSE,
)


def borders(text: str) -> dict[int, int]:
    """Where a text may be cut, with the grade of each place; its end is not among them."""
    grades = {}
    for stop in stops(text):
        blank = stop[0][0] == "\n"
        grades[stop.start() if blank else stop.end()] = PARAGRAPH if blank else SENTENCE
    for line in _LINE.finditer(text):
        grades[line.start()] = max(LINE, grades.get(line.start(), SENTENCE))
    return dict(sorted(grades.items()))


def units(text: str) -> list[tuple[int, int]]:
    """(start, end) of every sentence, turn and item of a list, without the white space around it."""
    return trimmed(text, [0, *borders(text), len(text)])


def chunk(text: str, spans: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """(start, end) of chunks of at most `size` tokens and of about equal length, without white space around them.

    They come in order, do not overlap, and hold every other character. `spans` are the (start, end) of the text's
    tokens. A sentence longer than a chunk is cut between words, a word longer than a chunk between characters.
    """
    starts = list(accumulate((start for start, _ in spans), max))
    grades: dict[int, int] = {}
    for place, grade in borders(text).items():
        index = bisect_left(starts, place)
        grades[index] = max(grade, grades.get(index, grade))
    cuts, first = [0], 0
    while len(spans) - first > size:
        first = _at_border(grades, first, len(spans), size) or _between_words(text, spans, starts, first, size)
        if first == len(spans):
            break
        cuts.append(starts[first])
    return trimmed(text, [*cuts, len(text)])


def lead(text: str, most: int) -> str:
    """The first sentences of a text, `most` characters at most; of a longer sentence its first words."""
    start, end = 0, 0
    for first, last in units(text):
        start = start if end else first
        if last - start > most:
            break
        end = last
    if end or not text.strip():
        return text[start:end]
    words = text[start : start + most]
    whole = words.rsplit(None, 1)[0] if text[start + most : start + most + 1].strip() else words
    return whole.rstrip() or words


def _at_border(grades: Mapping[int, int], first: int, count: int, size: int) -> int | None:
    """The token before which a chunk that begins with token `first` should end, if a border is well placed.

    That is near an equal share of what is left; a better border may be an eighth of a chunk farther away.
    """
    left = count - first
    share = -(-left // -(-left // size))
    fitting = [index for index in range(first + max(1, size // 2), min(first + size, count - 1) + 1) if index in grades]
    return max(fitting, key=lambda index: grades[index] * size / 8 - abs(index - first - share), default=None)


def _between_words(text: str, spans: Sequence[tuple[int, int]], starts: Sequence[int], first: int, size: int) -> int:
    """The last token up to `size` behind `first` that begins a word, else one that begins a character."""
    indices = [index for index in range(first + size, first, -1) if starts[index] > starts[index - 1]]
    for index in indices:
        place = starts[index]
        if text[place - 1].isspace() or text[place : place + 1].isspace():
            return index
    for index in indices:
        if starts[index] >= spans[index - 1][1]:
            return index
    # All of these tokens belong to one character.
    return next((index for index in range(first + size, len(spans)) if starts[index] > starts[first]), len(spans))
