"""The app of a server: its routes, what stands around them, and its page of documentation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request

from nlptasks import NlptasksError, __version__
from nlptasks.serve.computing import Computing
from nlptasks.serve.faults import Fault, answer_of, body
from nlptasks.serve.guard import Guard, log
from nlptasks.serve.jobs import Jobs
from nlptasks.serve.metrics import Metrics
from nlptasks.serve.names import Choice, Names
from nlptasks.serve.page import documentation
from nlptasks.serve.routes import adapters, batches, decisions, openai, systemone, tasks, tools
from nlptasks.serve.settings import ServeSettings
from nlptasks.serve.state import State, state_of
from nlptasks.surfaces import invalid, sentence

if TYPE_CHECKING:
    from nlptasks import Engine


def build_app(engine: Engine, settings: ServeSettings) -> FastAPI:
    """The ASGI app of an engine; nothing is loaded before the first request, but `preload`.

    Raises:
        NlptasksError: the settings open it to a network without a key.
    """
    settings.check()
    metrics = Metrics(engine)
    names = Names(engine, settings.models)
    jobs = Jobs(settings.batches, engine, names, settings) if settings.batches else None
    state = State(engine, settings, names, metrics, Computing(settings, metrics), jobs)
    for name in settings.preload:
        state.names.choice(name) or state.names.task(name)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.ready = not settings.preload
        loading = asyncio.create_task(_preload(app, state))
        if jobs:
            jobs.start()
        async with mcp.running():
            yield
        if jobs:
            await asyncio.to_thread(jobs.close)
        loading.cancel()
        state.computing.close()

    # The pages of FastAPI load their scripts from another host; /docs has ours.
    app = FastAPI(title="nlptasks", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.serve = state
    bodies: dict[str, type[BaseModel]] = {
        **tasks.add_routes(app, state),
        **openai.BODIES,
        **batches.BODIES,
        decisions.PATH: decisions.DecisionRequest,
        systemone.PATH: systemone.SystemOneRequest,
    }
    for routes in (openai, decisions, systemone, adapters, batches):
        routes.add_routes(app)
    mcp = tools.add_routes(app, state)
    _add_pages(app, bodies)
    _add_faults(app)
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    # Around the guard: a browser asks first, and without a key, whether it may.
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
        )
    _describe_bodies(app, bodies)
    return app


async def _preload(app: FastAPI, state: State) -> None:
    for name in state.settings.preload:
        choice = state.names.choice(name) or Choice(state.names.task(name))

        def load(choice: Choice = choice) -> None:
            with state.engine.bind(choice.task, choice.adapter) as model:
                assert model.info

        try:
            await asyncio.to_thread(load)
        except Exception as error:
            log.error("%s is not loaded: %s", name, sentence(error))
            return
    app.state.ready = True


def _add_pages(app: FastAPI, bodies: dict[str, Any]) -> None:
    @app.get("/health", tags=["server"])
    async def health() -> dict[str, str]:
        """Whether the server runs."""
        return {"status": "ok"}

    @app.get("/ready", tags=["server"])
    async def ready(request: Request) -> Response:
        """Whether it takes requests: not while it loads what is to be loaded first, nor when it is about to stop."""
        waits = not request.app.state.ready or state_of(request).computing.draining
        return JSONResponse({"status": "not ready" if waits else "ready"}, 503 if waits else 200)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """The routes and their fields."""
        return HTMLResponse(documentation(app.openapi(), bodies))

    @app.get("/metrics", tags=["server"], response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        """Numbers in Prometheus's form."""
        return PlainTextResponse(state_of(request).metrics.page())


def _add_faults(app: FastAPI) -> None:
    async def refuse(_: Request, error: Exception) -> Response:
        status, content, headers = answer_of(error)
        return JSONResponse(content, status, headers)

    async def of_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse(body(error.status_code, f"{error.detail}."), error.status_code, error.headers)

    async def of_validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return JSONResponse(body(422, invalid(error)), 422)  # type: ignore[arg-type]

    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(NlptasksError, refuse)
    app.add_exception_handler(Fault, refuse)


def _describe_bodies(app: FastAPI, bodies: dict[str, Any]) -> None:
    """Put the types of bodies into OpenAPI's document: routes read them by themselves, to answer in our sentences."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            types = [(kind, "validation") for kind in dict.fromkeys(bodies.values())]
            references, definitions = models_json_schema(types, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
            schema.setdefault("components", {}).setdefault("schemas", {}).update(definitions.get("$defs", {}))
            for path, kind in bodies.items():
                content = {"application/json": {"schema": references[kind, "validation"]}}
                schema["paths"][path]["post"]["requestBody"] = {"required": True, "content": content}
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
