"""Results as HTML, one module per kind of result: pages, chat and comparisons show them alike.

A view takes a result and its input. A view that a plugin registered for a type comes before the built-in one; a type
without a view is shown field by field.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from nlptasks import Answer, Classification, Entities, GeneratedText, Result, Summary
from nlptasks.surfaces import as_sentence
from nlptasks_ui import html
from nlptasks_ui.context import View
from nlptasks_ui.views import answer, classification, cleaning, entities, generated, record, summary

BUILT_IN: Mapping[type[Result], View] = {
    Classification: classification.view,
    Entities: entities.view,
    Answer: answer.view,
    Summary: summary.view,
    GeneratedText: generated.view,
    Result: record.view,
}

_log = logging.getLogger(__name__)


def show(result: Result, inputs: Any, views: Mapping[type[Result] | str, View] | None = None, task: str = "") -> str:
    """A result as HTML, by the view of its task or of its nearest base class; `views` are those of plugins."""
    kinds: tuple[Any, ...] = (task, *type(result).__mro__)
    for kind in kinds:
        registered = (views or {}).get(kind)
        if registered:
            try:
                return html.box("result", cleaning.view(registered(result, inputs)), _note(result))
            except Exception:
                _log.exception("the view of %s failed", kind)
        if kind in BUILT_IN:
            return html.box("result", BUILT_IN[kind](result, inputs), _note(result))
    return html.box("result", record.view(result, inputs), _note(result))


def _note(result: Result) -> str:
    return html.element("p", html.text(as_sentence(result.note)), class_="nlp-note") if result.note else ""


def facts(result: Result, seconds: float | None = None) -> str:
    """The badges of a result: model and adapter, size of the input, duration."""
    return html.badges(
        [
            f"model {_short(result.model)}" if result.model else "",
            f"adapter {_short(result.adapter)}" if result.adapter else "no adapter",
            f"{result.windows} windows" if result.windows > 1 else "",
            "cut by characters" if result.windowed_by == "characters" else "",
            "part of the input was cut" if result.truncated else "",
            f"{result.num_tokens:,} tokens" if result.num_tokens else "",
            "" if seconds is None else f"{seconds:.2f} s",
        ]
    )


def _short(name: str) -> str:
    """A name, or the end of a long path."""
    return name if len(name) <= 40 else f"…{name[-39:]}"
