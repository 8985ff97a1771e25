"""Marked spans of a text: colours on a terminal, brackets elsewhere. Control characters never get through."""

from __future__ import annotations

import os
import re
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click

from nlptasks import WordWeight

_LINE_END = re.compile(r"\r\n|[\r\f\v]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

_HUES = (33, 34, 161, 136, 99, 37, 166, 169)
"""Numbers among a terminal's 256 colours: neither too dark for a black background nor too pale for a white one."""


@dataclass(frozen=True)
class Mark:
    """The code points `start` to `end` of a text; `tag` is printed behind them, `kind` decides the colour."""

    start: int
    end: int
    tag: str = ""
    kind: str = ""


def in_colour() -> bool:
    """Whether standard output may hold colours: on a terminal or with FORCE_COLOR, never with NO_COLOR."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def visible(text: str) -> str:
    """The text with `\\x1b` and the like spelled out, so that it cannot steer a terminal; lines and tabs stay."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], _LINE_END.sub("\n", text))


def mark(text: str, marks: Iterable[Mark], *, colour: bool) -> str:
    """The text with its marks, which are in reading order and do not overlap."""
    parts, at = [], 0
    for one in marks:
        parts += [visible(text[at : one.start]), _marked(visible(text[one.start : one.end]), one, colour)]
        at = one.end
    return "".join([*parts, visible(text[at:])])


def _marked(words: str, one: Mark, colour: bool) -> str:
    tag = visible(one.tag)
    if not colour:
        return f"[{words} {tag}]" if tag else f"[{words}]"
    hue = _hue(one.kind)
    words = click.style(words, fg=hue, bold=True)
    return f"{words} {click.style(tag, fg=hue, dim=True)}" if tag else words


WEAK = 0.15
"""Share of the strongest weight under which a word is not coloured or listed."""


def heat(text: str, words: Sequence[WordWeight], *, colour: bool) -> str:
    """The text with what speaks for an answer in green and what speaks against it in red; without colours, the
    strongest words with their weights."""
    least = WEAK * max((abs(word.weight) for word in words), default=0.0)
    strong = [word for word in words if abs(word.weight) > least]
    if not colour:
        strongest = sorted(strong, key=lambda word: -abs(word.weight))[:8]
        return ", ".join(f"{visible(' '.join(word.text.split()))} {word.weight:+.2f}" for word in strongest)
    parts, at = [], 0
    for word in strong:
        hue = 34 if word.weight > 0 else 160
        parts += [visible(text[at : word.start]), click.style(visible(text[word.start : word.end]), fg=hue, bold=True)]
        at = word.end
    return "".join([*parts, visible(text[at:])])


def _hue(kind: str) -> int:
    """The same colour for a type in every run: `hash` of a text differs between processes."""
    return _HUES[zlib.adler32(kind.encode("utf-8", "replace")) % len(_HUES)]
