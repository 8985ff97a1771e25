"""Turns as messages of the chat component."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from nlptasks import Result, TaskInput
from nlptasks_ui import html, views
from nlptasks_ui.chat.answers import Step
from nlptasks_ui.chat.commands import CHAT
from nlptasks_ui.chat.conversation import Turn
from nlptasks_ui.context import Context
from nlptasks_ui.views.generated import draft

Shown = list[dict[str, Any]]


def turns(context: Context, told: Sequence[Turn]) -> Shown:
    """Two messages a turn: the words, and the answer."""
    return [message for turn in told for message in _pair(turn, _answer(context, turn))]


def step(context: Context, at: Step) -> Shown:
    """The turn that is being answered, or was."""
    turn = at.turn
    if turn.done:
        return turns(context, [turn])
    # A chat writes Markdown, which is shown as it comes; what other tasks write becomes a result at the end.
    writing = turn.answer if _is_chat(context, turn) else _html(draft(turn.answer))
    return _pair(turn, [writing if turn.answer else _html(html.status(at.status))])


def _pair(turn: Turn, answer: list[Any]) -> Shown:
    files = html.badges(document.name for document in turn.documents)
    said = [turn.said] if turn.said else []
    # The buttons stand below the last answer only: the component shows no others.
    others = [{"value": name, "label": "Just chat" if name == CHAT else f"As {name}"} for name in turn.others]
    return [
        {"role": "user", "content": [*said, *([_html(files)] if files else [])] or ["…"]},
        {"role": "assistant", "content": answer, "options": others if turn.done else []},
    ]


def _answer(context: Context, turn: Turn) -> list[Any]:
    if turn.error:
        return [_html(html.alert(turn.error))]
    if not turn.done:
        return [_html(html.element("p", "Not answered.", class_="nlp-note"))]
    notes = "".join(html.element("p", html.text(note), class_="nlp-note") for note in turn.notes)
    found = _result(context, turn)
    if found:
        result, inputs = found
        return [_html(notes + views.show(result, inputs, context.views) + views.facts(result, turn.seconds))]
    return [*([turn.answer] if turn.answer else []), *([_html(notes)] if notes else [])] or ["…"]


def _result(context: Context, turn: Turn) -> tuple[Result, TaskInput] | None:
    """A turn's typed result and input; None where there is none, or where its task is gone or has changed since."""
    task = context.engine.plugins.tasks.get(turn.task)
    if turn.result is None or task is None:
        return None
    try:
        return task.result_type.model_validate(turn.result), task.input_type.model_validate(turn.inputs)
    except ValidationError:
        return None


def _is_chat(context: Context, turn: Turn) -> bool:
    task = context.engine.plugins.tasks.get(turn.task)
    return task is None or "messages" in task.input_type.model_fields


def _html(content: str) -> Any:
    import gradio as gr

    return gr.HTML(content)
