"""The sentences and list items of a model's text: split, cut back to whole ones, joined. Pure text."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate

from nlptasks.families.sentences import sentences, stops
from nlptasks.families.summaries.facts import Facts

_MARK = re.compile(r"\s*(?:[-*•–]\s+|\d{1,3}[.)]\s+)")
_LEAD_IN = re.compile(r"\s*(?:here(?: is|'s|’s)[^\n:]{0,80}:|\**(?:summary|tl;dr)\**\s*:\**)\s*", re.IGNORECASE)
_QUOTES = {'"': '"', "“": "”", "«": "»", "「": "」"}
_WORD = re.compile(r"\w+")
REPEATED = 0.8
"""Share of an item's words from which on it repeats one that has them: a small model that loops changes one word."""

LONGEST = 100
"""Words of a sentence; more of them are a text without full stops."""

_NO_SPACE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff。！？]")
"""Chinese and Japanese, which put no space between sentences."""


def tidy(text: str) -> str:
    """A model's text without what surrounds it: "Here is a summary:", quotes, Pegasus' `<n>` for a new line."""
    text = text.replace("<n>", "\n").strip()
    lead_in = _LEAD_IN.match(text)
    text = text[lead_in.end() :].strip() if lead_in else text
    closing = _QUOTES.get(text[:1])
    inner = text[1:-1]
    if closing and text.endswith(closing) and len(text) > 2 and closing not in inner and text[0] not in inner:
        text = inner.strip()
    return text


def split(text: str, *, finished: bool = True) -> list[str]:
    """The sentences and list items of a text, each in one line. Of an unfinished text only the whole ones."""
    items: list[str] = []
    for line in text.splitlines():
        mark = _MARK.match(line)
        item = line[mark.end() :] if mark else line
        spans = [(0, len(item))] if mark else sentences(item)
        items += [" ".join(item[start:end].split()) for start, end in spans]
    items = [item for item in items if re.search(r"\w", item)]
    if items and not finished:
        last = items.pop()
        ends = [stop.end() for stop in stops(f"{last} ")]
        items += [last[: ends[-1]]] if ends else []
    return items


def distinct(items: list[str]) -> list[str]:
    """The items without those that repeat an earlier one: nearly all of their words, all their numbers and names."""
    first: dict[str, set[str]] = {}
    for item in items:
        words = set(_WORD.findall(item.casefold()))
        repeats = (
            len(words & earlier) >= REPEATED * len(words) and not Facts(other).missing(item)
            for other, earlier in first.items()
        )
        if not any(repeats):
            first[item] = words
    return list(first)


def within(items: list[str], words: int) -> list[str]:
    """The first items, up to a number of words; of a longer first one, its first words and an ellipsis."""
    totals = list(accumulate(len(item.split()) for item in items))
    if totals and totals[0] > max(words, LONGEST):
        return [" ".join(items[0].split()[:words]) + " …"]
    return items[: max(1, bisect_right(totals, words))]


def paragraph(items: list[str]) -> str:
    """The items as one paragraph; one that ends without a mark gets a full stop."""
    text = ""
    for item in items:
        close = ("。" if _NO_SPACE.search(item[-1]) else ".") if item[-1].isalnum() or item[-1] in ")]" else ""
        gap = "" if not text or (_NO_SPACE.search(text[-1]) and _NO_SPACE.search(item[0])) else " "
        text += gap + item + close
    return text


def bulleted(items: list[str]) -> str:
    """The items as a list, one a line."""
    return "\n".join(f"- {item}" for item in items)
