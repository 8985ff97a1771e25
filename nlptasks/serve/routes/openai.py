"""OpenAI's routes: `/v1/chat/completions`, `/v1/embeddings`, `/v1/models`."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from nlptasks import CancelToken, GeneratedText, UnsupportedModelError
from nlptasks.serve.bodies import read_as
from nlptasks.serve.faults import Fault, answer_of
from nlptasks.serve.guard import facts_of
from nlptasks.serve.routes.asking import AUTO
from nlptasks.serve.routes.tasks import EVENTS, event
from nlptasks.serve.state import State, check_length, state_of
from nlptasks.surfaces import (
    ChatRequest,
    EmbeddingRequest,
    chat_body,
    chat_logprobs,
    chat_task,
    chat_usage,
    embedding_body,
    truncation,
)

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"


MAX_CHOICES = 8
"""Answers to one request; they are written side by side."""


class StreamOptions(BaseModel):
    """What a stream has beside the text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    include_usage: bool = False


class ServedChat(ChatRequest):
    """The body of a chat over HTTP, which may have several answers, or one piece by piece."""

    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES)  # type: ignore[assignment]
    stream: bool | None = None  # type: ignore[assignment]
    stream_options: StreamOptions | None = None


BODIES: dict[str, type[BaseModel]] = {CHAT: ServedChat, EMBEDDINGS: EmbeddingRequest}


def add_routes(app: FastAPI) -> None:
    """Add the routes."""
    app.post(CHAT, response_model=None, responses={200: EVENTS}, tags=["openai"], operation_id="chat")(chat)
    app.post(EMBEDDINGS, response_model=None, tags=["openai"], operation_id="embeddings")(embeddings)
    app.get("/v1/models", tags=["openai"], operation_id="models")(models)


async def chat(request: Request) -> Response:
    """Answer a conversation, whole or piece by piece."""
    state = state_of(request)
    content = await read_as(ServedChat, request, state.settings)
    name = chat_task(state.engine)
    arguments = {**_chosen(state, content.model, name), **content.options, "messages": content.turns}
    check_length(state, content.options)
    count = content.n or 1
    facts_of(request.state, task=name, inputs=1)
    if content.stream:
        if count > 1:
            raise Fault(422, f"n: expected 1 in a stream, found {count}.", param="n")
        state.computing.admit()
        cancel = CancelToken()
        stream = state.engine.stream(name, cancel=cancel, **arguments)
        pieces = state.computing.pieces(stream, cancel)
        return StreamingResponse(_chunks(state, content, name, pieces), media_type="text/event-stream")

    def write(cancel: CancelToken) -> list[GeneratedText]:
        def one(number: int) -> GeneratedText:
            # One seed would give one text: each answer has its own, so that the request can be repeated.
            seed = {} if content.seed is None else {"seed": (content.seed + number) % 2**64}
            answer: GeneratedText = state.engine.run(name, cancel=cancel, **{**arguments, **seed})
            return answer

        if count == 1:
            return [one(0)]
        with ThreadPoolExecutor(count) as threads:
            return list(threads.map(one, range(count)))

    results = await state.computing.run(request, write)
    for result in results:
        state.metrics.observe(name, result)
    return JSONResponse(chat_body(content, results, uuid.uuid4().hex[:24], int(time.time())))


async def embeddings(request: Request) -> Response:
    """The vectors of texts."""
    state = state_of(request)
    content = await read_as(EmbeddingRequest, request, state.settings)
    if len(content.texts) > (most := state.settings.max_inputs):
        raise Fault(422, f"input: expected 1 to {most} texts, found {len(content.texts)}.", param="input")
    task = next((task for task in state.engine.plugins.tasks.values() if task.verb), None)
    if task is None:
        raise UnsupportedModelError("No installed task has an encoder, which embeddings need: see `nlptasks plugins`.")
    choice = state.names.choice(content.model)
    if choice and choice.task.family == "vectors":
        task, adapter, model = choice.task, choice.adapter or "none", None
    else:
        adapter, model = "none", None if content.model == AUTO else state.names.model(content.model)

    def embed(cancel: CancelToken) -> Any:
        with state.engine.bind(task, adapter, model, cancel=cancel) as bound:
            return bound.embed(content.texts)

    facts_of(request.state, task="embed", inputs=len(content.texts))
    vectors = await state.computing.run(request, embed)
    return JSONResponse(embedding_body(content, vectors))


def models(request: Request) -> dict[str, Any]:
    """Bases, tasks, and adapters as TASK@ADAPTER: what `model` may be."""
    state = state_of(request)
    names = [*state.names.models, *state.engine.plugins.tasks]
    names += [f"{task}@{one.path.name}" for task, listed in state.names.adapters().items() for one in listed]
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "nlptasks"} for name in names],
    }


def _chosen(state: State, model: str, task: str) -> dict[str, Any]:
    choice = state.names.choice(model)
    if choice and choice.task.name == task:
        return {"adapter": choice.adapter}
    if choice:
        name = choice.task.name
        raise Fault(
            404, f"model: expected {task}, or a base that writes, found {name}: see /v1/tasks/{name}.", param="model"
        )
    return {} if model == AUTO else {"model": state.names.model(model)}


async def _chunks(
    state: State, content: ServedChat, task: str, pieces: AsyncIterator[str | GeneratedText]
) -> AsyncIterator[str]:
    """The chunks of an answer, in OpenAI's shape."""
    common = {"id": f"chatcmpl-{uuid.uuid4().hex[:24]}", "object": "chat.completion.chunk", "created": int(time.time())}
    common["model"] = content.model

    def chunk(delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        return event({**common, "choices": [choice]})

    try:
        yield chunk({"role": "assistant", "content": ""})
        async with aclosing(pieces):  # type: ignore[type-var]
            async for piece in pieces:
                if isinstance(piece, str):
                    yield chunk({"content": piece})
                    continue
                state.metrics.observe(task, piece)
                # A piece may be a part of a token, or several: the tokens come at the end.
                yield chunk({}, piece.finish_reason, chat_logprobs(piece))
                if content.stream_options and content.stream_options.include_usage:
                    yield event({**common, "choices": [], "usage": chat_usage([piece]), **truncation([piece])})
    except Exception as error:
        yield event(answer_of(error)[1])
    yield "data: [DONE]\n\n"
