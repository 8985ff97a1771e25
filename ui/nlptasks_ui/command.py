"""`nlptasks ui`: the app is a plugin like any other. Gradio is imported when the command runs."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nlptasks import hookimpl

if TYPE_CHECKING:
    from fastapi import FastAPI

    from nlptasks import Engine

nlptasks_api = 1


@hookimpl
def register_commands(cli: click.Group) -> None:
    """Add `nlptasks ui`."""
    cli.add_command(ui)


@hookimpl
def register_routes(app: FastAPI, engine: Engine) -> None:
    """Mount the web app at `/ui` of `nlptasks serve --ui`."""
    if app.state.serve.settings.ui:
        from nlptasks_ui import serving

        serving.mount(app, engine)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; any address but loopback requires a login.")  # fmt: skip  # noqa: E501
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on. Default: the first free one from 7860.")
@click.option("--auth", multiple=True, metavar="NAME:PASSWORD", help="A login; may be repeated. Visible in the process list: prefer --auth-file.")  # fmt: skip  # noqa: E501
@click.option("--auth-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File with logins, one NAME:PASSWORD per line.")  # fmt: skip  # noqa: E501
@click.option("--browser/--no-browser", default=False, help="Open the start page in a browser.")
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--dtype", default="auto", show_default=True, help="Number format: auto, float32, bfloat16, float16, int8."
)
def ui(
    host: str,
    port: int | None,
    auth: tuple[str, ...],
    auth_file: Path | None,
    browser: bool,
    device: str,
    dtype: str,
) -> None:
    """Start the web app: a page for every task, chat, batch processing and training.

    It is open to this machine only. To open it to the network, set --host and a login.
    """
    from nlptasks import Engine, MissingExtraError
    from nlptasks.surfaces import Downloads
    from nlptasks_ui import serving

    address = serving.Address(host, port)
    logins = serving.read_logins(auth, auth_file)
    serving.check(address, logins)
    if find_spec("gradio") is None:
        raise MissingExtraError("nlptasks ui", "ui")
    from nlptasks_ui.app import DELETE_CACHE, build_app
    from nlptasks_ui.pages import files

    # A service manager's SIGTERM then ends the app like Ctrl-C, and uploads are deleted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Users may name any model: no text, and no key, goes to a server that the operator did not name.
    os.environ.setdefault("NLPTASKS_REMOTE_HOSTS", "")
    loads = Downloads()
    with Engine(device=device, dtype=dtype, on_progress=loads) as engine:
        every, age = DELETE_CACHE
        files.keep_for(age, engine.settings.data / "ui" / "files", every)
        app = build_app(engine, loads=loads, logins=bool(logins))
        url = serving.launch(app, address, logins=logins, browser=browser)
        click.echo(
            f"Open {url} in a browser; press Ctrl-C to stop the app. API: {url}?view=api",
            err=True,
        )
        app.block_thread()
