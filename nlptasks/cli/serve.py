"""`nlptasks serve`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from nlptasks import Engine, MissingExtraError
from nlptasks.cli.common import device_option, dtype_option, print_json


@click.command()
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="TOML file of settings.")
@click.option("--host", help="Address to listen on; any but loopback needs a key.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 is a free one.  [default: 8000]")
@click.option("--api-key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="File with a NAME:KEY in each line; or set NLPTASKS_API_KEY.")  # fmt: skip
@click.option("--allowed-host", "allowed_hosts", multiple=True, metavar="NAME", help="Value of Host. Repeatable.")
@click.option("--cors-origin", "cors_origins", multiple=True, metavar="URL", help="Origin of web pages. Repeatable.")
@click.option("--ui", is_flag=True, default=None, help="The web app too, at /ui.")
@click.option("--allow-model", "models", multiple=True, metavar="MODEL", help="Base for requests to name. Repeatable.")
@click.option("--preload", multiple=True, metavar="TASK[@ADAPTER]", help="Load before the first request. Repeatable.")
@click.option("--batches", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Folder for files and batches of OpenAI's clients.  [default: they are off]")  # fmt: skip
@click.option("--idle-seconds", type=float, help="Unload a base that was not used for so long.")
@click.option("--max-resident-mb", type=int, help="Memory of all bases.")
@click.option("--requests-a-minute", type=int, help="Requests of a key, or of an address.")
@device_option
@dtype_option
@click.option("--print-config", is_flag=True, help="Print the settings, without keys, and exit.")
def serve_command(config: Path | None, print_config: bool, **flags: Any) -> None:
    """Serve the tasks over HTTP, in the shapes that clients already speak.

    \b
    nlptasks serve
    curl localhost:8000/v1/tasks/sentiment --json '{"text": "I loved it."}'

    It is open to this machine only. Flags come before NLPTASKS_SERVE_* variables, and those before the file.
    """
    if not all(map(find_spec, ("fastapi", "mcp", "prometheus_client", "uvicorn"))):
        raise MissingExtraError("nlptasks serve", "serve")
    from nlptasks.serve import read_settings

    context = click.get_current_context()
    for name in ("device", "dtype"):
        if context.get_parameter_source(name) is click.core.ParameterSource.DEFAULT:
            flags[name] = None
    settings = read_settings(flags, config)
    settings.check()
    if settings.ui and find_spec("gradio") is None:
        raise MissingExtraError("nlptasks serve --ui", "ui")
    if print_config:
        print_json(settings.model_dump(mode="json"))
        return
    from nlptasks.serve import serve

    if settings.ui:
        # Its users may name any model: no text, and no key, goes to a server that the operator did not name.
        os.environ.setdefault("NLPTASKS_REMOTE_HOSTS", "")
    resident = settings.max_resident_mb
    with Engine(
        device=settings.device,
        dtype=settings.dtype,
        idle_seconds=settings.idle_seconds,
        max_resident_bytes=resident * 1024**2 if resident else None,
    ) as engine:
        serve(engine, settings)
