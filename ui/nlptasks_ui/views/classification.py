"""Labels as bars, best first."""

from __future__ import annotations

from typing import Any

from nlptasks import Classification
from nlptasks_ui.html import bar, box, element, text
from nlptasks_ui.views import heat

MAX_BARS = 10
"""The most labels that are visible at once; a click shows the others."""


def view(result: Classification, inputs: Any) -> str:
    """The chosen labels as a headline, with a bar for the score of every label below it."""
    headline = ", ".join(result.labels) or result.label or "undecided"
    hint = "" if result.labels or result.note else element("p", "No label reaches the threshold.", class_="nlp-note")
    bars = [_bar(one.label, one.score, one.label in result.labels) for one in result.scores]
    more = element("details", element("summary", f"{len(bars) - MAX_BARS} more"), *bars[MAX_BARS:])
    chart = box("bars", *bars[:MAX_BARS], more if len(bars) > MAX_BARS else "")
    return box("headline", text(headline)) + hint + chart + heat.view(result.explanations, inputs)


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
