"""Labels as bars, best first."""

from __future__ import annotations

from typing import Any

from nlptasks import Classification
from nlptasks_ui.html import bar, box, element, text

SHOWN = 10
"""Labels that are seen at once; the others open by a click."""


def view(result: Classification, _: Any) -> str:
    """The answer in large, every label with its share below."""
    said = ", ".join(result.labels) or result.label or "undecided"
    hint = "" if result.labels else element("p", "No label reaches the threshold.", class_="nlp-note")
    bars = [_bar(one.label, one.score, one.label in result.labels) for one in result.scores]
    more = element("details", element("summary", f"{len(bars) - SHOWN} more"), *bars[SHOWN:])
    return box("headline", text(said)) + hint + box("bars", *bars[:SHOWN], more if len(bars) > SHOWN else "")


def _bar(label: str, score: float, chosen: bool) -> str:
    share = f"{100 * score:.1f} %"
    return bar(
        label,
        score,
        share,
        chosen=chosen,
        role="meter",
        aria_label=label,
        aria_valuemin="0",
        aria_valuemax="1",
        aria_valuenow=f"{score:.3f}",
        aria_valuetext=share,
    )
