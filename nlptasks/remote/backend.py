"""The backend "remote": models on servers, all requests of an engine in one event loop."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from concurrent.futures import CancelledError as FutureCancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from nlptasks.backends import BackendOptions, Resident
from nlptasks.errors import CancelledError, NlptasksError, UnsupportedModelError
from nlptasks.model import CancelToken, Model
from nlptasks.process import refuse_inherited
from nlptasks.remote.address import PREFIXES, Address, RemoteSettings
from nlptasks.remote.waiting import Put, under

if TYPE_CHECKING:
    from nlptasks.progress import Counter
    from nlptasks.remote.server import Server
    from nlptasks.store.adapters import AdapterFolder

T = TypeVar("T")


class RemoteBackend:
    """Models by the names `openai:NAME@URL` and `nlptasks:TASK[@ADAPTER]@URL`; see docs/guide.md.

    No connection is made before a model is asked.
    """

    def __init__(self, options: BackendOptions, settings: RemoteSettings | None = None) -> None:
        self._settings = settings or RemoteSettings.from_env()
        self._servers: dict[str, Server] = {}
        self._calls: dict[str, int] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._pid = os.getpid()

    def serves(self, base: str, adapter: AdapterFolder | None) -> bool:
        """Whether the base has the name of a remote one."""
        return base.lower().startswith(PREFIXES)

    @contextmanager
    def bind(
        self, base: str, adapter: AdapterFolder | None, *, cancel: CancelToken, counter: Counter | None
    ) -> Iterator[Model]:
        """The model of a name, without any request to its server yet.

        Raises:
            UnsupportedModelError: the name is no address, or comes with an adapter of this machine.
        """
        if adapter:
            # An adapter's folder may name any base: what it says must not send texts, and a key, to a server.
            raise UnsupportedModelError(
                f"Expected a remote model without an adapter of this machine, found {adapter.name!r}: name one of the "
                "server, as nlptasks:TASK@ADAPTER@http://HOST:PORT."
            )
        address = Address.parse(base)
        self._settings.check(address)
        server = self._server(address)
        with self._lock:
            self._calls[base] = self._calls.get(base, 0) + 1
        try:
            if address.kind == "openai":
                from nlptasks.remote.openai import OpenAIModel

                yield OpenAIModel(address, server, self.call, cancel, counter)
            else:
                from nlptasks.remote.tasks import TaskModel

                yield TaskModel(address, server, self.call, cancel, counter)
        finally:
            with self._lock:
                self._calls[base] -= 1

    def call(self, cancel: CancelToken, work: Callable[[Put], Coroutine[Any, Any, T]]) -> Generator[Any, None, T]:
        """Run a coroutine in the event loop; yields what it puts, returns what it returns.

        It is cancelled, and its connections are closed, within 0.05 s of `cancel`.
        """
        cancel.raise_if_cancelled()
        pieces: queue.SimpleQueue[Any] = queue.SimpleQueue()
        end = object()
        with self._lock:
            # `close` ends what was begun before it, and nothing begins after it.
            loop = self._running()
            future = asyncio.run_coroutine_threadsafe(under(cancel, work(pieces.put)), loop)
        future.add_done_callback(lambda _: pieces.put(end))
        try:
            while (piece := pieces.get()) is not end:
                yield piece
                refuse_inherited(self._pid)
            return future.result()
        except FutureCancelledError:
            raise CancelledError("The request was cancelled before it was finished.") from None
        except (KeyboardInterrupt, GeneratorExit):
            # Ctrl-C arrives in the waiting thread; the loop learns of it by the token.
            cancel.cancel()
            raise

    def resident(self) -> list[Resident]:
        """The names of the remote models so far; they take no memory here."""
        with self._lock:
            return [Resident(name, placement="remote", waiting=waiting) for name, waiting in self._calls.items()]

    def close(self) -> None:
        """Cancel all calls and close all connections."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
            servers = list(self._servers.values())
            self._servers.clear()
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_end(servers), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _server(self, address: Address) -> Server:
        from nlptasks.remote.server import Server

        with self._lock:
            if self._closed:
                raise NlptasksError("This engine is closed: make a new Engine.")
            key = f"{address.kind}:{address.url}"
            if key not in self._servers:
                self._servers[key] = Server(address, self._settings)
            return self._servers[key]

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise NlptasksError("This engine is closed: make a new Engine.")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="nlptasks:remote", daemon=True)
            self._thread.start()
        return self._loop


async def _end(servers: Sequence[Server]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for server in servers:
        await server.close()
