"""Routes of plugins: each plugin has an app of its own, which is served at the plugin's name."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI
from starlette.routing import Match, Mount
from starlette.types import Scope

from nlptasks import NlptasksError, __version__
from nlptasks.serve.faults import answer_faults
from nlptasks.serve.state import State

RESERVED = frozenset({"v1", "mcp", "health", "ready", "docs", "metrics", "openapi.json"})
"""First parts of the server's own addresses."""


class PluginMount(Mount):
    """An app at the name of its plugin. The scope says so to the metrics and the log."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return match, {**child, "mount": self.path}


class RootMount(Mount):
    """The routes of a plugin once more at the root, for clients that take no path; the server's own come first."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        first = scope["path"].removeprefix("/").partition("/")[0]
        inner = {**scope, **child}
        if first in RESERVED or all(route.matches(inner)[0] is Match.NONE for route in self.routes):
            return Match.NONE, {}
        return match, child


def plugin_apps(state: State) -> Mapping[str, FastAPI]:
    """The apps of the plugins by their names; a plugin that fails here is disabled with its tasks."""

    def make(name: str) -> FastAPI:
        app = FastAPI(title=name, version=__version__, docs_url=None, redoc_url=None)
        app.state.serve = state
        answer_faults(app)
        return app

    return state.engine.plugins.routes(make, state.engine, RESERVED)


def add_plugins(app: FastAPI, apps: Mapping[str, FastAPI], root: str | None) -> None:
    """Mount the apps at their names, and the one of `root` at the root too.

    Raises:
        NlptasksError: no plugin with routes has the name `root`.
    """
    for name, routes in apps.items():
        app.router.routes.append(PluginMount(f"/{name}", routes))
    if root is None:
        return
    if root not in apps:
        names = ", ".join(apps) or "none"
        raise NlptasksError(f"root: expected a plugin with routes ({names}), found {root!r}.")
    app.router.routes.append(RootMount("", apps[root]))
