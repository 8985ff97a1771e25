"""The plugins of the protocols: the routes are imported when a server starts, for they need FastAPI."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nlptasks import hookimpl

if TYPE_CHECKING:
    from fastapi import FastAPI

    from nlptasks import Engine


class Protocol:
    """A plugin whose routes are those of a module beside this one."""

    def __init__(self, module: str) -> None:
        self._module = module

    @hookimpl
    def register_routes(self, app: FastAPI, engine: Engine) -> None:
        """Add the module's routes."""
        import_module(f"nlptasks_plugins.protocols.{self._module}").add_routes(app, engine)


tei = Protocol("tei")
libretranslate = Protocol("libretranslate")
label_studio = Protocol("label_studio")
