"""What the routes of one server share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from nlptasks import CancelToken
from nlptasks.serve.computing import Computing
from nlptasks.serve.faults import Fault
from nlptasks.serve.guard import facts_of
from nlptasks.serve.jobs import Jobs
from nlptasks.serve.metrics import Metrics
from nlptasks.serve.names import Names
from nlptasks.serve.settings import ServeSettings

if TYPE_CHECKING:
    from nlptasks import AnyTask, Engine, Result

KEYWORDS = frozenset({"adapter", "cancel", "model", "progress"})
"""Arguments of the engine's methods, which are no fields of a request."""


@dataclass(frozen=True)
class State:
    """The engine, and what stands around it; no jobs without a folder for them."""

    engine: Engine
    settings: ServeSettings
    names: Names
    metrics: Metrics
    computing: Computing
    jobs: Jobs | None = None


def state_of(request: Request) -> State:
    """The state of the server that got a request."""
    state: State = request.app.state.serve
    return state


async def run_task(
    request: Request,
    task: AnyTask,
    inputs: Any = None,
    fields: Mapping[str, Any] = MappingProxyType({}),
    *,
    adapter: str | None = None,
    model: str | None = None,
) -> list[Result]:
    """The results of a task for a list of inputs, or for the one input whose fields are among `fields`, with options.

    It is computed outside the event loop, ends when the client leaves, and is counted in the metrics and the log.

    Raises:
        Fault: 422 for anything but a list of as many inputs as the server takes; as `check_fields`, `Computing.run`
            and `Names`.
        NlptasksError: as `Engine.run`.
    """
    state = state_of(request)
    if inputs is not None and (not isinstance(inputs, list) or not 0 < len(inputs) <= state.settings.max_inputs):
        other = f"{len(inputs)} inputs" if isinstance(inputs, list) else f"{type(inputs).__name__}"
        raise Fault(422, f"inputs: expected a list of 1 to {state.settings.max_inputs}, found {other}.", param="inputs")
    check_fields(state, task, fields)
    arguments = {**fields, "adapter": state.names.adapter(task, adapter), "model": state.names.model(model)}
    facts_of(request.state, task=task.name, inputs=len(inputs or [1]))

    def compute(cancel: CancelToken) -> Any:
        # Every item is one input: a list within the list would be another call.
        valid = None if inputs is None else task.validate(inputs)
        return state.engine.run(task, valid, cancel=cancel, **arguments)

    results = await state.computing.run(request, compute)
    listed: list[Result] = [results] if inputs is None else list(results)
    for one in listed:
        state.metrics.observe(task.name, one)
    return listed


def check_fields(state: State, task: AnyTask, fields: Mapping[str, Any]) -> None:
    """Refuse names that are arguments of the engine's methods, and more tokens to write than the server allows.

    Raises:
        InvalidInputError: naming them and the task's options.
        Fault: 422.
    """
    if names := KEYWORDS & fields.keys():
        task.validate_options({name: fields[name] for name in sorted(names)})
    check_length(state, fields)


def check_length(state: State, options: Mapping[str, Any]) -> None:
    """Refuse a request to write more tokens than the server allows.

    Raises:
        Fault: 422.
    """
    count, most = options.get("max_new_tokens"), state.settings.max_new_tokens
    if isinstance(count, int) and count > most:
        raise Fault(
            422, f"max_new_tokens: expected at most {most} on this server, found {count}.", param="max_new_tokens"
        )
