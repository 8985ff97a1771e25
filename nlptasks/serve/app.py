"""The app of a server: its routes, what stands around them, and its page of documentation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request

from nlptasks import __version__
from nlptasks.serve.computing import Computing
from nlptasks.serve.faults import ErrorBody, answer_faults
from nlptasks.serve.guard import Guard, log
from nlptasks.serve.jobs import Jobs
from nlptasks.serve.metrics import Metrics
from nlptasks.serve.mounts import add_plugins, plugin_apps
from nlptasks.serve.names import Choice, Names
from nlptasks.serve.page import documentation
from nlptasks.serve.routes import adapters, batches, decisions, openai, systemone, tasks, tools
from nlptasks.serve.settings import ServeSettings
from nlptasks.serve.state import State, state_of
from nlptasks.surfaces import sentence

if TYPE_CHECKING:
    from nlptasks import Engine


ANY_FAULT: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorBody, "description": "What went wrong."}}


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
    # First: a plugin that fails here takes its tasks with it.
    apps = plugin_apps(state)
    for name in settings.preload:
        state.names.resolve(name)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.ready = not settings.preload
        loading = asyncio.create_task(_preload(app, state))
        if jobs:
            jobs.start()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(mcp.running())
            for routes in apps.values():
                await stack.enter_async_context(routes.router.lifespan_context(routes))
            yield
        if jobs:
            await asyncio.to_thread(jobs.close)
        loading.cancel()
        state.computing.close()

    # The pages of FastAPI load their scripts from another host; /docs has ours.
    app = FastAPI(
        title="nlptasks", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, responses=ANY_FAULT
    )
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
    _add_pages(app, apps, bodies)
    answer_faults(app)
    add_plugins(app, apps, settings.root)
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
        choice = state.names.resolve(name)

        def load(choice: Choice = choice) -> None:
            task = choice.task
            short = {"max_new_tokens": 1} if "max_new_tokens" in task.options_type.model_fields else {}
            state.engine.run(task, list(task.examples[:1]), adapter=choice.adapter, **{**task.example_options, **short})

        try:
            await asyncio.to_thread(load)
        except Exception as error:
            log.error("%s is not loaded: %s", name, sentence(error))
            return
    app.state.ready = True


def _add_pages(app: FastAPI, apps: Mapping[str, FastAPI], bodies: dict[str, Any]) -> None:
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
        paths = dict(app.openapi()["paths"])
        for name, plugin in apps.items():
            paths |= {f"/{name}{path}": routes for path, routes in plugin.openapi()["paths"].items()}
        return HTMLResponse(documentation({"paths": paths}, bodies))

    @app.get("/metrics", tags=["server"], response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        """Numbers in Prometheus's form."""
        return PlainTextResponse(state_of(request).metrics.page())


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
