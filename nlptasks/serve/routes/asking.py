"""What the routes of typed questions share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from nlptasks import CancelToken
from nlptasks.serve import questions
from nlptasks.serve.guard import facts_of
from nlptasks.serve.questions import Answer, Question
from nlptasks.serve.state import state_of

AUTO = "auto"
"""The model that answers any question: the task whose labels the caller names, on its own base."""


class Strict(BaseModel):
    """A part of a request; a field that is not served is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


async def answers_to(request: Request, name: str, text: str, listed: Sequence[Question]) -> tuple[list[Answer], int]:
    """The answers of the model of a name to questions about a text, and the tokens that were read.

    Raises:
        Fault: 422 naming every question that cannot be answered; as `Computing.run`.
        UnknownNameError: there is no such model.
    """
    state = state_of(request)
    choice = state.names.choice(name)
    if choice and choice.task.open_labels and not choice.adapter:
        # The task itself, whose labels are those of the question.
        choice, name = None, AUTO
    model = None if choice or name == AUTO else state.names.model(name)
    facts_of(request.state, task=choice.task.name if choice else AUTO, inputs=len(listed))

    def compute(cancel: CancelToken) -> list[Answer]:
        questions.check(state.engine, listed, choice)
        return questions.ask(state.engine, text, listed, choice, model, cancel)

    answers = await state.computing.run(request, compute)
    return answers, sum({id(one.result): one.result.num_tokens for one in answers}.values())


def facts(answer: Answer) -> dict[str, Any]:
    """Who answered, and how much of the text was read."""
    result = answer.result
    return {
        "model": result.model,
        "adapter": result.adapter,
        "truncated": result.truncated,
        "windows": result.windows,
    }
