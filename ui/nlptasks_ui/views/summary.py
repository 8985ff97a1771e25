"""A summary beside its source, with the summary of each chunk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nlptasks import Summary
from nlptasks_ui.amounts import count
from nlptasks_ui.html import box, element, text


def view(result: Summary, inputs: Any) -> str:
    """The summary beside the text; where there are several chunks, each is highlighted with its summary."""
    source = getattr(inputs, "text", None)
    parts = _parts(result) if len(result.chunks) > 1 else ""
    left = box("pane", element("h4", "Summary"), box("text", text(result.summary)), parts)
    if source is None:
        return left
    lengths = f"Summary: {count(len(result.summary.split()), 'word')}. Source: {count(len(source.split()), 'word')}."
    chunks = _chunks(source, ((chunk.start, chunk.end) for chunk in result.chunks))
    right = box("pane", element("h4", "Source"), box("text nlp-scroll", chunks, tabindex="0"))
    return box("columns", left, right) + element("p", lengths, class_="nlp-note")


def _parts(result: Summary) -> str:
    """The summaries of the chunks, each paired with its chunk."""
    entries = [
        element("li", text(chunk.summary), data_pair=f"chunk-{number}", tabindex="0")
        for number, chunk in enumerate(result.chunks, 1)
    ]
    title = element("summary", f"{len(entries)} chunks, summarized one by one")
    return element("details", title, element("ol", *entries, class_="nlp-list"), open=True)


def _chunks(source: str, ranges: Iterable[tuple[int, int]]) -> str:
    """The source, with each chunk in an element of its own if there are several."""
    chunks = list(ranges)
    if len(chunks) < 2:
        return text(source)
    parts, at = [], 0
    for number, (start, end) in enumerate(chunks, 1):
        mark = element("span", str(number), class_="nlp-number", aria_hidden="true")
        parts += [text(source[at:start]), element("span", mark, text(source[start:end]), data_pair=f"chunk-{number}")]
        at = end
    return "".join(parts) + text(source[at:])
