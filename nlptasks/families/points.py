"""The sentences and list items that a model wrote: read, cut back to whole ones, laid out. Pure text."""

from __future__ import annotations

import re

from nlptasks.families.sentences import sentences, stops

_MARK = re.compile(r"\s*(?:[-*•–]\s+|\d{1,3}[.)]\s+)")
_LEAD_IN = re.compile(r"\s*(?:here(?: is|'s|’s)[^\n:]{0,80}:|\**(?:summary|tl;dr)\**\s*:\**)\s*", re.IGNORECASE)
_QUOTES = {'"': '"', "“": "”", "«": "»", "「": "」"}
_NO_SPACE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff。！？]")
"""Chinese and Japanese, which put no space between sentences."""


def tidy(text: str) -> str:
    """What a model wrote without what it put around it: "Here is a summary:", quotes, Pegasus' `<n>` for a new line."""
    text = text.replace("<n>", "\n").strip()
    lead_in = _LEAD_IN.match(text)
    text = text[lead_in.end() :].strip() if lead_in else text
    closing = _QUOTES.get(text[:1])
    inner = text[1:-1]
    if closing and text.endswith(closing) and len(text) > 2 and closing not in inner and text[0] not in inner:
        text = inner.strip()
    return text


def points(text: str, *, finished: bool = True) -> list[str]:
    """The sentences and list items of a text, each in one line. Of an unfinished text only the whole ones."""
    found: list[str] = []
    for line in text.splitlines():
        mark = _MARK.match(line)
        item = line[mark.end() :] if mark else line
        spans = [(0, len(item))] if mark else sentences(item)
        found += [" ".join(item[start:end].split()) for start, end in spans]
    found = [point for point in found if re.search(r"\w", point)]
    if found and not finished:
        last = found.pop()
        ends = [stop.end() for stop in stops(f"{last} ")]
        found += [last[: ends[-1]]] if ends else []
    return found


def within(found: list[str], words: int) -> list[str]:
    """The first points, up to a number of words; one at least."""
    kept: list[str] = []
    for point in found:
        words -= len(point.split())
        if kept and words < 0:
            break
        kept.append(point)
    return kept


def paragraph(found: list[str]) -> str:
    """Points as one paragraph; one that ends without a mark gets a full stop."""
    text = ""
    for point in found:
        close = ("。" if _NO_SPACE.search(point[-1]) else ".") if point[-1].isalnum() or point[-1] in ")]" else ""
        gap = "" if not text or (_NO_SPACE.search(text[-1]) and _NO_SPACE.search(point[0])) else " "
        text += gap + point + close
    return text


def bullets(found: list[str]) -> str:
    """Points as a list, one a line."""
    return "\n".join(f"- {point}" for point in found)
