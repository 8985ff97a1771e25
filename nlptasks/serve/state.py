"""What the routes of one server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from nlptasks.serve.computing import Computing
from nlptasks.serve.jobs import Jobs
from nlptasks.serve.metrics import Metrics
from nlptasks.serve.names import Names
from nlptasks.serve.settings import ServeSettings

if TYPE_CHECKING:
    from nlptasks import Engine


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
