"""`POST /v1/decisions`, in OpenAI's shape: predicates, choices and scores about a text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from pydantic import Field
from starlette.requests import Request

from nlptasks.serve.bodies import read_as
from nlptasks.serve.faults import Fault
from nlptasks.serve.questions import Answer, Question
from nlptasks.serve.routes.asking import Strict, answers_to, facts
from nlptasks.serve.state import state_of

PATH = "/v1/decisions"


class Part(Strict):
    """A part of a message."""

    type: Literal["input_text", "output_text"]
    text: str


class InputMessage(Strict):
    """A turn of what is to be judged."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | tuple[Part, ...]
    phase: str | None = None


class Predicate(Strict):
    """How likely a statement about the input is true."""

    type: Literal["predicate"]
    instructions: str | tuple[Part, ...]
    name: str | None = None


class Option(Strict):
    """One of the options of a choice."""

    value: str | bool
    description: str | None = None


class ChoiceQuestion(Strict):
    """Which option fits the input."""

    type: Literal["choice"]
    instructions: str | tuple[Part, ...]
    choices: tuple[Option, ...] = Field(min_length=2, max_length=255)
    name: str | None = None


class Level(Strict):
    """One of the levels of a score."""

    label: str
    description: str | None = None


class ScoreQuestion(Strict):
    """Which level the input has, from the lowest."""

    type: Literal["score"]
    instructions: str | tuple[Part, ...]
    levels: tuple[Level, ...] = Field(min_length=2, max_length=255)
    name: str | None = None


AnyQuestion = Annotated[Predicate | ChoiceQuestion | ScoreQuestion, Field(discriminator="type")]


class DecisionRequest(Strict):
    """Questions about a text."""

    model: str = Field(min_length=1, description="TASK, TASK@ADAPTER, a base, or auto.")
    input: str | tuple[InputMessage, ...]
    questions: tuple[AnyQuestion, ...] = Field(min_length=1, max_length=400)
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None


def add_routes(app: FastAPI) -> None:
    """Add the route."""
    app.post(PATH, response_model=None, tags=["decisions"], operation_id="decide")(decide)


async def decide(request: Request) -> Response:
    """Answer each question with probabilities, in order."""
    content = await read_as(DecisionRequest, request, state_of(request).settings)
    text = _text(content.input)
    if not text.strip():
        raise Fault(422, "input: expected a text with at least one visible character, found none.", param="input")
    listed = [_question(one, f"questions.{number}") for number, one in enumerate(content.questions)]
    answers, tokens = await answers_to(request, content.model, text, listed)
    usage = {
        "input_tokens": tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens,
    }
    in_order = [_answer(one, answer) for one, answer in zip(content.questions, answers, strict=True)]
    return JSONResponse({"model": content.model, "answers": in_order, "usage": usage})


def _question(one: AnyQuestion, place: str) -> Question:
    place = f"{place} ({one.name})" if one.name else place
    instructions = _text_of(one.instructions)
    if isinstance(one, Predicate):
        return Question(place, "predicate", instructions)
    if isinstance(one, ChoiceQuestion):
        options = tuple((_key(option.value), option.description) for option in one.choices)
        return Question(place, "choice", instructions, options)
    return Question(place, "score", instructions, tuple((level.label, level.description) for level in one.levels))


def _answer(one: AnyQuestion, answer: Answer) -> dict[str, Any]:
    common = {"type": one.type, "name": one.name, **facts(answer)}
    chances = answer.probabilities
    if isinstance(one, Predicate):
        return {**common, "probability": chances[0]}
    if isinstance(one, ChoiceQuestion):
        listed = [
            {"value": option.value, "probability": chance} for option, chance in zip(one.choices, chances, strict=True)
        ]
        best = one.choices[answer.best].value
        return {**common, "choice": best, "confidence": answer.confidence, "probabilities": listed}
    listed = [
        {"value": number, "label": level.label, "probability": chance}
        for number, (level, chance) in enumerate(zip(one.levels, chances, strict=True))
    ]
    return {**common, "score": answer.score, "confidence": answer.level_confidence, "probabilities": listed}


def _key(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _text(content: str | tuple[InputMessage, ...]) -> str:
    if isinstance(content, str):
        return content
    if len(content) == 1:
        return _text_of(content[0].content)
    return "\n".join(f"{message.role}: {_text_of(message.content)}" for message in content)


def _text_of(content: str | tuple[Part, ...]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)
