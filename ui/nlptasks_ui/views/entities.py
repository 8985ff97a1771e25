"""A text with its entities marked, and a legend of their types."""

from __future__ import annotations

from collections import Counter
from typing import Any

from nlptasks import Entities
from nlptasks_ui.html import box, element, text
from nlptasks_ui.views import heat
from nlptasks_ui.views.spans import Span, hue, marked, source_of


def view(result: Entities, inputs: Any) -> str:
    """The legend with counts, the marked text, and a table of all entities with their scores."""
    source = source_of(inputs, result.entities)
    spans = [Span(e.start, e.end, e.label, hue(e.label)) for e in result.entities]
    body = box("text", marked(source, spans)) if source is not None else ""
    if not result.entities:
        return body + element("p", "No entities found.", class_="nlp-note")
    why = heat.view(result.explanations, inputs)
    return legend(Counter(e.label for e in result.entities)) + body + _table(result) + why


def legend(counts: Counter[str]) -> str:
    """Each entity type in its colour, with its number of entities."""
    entries = [
        element("li", element("span", class_="nlp-swatch", style=f"--hue:{hue(label)}"), text(f"{label} {count}"))
        for label, count in counts.most_common()
    ]
    return element("ul", *entries, class_="nlp-legend", aria_label="Entity types")


def _table(result: Entities) -> str:
    rows = [
        element("tr", *(element("td", text(cell)) for cell in (e.text, e.label, f"{e.score:.2f}")))
        for e in result.entities
    ]
    head = element("tr", *(element("th", cell, scope="col") for cell in ("Entity", "Type", "Score")))
    count = "1 entity" if len(rows) == 1 else f"{len(rows)} entities"
    return element("details", element("summary", count), element("table", head, *rows, class_="nlp-table"))
