"""A text whose words are coloured by how much they speak for an answer, with the answer to choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nlptasks import Explanation
from nlptasks_ui.html import box, element, text

_FOR, _AGAINST = 145, 8
"""Hues: green speaks for the answer, red against it."""

_WEAK = 0.08
"""Share of the strongest weight under which a word has no colour."""


def view(explanations: Sequence[Explanation], inputs: Any) -> str:
    """Each answer as a line that opens to the coloured text of the input's fields; the first one is open."""
    if not explanations:
        return ""
    sources = {"text": inputs} if isinstance(inputs, str) else dict(inputs)
    parts = [
        element(
            "details",
            element("summary", text(_title(one, sources))),
            box("text", _coloured(one, sources)),
            open=number == 0,
        )
        for number, one in enumerate(explanations)
    ]
    return element("p", "Why: green words speak for it, red ones against it", class_="nlp-small-title") + "".join(parts)


def _title(one: Explanation, sources: Mapping[str, str]) -> str:
    if one.start is None:
        return one.target
    return f"{sources.get('text', '')[one.start : one.end]} ({one.target})"


def _coloured(one: Explanation, sources: Mapping[str, str]) -> str:
    strongest = max((abs(word.weight) for word in one.words), default=0.0) or 1.0
    fields = []
    for name in dict.fromkeys(word.field for word in one.words):
        source, parts, at = sources.get(name, ""), [], 0
        for word in one.words:
            if word.field == name and source[word.start : word.end] == word.text:
                parts += [text(source[at : word.start]), _word(word.text, word.weight, strongest)]
                at = word.end
        fields.append(element("p", *parts, text(source[at:])))
    return "".join(fields)


def _word(words: str, weight: float, strongest: float) -> str:
    share = abs(weight) / strongest
    if share < _WEAK:
        return text(words)
    style = f"--hue:{_FOR if weight > 0 else _AGAINST};--share:{share:.2f}"
    return element("mark", text(words), class_="nlp-heat", style=style, title=f"{weight:+.2f}")
