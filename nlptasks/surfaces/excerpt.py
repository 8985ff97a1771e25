"""The sentence around a span of a text, in one line."""

from __future__ import annotations

import re

from nlptasks import sentences

_REACH = 160
"""Most characters on each side of the span."""


def excerpt(text: str, start: int, end: int) -> tuple[str, int, int]:
    """The sentence that holds `text[start:end]`, as one line, and where the span stands in it.

    A span over several sentences brings all of them. A sentence that goes on for long is cut, with an ellipsis.
    """
    near, beyond = max(0, start - 2 * _REACH), min(len(text), end + 2 * _REACH)
    spans = [(near + first, near + last) for first, last in sentences(text[near:beyond])]
    around = [span for span in spans if span[0] < end and span[1] > start] or [(start, end)]
    first, last = min(around[0][0], start), max(around[-1][1], end)
    before = _shorten(text[first:start], from_end=True, cut=around[0] in spans[:1] and near > 0)
    words = _line(text[start:end])
    after = _shorten(text[end:last], from_end=False, cut=around[-1] in spans[-1:] and beyond < len(text))
    return before + words + after, len(before), len(before) + len(words)


def _shorten(part: str, *, from_end: bool, cut: bool) -> str:
    line = _line(part)
    if not cut and len(line) <= _REACH:
        return line.lstrip() if from_end else line.rstrip()
    if from_end:
        return "…" + line[-_REACH:].partition(" ")[2]
    return line[:_REACH].rpartition(" ")[0] + "…"


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
