"""Opening the app to browsers and programs, on loopback unless a login stands before it."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlptasks import NlptasksError
from nlptasks_ui import api, theme

LARGEST_UPLOAD = "200mb"

Logins = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Address:
    """Where the app listens. Without a port the first free one from 7860 is taken."""

    host: str = "127.0.0.1"
    port: int | None = None


def check(address: Address, logins: Logins) -> None:
    """Refuse to open the app to a network without a login.

    Raises:
        NlptasksError: the host is not loopback, and there is no login.
    """
    if not logins and not _is_loopback(address.host):
        raise NlptasksError(
            f"--host {address.host} opens the app to the network: expected a login (--auth NAME:PASSWORD or "
            "--auth-file FILE), found none. Without --host the app is open to this machine only."
        )


def launch(app: Any, address: Address, *, logins: Logins = (), browser: bool = False) -> str:
    """Serve the app from a thread of its own and return its address.

    Nothing is fetched from outside and nothing is sent there: no public link, no analytics, no web font.
    """
    check(address, logins)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # An empty list of ours would be taken for none.
    os.environ.pop("GRADIO_ALLOWED_PATHS", None)
    _leave_proxy_out("127.0.0.1", "localhost")
    # Gradio announces its MCP server however quiet it is asked to be.
    with contextlib.redirect_stdout(io.StringIO()):
        return _launched(app, address, logins, browser)


def _launched(app: Any, address: Address, logins: Logins, browser: bool) -> str:
    """Every argument that a variable in the user's environment could set is given: none may open the app."""
    _, url, _ = app.launch(
        server_name=address.host,
        server_port=address.port,
        auth=list(logins) or None,
        share=False,
        inbrowser=browser,
        prevent_thread_lock=True,
        quiet=True,
        show_error=True,
        max_file_size=LARGEST_UPLOAD,
        allowed_paths=[],
        mcp_server=True,
        ssr_mode=False,
        pwa=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=["api", "settings"],
        theme=theme.theme(),
        css_paths=[theme.STYLES],
        head=theme.head(),
    )
    api.answer_in_json(app.mcp_server_obj)
    return str(url)


def _leave_proxy_out(*hosts: str) -> None:
    """The app and its MCP server speak to themselves over loopback, which a proxy of the network cannot reach."""
    for name in ("NO_PROXY", "no_proxy"):
        known = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join([*known, *(host for host in hosts if host not in known)])


def read_logins(auth: Sequence[str], auth_file: Path | None) -> list[tuple[str, str]]:
    """Names and passwords: `NAME:PASSWORD` each, or one a line in a file.

    Raises:
        NlptasksError: a line is something else.
    """
    lines = [(word, "--auth") for word in auth]
    if auth_file:
        text = auth_file.read_text(encoding="utf-8")
        lines += [(line.strip(), f"{auth_file}:{n}") for n, line in enumerate(text.splitlines(), 1) if line.strip()]
        if not lines:
            raise NlptasksError(f"{auth_file}: expected a NAME:PASSWORD a line, found none.")
    found = []
    for line, place in lines:
        name, colon, password = line.partition(":")
        if not (name and colon and password):
            # What was found may be a password: it is not repeated.
            raise NlptasksError(
                f"{place}: expected NAME:PASSWORD, found {'no colon' if not colon else 'an empty part'}."
            )
        found.append((name, password))
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
