"""The sentence around a span of a text, in one line."""

from __future__ import annotations

import re

_REACH = 160
"""Most characters on each side of the span."""

# Quotes and brackets after a full stop belong to the sentence; Chinese and Japanese put no space behind it.
_STOP = re.compile(r"""[.!?…؟۔।]["'”’»)\]]*(?=\s)|[。！？]["”’」』）]*|\n\s*\n""")
_SHORT = frozenset({"mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "fig", "approx"})


def sentence(text: str, start: int, end: int) -> tuple[str, int, int]:
    """The sentence that holds `text[start:end]`, as one line, and where the span stands in it.

    A span over several sentences brings all of them. A sentence that goes on for long is cut, with an ellipsis.
    In doubt (an abbreviation, "on 3. May") the sentence is taken to go on: too much is better than too little.
    """
    near, beyond = max(0, start - 2 * _REACH), min(len(text), end + 2 * _REACH)
    first = max((stop.end() for stop in _STOP.finditer(text, near, start) if _ends(text, stop)), default=near)
    # From its last character on: an answer may end with the sentence's own full stop.
    stops = (stop for stop in _STOP.finditer(text, max(start, end - 1), beyond) if _ends(text, stop))
    last = next((max(stop.end(), end) for stop in stops), beyond)
    before = _shorten(text[first:start], from_end=True, cut=first == near > 0)
    words = _line(text[start:end])
    after = _shorten(text[end:last], from_end=False, cut=last == beyond < len(text))
    return before + words + after, len(before), len(before) + len(words)


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


def _shorten(part: str, *, from_end: bool, cut: bool) -> str:
    line = _line(part)
    if not cut and len(line) <= _REACH:
        return line.lstrip() if from_end else line.rstrip()
    if from_end:
        return "…" + line[-_REACH:].partition(" ")[2]
    return line[:_REACH].rpartition(" ")[0] + "…"


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
