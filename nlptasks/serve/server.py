"""The server's loop: uvicorn, with its log of requests replaced by ours."""

from __future__ import annotations

import logging
import socket
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from nlptasks import NlptasksError
from nlptasks.serve.app import build_app
from nlptasks.serve.settings import ServeSettings
from nlptasks.serve.state import State

if TYPE_CHECKING:
    from nlptasks import Engine


CANCELLING_SECONDS = 5
"""Time in which computations that are cancelled should end; most take a step."""


class DrainingServer(uvicorn.Server):
    """Ends at a signal once no request is under way, and refuses new ones with 503; a second signal cancels those."""

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
        if self._end and time.monotonic() > self._end:
            super().handle_exit(sig, frame)
            return
        seconds = 0.0 if self._end else self._state.settings.drain_seconds
        self._state.computing.draining = True
        self._end = time.monotonic() + seconds

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        late = time.monotonic() - self._end if self._end else 0.0
        if late > 0:
            # Streams end with an error, which is more than a connection that breaks.
            self._state.computing.cancel()
        if self._end and (not self._state.computing.busy or late > CANCELLING_SECONDS):
            self.should_exit = True
        return await super().on_tick(counter)


def serve(engine: Engine, settings: ServeSettings) -> None:
    """Serve until SIGINT or SIGTERM; then finish what is under way.

    Raises:
        NlptasksError: the settings open the server to a network without a key, or the address is not free.
    """
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("nlptasks.serve")
    log.addHandler(lines)
    # Some libraries give the root a handler of their own.
    log.propagate = False
    log.setLevel(logging.INFO)
    _check_port(settings)
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


def _check_port(settings: ServeSettings) -> None:
    """Refuse an address that cannot be listened on before anything is built."""
    try:
        [family, kind, *_, address] = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise NlptasksError(
            f"Expected a free address to listen on, found {settings.host}:{settings.port} ({error.strerror}): choose "
            "another --port, or 0 for any."
        ) from None
