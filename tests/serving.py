"""A server on a free port of this machine, for real clients."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("fastapi")
uvicorn = pytest.importorskip("uvicorn")

from nlptasks.serve.app import build_app  # noqa: E402
from nlptasks.serve.server import DrainingServer  # noqa: E402
from nlptasks.serve.settings import ServeSettings  # noqa: E402

servers: dict[str, DrainingServer] = {}
"""The servers by their address."""


@contextmanager
def served(engine: Any, **settings: Any) -> Iterator[str]:
    """The address of a server with an engine, which stops when the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = build_app(engine, ServeSettings(port=port, **{"drain_seconds": 2, **settings}))
    config = uvicorn.Config(app, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    server = DrainingServer(config, app.state.serve)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        servers[f"http://127.0.0.1:{port}"] = server
        yield f"http://127.0.0.1:{port}"
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join()
