"""`POST /v1/tasks/{task}`: every task with the fields and options of its types, as `nlptasks run --json` answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.requests import Request

from nlptasks import CancelToken, InvalidInputError, can_stream
from nlptasks.serve.bodies import read_object
from nlptasks.serve.faults import Fault, answer_of
from nlptasks.serve.guard import facts_of
from nlptasks.serve.state import State, check_fields, run_task, state_of

if TYPE_CHECKING:
    from nlptasks import AnyTask

_COMMON: dict[str, Any] = {
    "adapter": (
        str | None,
        Field(default=None, description='Adapter in the server\'s store; "none" for the bare base.'),
    ),
    "model": (str | None, Field(default=None, description="Base that the server allows.")),
}
_RESERVED = ("adapter", "model", "stream", "inputs")

EVENTS: dict[str, Any] = {"content": {"text/event-stream": {"schema": {}}}}
"""In OpenAPI: what a stream of server-sent events is."""


def add_routes(app: FastAPI, state: State) -> dict[str, type[BaseModel]]:
    """Add a route for each task; returns the types of their bodies by the address."""
    bodies = {}
    for name, task in state.engine.plugins.tasks.items():
        path = f"/v1/tasks/{name}"
        bodies[path] = body_type(task)
        app.post(
            path,
            summary=task.summary,
            operation_id=f"run_{name.replace('-', '_')}",
            response_model=None,
            responses={
                200: {"model": task.result_type | list[task.result_type], **(EVENTS if can_stream(task) else {})}
            },
            tags=["tasks"],
        )(_handler(name))

    @app.post("/v1/tasks/{task}", include_in_schema=False)
    async def unknown(task: str, request: Request) -> Response:
        state_of(request).names.task(task)
        raise Fault(404, f"{task[:60]}: expected a task by its name, found an alias: see /v1/tasks.")

    @app.get("/v1/tasks", tags=["tasks"])
    async def tasks() -> dict[str, Any]:
        """The tasks, with the schemas of their inputs, options and results."""
        return {"tasks": [_described(task) for task in state.engine.plugins.tasks.values()]}

    return bodies


def body_type(task: AnyTask, *, single: bool = False) -> type[BaseModel]:
    """The type of a task's request: one input's fields or a list of `inputs`, with options; if `single`, no list."""
    fields: dict[str, Any] = {name: (info.annotation, info) for name, info in task.options_type.model_fields.items()}
    for name, info in task.input_type.model_fields.items():
        field = info._copy()
        if info.is_required() and not single:
            # A list of inputs takes their place.
            field.default = None
        fields[name] = (info.annotation, field)
    if not single:
        item: Any = task.input_type | str
        fields["inputs"] = (list[item] | None, Field(default=None, description="Several inputs in place of one."))
    if not single and can_stream(task):
        fields["stream"] = (bool, Field(default=False, description="Answer with server-sent events."))
    title = "".join(part.capitalize() for part in task.name.replace("_", "-").split("-"))
    values: Any = {**fields, **_COMMON}
    return create_model(f"{title}TaskRequest", __config__=ConfigDict(extra="forbid"), **values)


def _described(task: AnyTask) -> dict[str, Any]:
    return {
        "name": task.name,
        "summary": task.summary,
        "family": task.family,
        "input": task.input_type.model_json_schema(),
        "options": task.options_type.model_json_schema(),
        "result": task.result_type.model_json_schema(),
    }


def _handler(name: str) -> Callable[[Request], Any]:
    async def run(request: Request) -> Response:
        state = state_of(request)
        content = await read_object(request, state.settings)
        return await answer(request, state, name, content)

    return run


async def answer(request: Request, state: State, name: str, content: dict[str, Any]) -> Response:
    """The answer of a task to the content of a request."""
    task = state.names.task(name)
    fields = {key: value for key, value in content.items() if key not in _RESERVED}
    if "cancel" in fields or "progress" in fields:
        # Arguments of Engine.run, which are no options.
        task.validate_options({key: fields[key] for key in fields if key in ("cancel", "progress")})
    inputs, stream = content.get("inputs"), content.get("stream", False)
    if not isinstance(stream, bool):
        raise Fault(422, f"stream: expected true or false, found {str(stream)[:60]!r}.", param="stream")
    for key in ("adapter", "model"):
        if not isinstance(content.get(key), str | None):
            raise Fault(422, f"{key}: expected a name, found {str(content[key])[:60]!r}.", param=key)
    names = {key: content.get(key) for key in ("adapter", "model")}
    if stream:
        check_fields(state, task, fields)
        facts_of(request.state, task=task.name, inputs=1)
        adapter, model = state.names.adapter(task, names["adapter"]), state.names.model(names["model"])
        return _stream(state, task, inputs, {**fields, "adapter": adapter, "model": model})
    results = await run_task(request, task, inputs, fields, **names)
    plain: Any = [one.model_dump(mode="json") for one in results]
    return JSONResponse(plain[0] if inputs is None else plain)


def _stream(state: State, task: AnyTask, inputs: Any, arguments: dict[str, Any]) -> Response:
    if inputs is not None or not can_stream(task):
        raise InvalidInputError(
            f"{task.name} does not stream this",
            ["stream: expected one input, and a task that writes text; leave stream out."],
        )

    # What is wrong with the request is a status, not an event.
    state.computing.admit()
    cancel = CancelToken()
    stream = state.engine.stream(task, cancel=cancel, **arguments)

    async def events() -> AsyncIterator[str]:
        try:
            async with aclosing(state.computing.pieces(stream, cancel)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    if isinstance(piece, str):
                        yield event({"text": piece})
                    else:
                        state.metrics.observe(task.name, piece)
                        yield event({"result": piece.model_dump(mode="json")})
        except Exception as error:
            yield event(answer_of(error)[1])
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


def event(value: dict[str, Any]) -> str:
    """A server-sent event with a JSON object."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
