"""The plugin contract: five hooks. `hookimpl` marks the implementation of one in a plugin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click
    from fastapi import FastAPI

    from nlptasks.backends import Backend, BackendOptions
    from nlptasks.engine import Engine
    from nlptasks.results import Result
    from nlptasks.task import Task

API_VERSION = 1
"""Version of the contract; a plugin may require it with a module attribute `nlptasks_api = 1`."""

hookspec = pluggy.HookspecMarker("nlptasks")
hookimpl = pluggy.HookimplMarker("nlptasks")


@hookspec
def register_tasks(register: Callable[[Task[Any, Any, Any]], None]) -> None:
    """Call `register(task)` for each task of the plugin."""


@hookspec
def register_backends(register: Callable[[str, Callable[[BackendOptions], Backend]], None]) -> None:
    """Call `register(name, make)` for each backend: another way to run models than torch in this process."""


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to the command line, with `@cli.command()` as in click."""


@hookspec
def register_views(register: Callable[[type[Result] | str, Callable[[Any, Any], str]], None]) -> None:
    """Call `register(target, view)` for each result type or task of the plugin that has a view in the web app."""


@hookspec
def register_routes(app: FastAPI, engine: Engine) -> None:
    """Add routes to the HTTP server, with `@app.post("/hello")` as in FastAPI: it is served at /PLUGIN/hello."""
