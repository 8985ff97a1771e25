"""`GET /v1/adapters`: the adapters of the server's store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from nlptasks.serve.state import state_of
from nlptasks.store import AdapterFolder, Manifest


class ForeignAdapter(BaseModel):
    """An adapter that another tool wrote."""

    model_config = ConfigDict(extra="forbid")

    name: str


class UnusableAdapter(ForeignAdapter):
    """An adapter that cannot be used, with what is wrong."""

    fault: str


class AdapterList(BaseModel):
    """The adapters by task; `adapter` of a request is one's name, `model` of OpenAI's clients TASK@NAME."""

    adapters: dict[str, list[Manifest | UnusableAdapter | ForeignAdapter]]


def add_routes(app: FastAPI) -> None:
    """Add the route."""
    app.get(
        "/v1/adapters",
        tags=["tasks"],
        operation_id="adapters",
        response_model=None,
        responses={200: {"model": AdapterList}},
    )(adapters)


def adapters(request: Request) -> Response:
    """The adapters by task, with what was trained on which base, and how well they do; those with faults come last."""
    names = state_of(request).names
    listed = {
        task: [*map(_described, usable), *({"name": name, "fault": text} for name, text in names.faults(task).items())]
        for task, usable in names.adapters().items()
    }
    return JSONResponse({"adapters": listed})


def _described(adapter: AdapterFolder) -> Any:
    """The manifest, under the name that requests use."""
    content = adapter.manifest.model_dump(mode="json") if adapter.manifest else {}
    mended = {key: _without_paths(content[key]) for key in ("base", "recipe", "data") if key in content}
    return {**content, **mended, "name": adapter.path.name}


def _without_paths(value: Any) -> Any:
    """A value with the last name of each path: folders of the server are not the caller's."""
    if isinstance(value, dict):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
