"""`POST /v1/systemone`: questions by name about a state of text or JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from pydantic import Field
from starlette.requests import Request

from nlptasks.serve.bodies import read_as
from nlptasks.serve.faults import Fault
from nlptasks.serve.questions import Answer, Question, as_text
from nlptasks.serve.routes.asking import Strict, answers_to, facts
from nlptasks.serve.state import state_of

PATH = "/v1/systemone"

Content = str | dict[str, Any] | list[Any]


class Choice(Strict):
    """Which option fits; `criteria` maps each to its description, or to null."""

    type: Literal["choice"]
    instructions: Content | None = None
    criteria: dict[str, Content | None] = Field(min_length=1, max_length=255)


class Score(Strict):
    """Which level fits; `criteria` describes the levels from the lowest."""

    type: Literal["score"]
    instructions: Content | None = None
    criteria: list[Content] = Field(min_length=2, max_length=10)


class Noul(Strict):
    """How likely something is true."""

    type: Literal["noul"]
    instructions: Content | None = None
    criteria: dict[Literal["true", "false"], Content | None] | None = None


AnyQuestion = Annotated[Choice | Score | Noul, Field(discriminator="type")]


class SystemOneRequest(Strict):
    """Questions about a state."""

    model: str = Field(min_length=1, description="TASK, TASK@ADAPTER, a base, or auto.")
    state: Content
    questions: dict[str, AnyQuestion] = Field(min_length=1, max_length=64)


def add_routes(app: FastAPI) -> None:
    """Add the route."""
    app.post(PATH, response_model=None, tags=["decisions"], operation_id="systemone")(answer)


async def answer(request: Request) -> Response:
    """Answer each question with probabilities."""
    content = await read_as(SystemOneRequest, request, state_of(request).settings)
    text = as_text(content.state)
    if not text.strip():
        raise Fault(422, "state: expected something to read, found nothing.", param="state")
    listed = [_question(name, one) for name, one in content.questions.items()]
    if missing := [one.place for one in listed if one.kind == "predicate" and not (one.instructions or one.options)]:
        raise Fault(422, f"{', '.join(missing)}: expected instructions or criteria, found none.")
    answers, tokens = await answers_to(request, content.model, text, listed)
    by_name = {
        name: {**_answer(one, result), **facts(result)}
        for (name, one), result in zip(content.questions.items(), answers, strict=True)
    }
    usage = {"input_tokens": tokens, "output_tokens": 0}
    return JSONResponse({"model": content.model, "answers": by_name, "usage": usage})


def _question(name: str, one: AnyQuestion) -> Question:
    place, instructions = f"questions.{name}", as_text(one.instructions) if one.instructions else ""
    if isinstance(one, Choice):
        options = tuple((key, as_text(text) if text else None) for key, text in one.criteria.items())
        return Question(place, "choice", instructions, options)
    if isinstance(one, Score):
        return Question(place, "score", instructions, tuple((as_text(level), None) for level in one.criteria))
    criteria = one.criteria or {}
    if not any(criteria.values()):
        return Question(place, "predicate", instructions)
    described = tuple((key, as_text(criteria[key]) if criteria.get(key) else None) for key in ("true", "false"))
    return Question(place, "predicate", instructions, described)


def _answer(one: AnyQuestion, result: Answer) -> dict[str, Any]:
    chances = result.probabilities
    if isinstance(one, Noul):
        return {"type": "noul", "noul": chances[0]}
    if isinstance(one, Choice):
        names = list(one.criteria)
        by_name = dict(zip(names, chances, strict=True))
        return {
            "type": "choice",
            "choice": names[result.best],
            "confidence": result.confidence,
            "probabilities": by_name,
        }
    return {
        "type": "score",
        "score": result.score,
        "legend": {str(number): as_text(level) for number, level in enumerate(one.criteria)},
        "confidence": result.level_confidence,
        "probabilities": {str(number): chance for number, chance in enumerate(chances)},
    }
