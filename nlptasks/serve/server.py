"""The server's loop: uvicorn, with its log of requests replaced by ours."""

from __future__ import annotations

import logging
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from nlptasks.serve.app import build_app
from nlptasks.serve.settings import ServeSettings
from nlptasks.serve.state import State

if TYPE_CHECKING:
    from nlptasks import Engine


class DrainingServer(uvicorn.Server):
    """Ends at the first signal once no request is under way, refusing new ones with 503; at the second one at once."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self._state = state
        self._end = 0.0

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Say where it listens."""
        await super().startup(sockets)
        if self.started and not sockets:
            [host, port, *_] = self.servers[0].sockets[0].getsockname()
            address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            print(f"Listening on {address}; its routes: {address}/docs. Ctrl-C stops it.", file=sys.stderr)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called at a signal."""
        if self._end:
            super().handle_exit(sig, frame)
            return
        self._state.computing.draining = True
        self._end = time.monotonic() + self._state.settings.drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        if self._end and (not self._state.computing.busy or time.monotonic() > self._end):
            self.should_exit = True
        return await super().on_tick(counter)


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
    app = build_app(engine, settings)
    if notice := engine.plugins.failure_notice():
        log.warning(notice)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        server_header=False,
        h11_max_incomplete_event_size=64 * 1024,
        timeout_keep_alive=15,
        # Requests have had their time by then; connections that wait for nothing must not hold up the end.
        timeout_graceful_shutdown=1,
    )
    DrainingServer(config, app.state.serve).run()
