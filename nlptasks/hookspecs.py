"""The whole plugin contract: four hooks. `hookimpl` marks a plugin's implementation of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from nlptasks.backends import Backend, BackendOptions
    from nlptasks.results import Result
    from nlptasks.task import Task

API_VERSION = 1
"""Version of this contract; a plugin may pin it with a module attribute `nlptasks_api = 1`."""

hookspec = pluggy.HookspecMarker("nlptasks")
hookimpl = pluggy.HookimplMarker("nlptasks")


@hookspec
def register_tasks(register: Callable[[Task[Any, Any, Any]], None]) -> None:
    """Call `register(task)` once for each task that the plugin brings."""


@hookspec
def register_backends(register: Callable[[str, Callable[[BackendOptions], Backend]], None]) -> None:
    """Call `register(name, make)` for each backend: what computes bases in another way than torch here."""


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to the command line: `@cli.command()` as in click."""


@hookspec
def register_views(register: Callable[[type[Result], Callable[[Any, Any], str]], None]) -> None:
    """Call `register(result_type, view)` for each result type that the web app should show in a way of its own."""
