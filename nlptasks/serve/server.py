"""The server's loop: uvicorn, with its log of requests replaced by ours."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import uvicorn

from nlptasks.serve.app import build_app
from nlptasks.serve.settings import ServeSettings

if TYPE_CHECKING:
    from nlptasks import Engine


def serve(engine: Engine, settings: ServeSettings) -> None:
    """Serve until SIGINT or SIGTERM; then finish what is under way.

    Raises:
        NlptasksError: the settings open the server to a network without a key.
    """
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("nlptasks.serve")
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    config = uvicorn.Config(
        build_app(engine, settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        server_header=False,
        h11_max_incomplete_event_size=64 * 1024,
        timeout_keep_alive=15,
        # Connections that wait for nothing must not hold up the end.
        timeout_graceful_shutdown=int(settings.drain_seconds) + 1,
    )
    uvicorn.Server(config).run()
