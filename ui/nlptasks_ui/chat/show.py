"""Turns as messages of Gradio's Chatbot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from nlptasks import Result, TaskInput
from nlptasks_ui import html, views
from nlptasks_ui.amounts import count
from nlptasks_ui.chat.answers import Step
from nlptasks_ui.chat.commands import CHAT
from nlptasks_ui.chat.conversation import ChatTurn
from nlptasks_ui.context import Context
from nlptasks_ui.views import cleaning
from nlptasks_ui.views.generated import draft

Messages = list[dict[str, Any]]


def turns(context: Context, conversation: Sequence[ChatTurn]) -> Messages:
    """Two messages per turn: the user's and the answer."""
    return [message for turn in conversation for message in _pair(turn, _answer(context, turn))]


def step(context: Context, current: Step) -> Messages:
    """The messages of the turn that is being answered, or has just been."""
    turn = current.turn
    if turn.finished:
        return turns(context, [turn])
    if not turn.answer:
        return _pair(turn, _html(_earlier(turn) + html.status(current.status)))
    # The chat's Markdown is rendered while it is written; other tasks show a draft until their result is there.
    writing = _markdown(turn.answer) if _is_chat(context, turn) else draft(turn.answer)
    return _pair(turn, _html(_earlier(turn) + writing))


def _pair(turn: ChatTurn, answer: Any) -> Messages:
    files = html.badges(document.name for document in turn.documents)
    # Gradio shows a message as HTML even without Markdown; `script.js` restores the text where it is edited.
    message = [html.text(turn.message)] if turn.message else []
    # Gradio shows the options of the last answer only.
    others = [{"value": name, "label": "Just chat" if name == CHAT else f"Run {name}"} for name in turn.others]
    return [
        {"role": "user", "content": [*message, *([_html(files)] if files else [])] or ["…"]},
        {"role": "assistant", "content": [answer], "options": others if turn.finished else []},
    ]


def _answer(context: Context, turn: ChatTurn) -> Any:
    """The answer of a turn that is finished, or never will be, with those of earlier tries."""
    notes = "".join(html.element("p", html.text(note), class_="nlp-note") for note in turn.notes)
    typed = _result(context, turn)
    if turn.error:
        answer = html.alert(turn.error)
    elif not turn.finished:
        answer = html.element("p", "Not answered.", class_="nlp-note")
    elif typed:
        result, inputs = typed
        answer = notes + views.show(result, inputs, context.views, turn.task) + views.facts(result, turn.seconds)
    else:
        answer = (_markdown(turn.answer) if turn.answer else "") + notes
    return _html(_earlier(turn) + (answer or "…"))


def _earlier(turn: ChatTurn) -> str:
    """The answers of earlier tries, folded."""
    title = html.element("summary", html.text(count(len(turn.earlier), "earlier answer")))
    answers = (html.box("markdown prose", cleaning.markdown(answer)) for answer in turn.earlier)
    return html.element("details", title, *answers, class_="nlp-earlier") if turn.earlier else ""


def _result(context: Context, turn: ChatTurn) -> tuple[Result, TaskInput] | None:
    """A turn's typed result and input; None if it has none, or if its task was removed or has changed since."""
    task = context.engine.plugins.tasks.get(turn.task)
    if turn.result is None or task is None:
        return None
    try:
        return task.result_type.model_validate(turn.result), task.input_type.model_validate(turn.inputs)
    except ValidationError:
        return None


def _is_chat(context: Context, turn: ChatTurn) -> bool:
    task = context.engine.plugins.tasks.get(turn.task)
    return task is None or "messages" in task.input_type.model_fields


def _markdown(answer: str) -> str:
    """An answer; its button copies the Markdown."""
    copy = html.element("button", "Copy", type="button", class_="nlp-copy", data_copy=answer)
    return html.box("markdown prose", cleaning.markdown(answer)) + copy


def _html(content: str) -> Any:
    import gradio as gr

    return gr.HTML(content)
