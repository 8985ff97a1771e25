"""The check of a user's data, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nlptasks import DataError
from nlptasks.surfaces import as_sentence
from nlptasks.training import DataCheck, Layout
from nlptasks_ui import html

FAULTS = 10
"""The most faults that are visible at once; a click shows the others."""

LABELS = 30
"""The most labels that have a bar."""

_CLIP = 160
_LABELS = {
    "--columns text=NAME": "“Text column”",
    "--columns label=NAME": "“Label column”",
    "--labels": "“Label names”",
    "--allow-misaligned": "“Move spans”",
}
"""The labels on the page of the command-line options that error messages name."""


def summary(data: DataCheck, held_out: float) -> str:
    """The number of rows, warnings, the number of rows of each label, and the lengths of texts."""
    held = max(1, round(data.rows * held_out))
    size = f"{data.rows:,} rows: about {data.rows - held:,} for training, {held:,} held out for evaluation."
    lengths = ", ".join(f"{name} {round(count):,}" for name, count in data.characters.items())
    parts = [
        html.element("p", html.text(size)),
        *(html.box("warn", html.text(as_sentence(warning)), role="status") for warning in data.warnings),
        balance(data.counts),
        html.element("p", html.text(f"Characters per text: {lengths}."), class_="nlp-note"),
        *(html.element("p", html.text(as_sentence(note)), class_="nlp-note") for note in data.notes),
    ]
    return html.box("result", *parts)


def balance(counts: dict[str, int]) -> str:
    """A bar for each label, the largest first."""
    if not counts:
        return ""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    most = max(1, ordered[0][1])
    bars = [html.bar(label, count / most, f"{count:,}") for label, count in ordered[:LABELS]]
    more = f"and {len(ordered) - LABELS:,} more labels" if len(ordered) > LABELS else ""
    return html.box("bars", *bars) + (html.element("p", more, class_="nlp-note") if more else "")


def faults(error: DataError) -> str:
    """Why the data cannot be used for training: every faulty row with its line."""
    lines = [html.element("li", html.text(on_page(problem))) for problem in error.problems]
    if not lines:
        return html.alert(on_page(" ".join(str(error).split())))
    parts = [
        html.alert("This data cannot be used for training:"),
        html.element("ul", *lines[:FAULTS], class_="nlp-list"),
    ]
    if len(lines) > FAULTS:
        more = html.element("summary", f"{len(lines) - FAULTS:,} more")
        parts.append(html.element("details", more, html.element("ul", *lines[FAULTS:], class_="nlp-list")))
    return html.box("result", *parts)


def preview(layout: Layout) -> dict[str, Any]:
    """The first rows, with long texts shortened."""
    return {"headers": list(layout.columns), "data": [_clipped(row) for row in layout.preview]}


def on_page(words: str) -> str:
    """A message that names command-line options, with the labels of the page instead."""
    for option, label in _LABELS.items():
        words = words.replace(option, label)
    return words


def _clipped(row: Sequence[str]) -> list[str]:
    return [cell if len(cell) <= _CLIP else f"{cell[:_CLIP]}…" for cell in row]
