"""A text with marked spans. An entity type has the same colour everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from nlptasks_ui.html import element, text

_HUES = {"PER": 212, "PERSON": 212, "ORG": 28, "LOC": 145, "GPE": 145, "MISC": 280, "DATE": 330, "TIME": 350}
"""Hues of common types, far apart; any other type's hue is a hash of its name."""


@dataclass(frozen=True)
class Span:
    """A range of code points, the tag to write after it, and the style of its mark."""

    start: int
    end: int
    tag: str = ""
    hue: int | None = None
    scroll: bool = False
    faint: bool = False


def hue(label: str) -> int:
    """The hue of a type, in degrees."""
    return _HUES.get(label.upper(), int.from_bytes(hashlib.sha256(label.encode()).digest()[:2], "big") % 360)


def marked(source: str, spans: Iterable[Span]) -> str:
    """The text with its spans as marks; a span that overlaps an earlier one is omitted."""
    parts, at = [], 0
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if span.start < at:
            continue
        parts += [text(source[at : span.start]), _mark(source[span.start : span.end], span)]
        at = span.end
    return "".join(parts) + text(source[at:])


def source_of(inputs: Any, spans: Sequence[Any]) -> str | None:
    """The text of an input that all spans refer to; each has `start`, `end` and `text`. None if no text fits."""
    fields = dict(inputs) if isinstance(inputs, BaseModel) else inputs if isinstance(inputs, dict) else {"": inputs}
    for value in reversed(list(fields.values())):
        if isinstance(value, str) and all(value[span.start : span.end] == span.text for span in spans):
            return value
    return None


def _mark(words: str, span: Span) -> str:
    tag = element("span", text(span.tag), class_="nlp-tag") if span.tag else ""
    return element(
        "mark",
        text(words),
        tag,
        class_="nlp-span nlp-faint" if span.faint else "nlp-span",
        style=None if span.hue is None else f"--hue:{span.hue}",
        data_scroll=span.scroll,
    )
