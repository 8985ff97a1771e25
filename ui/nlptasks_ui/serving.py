"""Serving the app to browsers and programs: on loopback, or on a network with a login."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import warnings
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks import NlptasksError
from nlptasks_ui import theme
from nlptasks_ui.pages.files import FileOwners
from nlptasks_ui.policy import ContentPolicy

if TYPE_CHECKING:
    from nlptasks import Engine

LARGEST_UPLOAD = "200mb"

Logins = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Address:
    """Where the app listens. Without a port, the first free one from 7860 is used."""

    host: str = "127.0.0.1"
    port: int | None = None


def check(address: Address, logins: Logins) -> None:
    """Check that an app which is open to a network has a login.

    Raises:
        NlptasksError: the host is not loopback and there is no login.
    """
    if not logins and not _is_loopback(address.host):
        raise NlptasksError(
            f"--host {address.host} opens the app to the network: expected a login (--auth NAME:PASSWORD or "
            "--auth-file FILE), found none. Without --host the app is open to this machine only."
        )


def launch(app: Any, address: Address, *, logins: Logins = (), browser: bool = False) -> str:
    """Serve the app from its own thread and return its URL.

    The app contacts no other machine: no public link, no analytics, no web fonts.
    """
    check(address, logins)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Gradio treats our empty list as unset and would read this variable instead.
    os.environ.pop("GRADIO_ALLOWED_PATHS", None)
    _bypass_proxy("127.0.0.1", "localhost")
    return _launch(app, address, logins, browser)


def _launch(app: Any, address: Address, logins: Logins, browser: bool) -> str:
    """Launch with every argument that an environment variable could set, so that none can open the app to others."""
    _, url, _ = app.launch(
        server_name=address.host,
        server_port=address.port,
        auth=list(logins) or None,
        share=False,
        inbrowser=browser,
        prevent_thread_lock=True,
        quiet=True,
        **_settings(app, bool(logins)),
    )
    return str(url)


def mount(server: Any, engine: Engine) -> None:
    """Make the web app part of a server of `nlptasks serve`, which has checked who calls; `server` is a FastAPI app.

    With keys, each caller has trainings, batches and files of its own.
    """
    import gradio as gr

    from nlptasks_ui.app import build_app

    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    app = build_app(engine)
    keys = bool(server.state.serve.settings.keys)
    user = (lambda request: request.scope["state"]["caller"]) if keys else None
    with warnings.catch_warnings():
        # Gradio says that it leaves out what nobody wished for.
        warnings.filterwarnings("ignore", message="SSR mode is not supported")
        gr.mount_gradio_app(server, app, path="", auth_dependency=user, **_settings(app, keys))


def _settings(app: Any, users: bool) -> dict[str, Any]:
    """What holds for the app wherever it is served; `users` says whether each has files of its own."""
    from starlette.middleware import Middleware

    return {
        "show_error": True,
        "max_file_size": LARGEST_UPLOAD,
        "allowed_paths": [],
        "mcp_server": False,
        "ssr_mode": False,
        "pwa": False,
        "enable_monitoring": False,
        "run_history": False,
        "footer_links": ["api", "settings"],
        "theme": theme.build_theme(),
        "css_paths": [theme.STYLES],
        "head": theme.head(),
        "app_kwargs": {
            "middleware": [Middleware(ContentPolicy), *([Middleware(FileOwners)] if users else [])],
            "lifespan": lambda _: _lifespan(app),
        },
    }


@contextlib.asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    yield
    for close in app.closing:
        close()


def _bypass_proxy(*hosts: str) -> None:
    """Exclude hosts from the proxy: the app calls itself over loopback."""
    for name in ("NO_PROXY", "no_proxy"):
        known = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join([*known, *(host for host in hosts if host not in known)])


def read_logins(auth: Sequence[str], auth_file: Path | None) -> list[tuple[str, str]]:
    """Names and passwords from `NAME:PASSWORD` values and from a file with one per line.

    Raises:
        NlptasksError: a value or line has another form, or the file has no logins.
    """
    lines = [(word, "--auth") for word in auth]
    if auth_file:
        text = auth_file.read_text(encoding="utf-8")
        lines += [(line.strip(), f"{auth_file}:{n}") for n, line in enumerate(text.splitlines(), 1) if line.strip()]
        if not lines:
            raise NlptasksError(f"{auth_file}: expected one NAME:PASSWORD per line, found an empty file.")
    logins = []
    for line, place in lines:
        name, colon, password = line.partition(":")
        if not (name and colon and password):
            # The line may be a password, so the message does not repeat it.
            raise NlptasksError(
                f"{place}: expected NAME:PASSWORD, found {'no colon' if not colon else 'an empty part'}."
            )
        logins.append((name, password))
    return logins


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
