"""What was found in a user's data, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nlptasks import DataError
from nlptasks.training.check import DataCheck, Layout
from nlptasks_ui import html

FAULTS = 10
"""Faults that are shown at once; the others stand behind a summary."""

LABELS = 30
"""The most labels whose share is drawn."""

_CLIP = 160
_HERE = {
    "--columns text=NAME": "“Column of the text”",
    "--columns label=NAME": "“Column of the label”",
    "--labels": "“Label names”",
    "--allow-misaligned": "“Move spans”",
}
"""What the options that the library names are called on the page."""


def told(found: DataCheck, held_out: float) -> str:
    """Rows, what each label has, how long texts are, and all that the user should look at."""
    held = max(1, round(found.rows * held_out))
    size = f"{found.rows:,} rows: about {found.rows - held:,} to learn from, {held:,} held out to measure."
    lengths = ", ".join(f"{name} {round(count):,}" for name, count in found.characters.items())
    parts = [
        html.element("p", html.text(size)),
        *(html.box("warn", html.text(_sentence(warning)), role="status") for warning in found.warnings),
        balance(found.counts),
        html.element("p", html.text(f"Characters in a text: {lengths}."), class_="nlp-note"),
        *(html.element("p", html.text(_sentence(note)), class_="nlp-note") for note in found.notes),
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
    """Why the data cannot be trained on: every bad row with its line."""
    lines = [html.element("li", html.text(on_page(problem))) for problem in error.problems]
    if not lines:
        return html.alert(on_page(" ".join(str(error).split())))
    parts = [html.alert("This data cannot be trained on:"), html.element("ul", *lines[:FAULTS], class_="nlp-list")]
    if len(lines) > FAULTS:
        more = html.element("summary", f"{len(lines) - FAULTS:,} more")
        parts.append(html.element("details", more, html.element("ul", *lines[FAULTS:], class_="nlp-list")))
    return html.box("result", *parts)


def preview(layout: Layout) -> dict[str, Any]:
    """The first rows, long texts shortened."""
    return {"headers": list(layout.columns), "data": [_clipped(row) for row in layout.preview]}


def on_page(words: str) -> str:
    """Advice for a terminal as advice for the page."""
    for option, place in _HERE.items():
        words = words.replace(option, place)
    return words


def _clipped(row: Sequence[str]) -> list[str]:
    return [cell if len(cell) <= _CLIP else f"{cell[:_CLIP]}…" for cell in row]


def _sentence(words: str) -> str:
    words = words[:1].upper() + words[1:]
    return words if words.endswith((".", "?", "!")) else f"{words}."
