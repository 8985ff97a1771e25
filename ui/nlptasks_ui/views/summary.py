"""A summary beside its source: what each part of the text became."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nlptasks import Summary
from nlptasks.surfaces import as_sentence
from nlptasks_ui.html import box, element, text


def view(result: Summary, inputs: Any) -> str:
    """The summary, and beside it the text; of several chunks each lights up with its part."""
    source = getattr(inputs, "text", None)
    note = element("p", text(as_sentence(result.note)), class_="nlp-note") if result.note else ""
    parts = _parts(result) if len(result.chunks) > 1 else ""
    left = box("pane", element("h4", "Summary"), box("text", text(result.summary)), note, parts)
    if source is None:
        return left
    shares = f"{len(result.summary.split())} of {len(source.split())} words"
    chunks = _chunks(source, ((chunk.start, chunk.end) for chunk in result.chunks))
    right = box("pane", element("h4", "Source"), box("text nlp-scroll", chunks, tabindex="0"))
    return box("columns", left, right) + element("p", shares, class_="nlp-note")


def _parts(result: Summary) -> str:
    """The summary of each chunk, paired with it."""
    entries = [
        element("li", text(chunk.summary), data_pair=f"chunk-{number}", tabindex="0")
        for number, chunk in enumerate(result.chunks, 1)
    ]
    title = element("summary", f"{len(entries)} parts, read one by one")
    return element("details", title, element("ol", *entries, class_="nlp-list"), open=True)


def _chunks(source: str, ranges: Iterable[tuple[int, int]]) -> str:
    """The source, each chunk in an element of its own; one chunk alone needs none."""
    found = list(ranges)
    if len(found) < 2:
        return text(source)
    shown, at = [], 0
    for number, (start, end) in enumerate(found, 1):
        mark = element("span", str(number), class_="nlp-number", aria_hidden="true")
        shown += [text(source[at:start]), element("span", mark, text(source[start:end]), data_pair=f"chunk-{number}")]
        at = end
    return "".join(shown) + text(source[at:])
