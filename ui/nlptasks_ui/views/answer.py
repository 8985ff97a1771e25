"""An answer and its place in the context."""

from __future__ import annotations

from typing import Any

from nlptasks import Answer, AnswerSpan
from nlptasks_ui.html import box, element, text
from nlptasks_ui.views import heat
from nlptasks_ui.views.spans import Span, marked, source_of


def view(result: Answer, inputs: Any) -> str:
    """The answer as a headline, the context scrolled to it, and other candidates if the result has any."""
    headline = text(result.text) if result.answerable else "No answer in the text"
    score = element("span", _percent(result), class_="nlp-score", title="Probability of this answer")
    others = [one for one in result.alternatives if not result.answerable or one.start != result.start]
    context = source_of(inputs, [result, *others] if result.answerable else others)
    # A mark on what has 0 % would contradict the headline.
    spans = [Span(one.start, one.end, faint=True) for one in others if _percent(one) != "0 %"]
    if result.answerable:
        # A candidate that overlaps the answer must not be marked in its place.
        spans = [span for span in spans if span.end <= result.start or span.start >= result.end]
        spans.insert(0, Span(result.start, result.end, scroll=True))
    body = box("text nlp-scroll", marked(context, spans), tabindex="0") if context is not None else ""
    return box("headline", headline, " ", score) + body + _others(others) + heat.view(result.explanations, inputs)


def _percent(one: Answer | AnswerSpan) -> str:
    return f"{100 * one.score:.0f} %"


def _others(others: list[Any]) -> str:
    if not others:
        return ""
    entries = [element("li", text(one.text), " ", element("span", _percent(one))) for one in others]
    return element("p", "Other candidates", class_="nlp-small-title") + element("ol", *entries, class_="nlp-list")
