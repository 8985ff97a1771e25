"""Computations of requests: so many at once, ended when their client leaves, never in the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request

from nlptasks import CancelToken
from nlptasks.serve.faults import CLIENT_CLOSED, Fault
from nlptasks.serve.metrics import Metrics
from nlptasks.serve.settings import ServeSettings

if TYPE_CHECKING:
    from nlptasks import Stream

T = TypeVar("T")


class Computing:
    """The places in which requests are computed."""

    def __init__(self, settings: ServeSettings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._places = asyncio.Semaphore(settings.max_running)
        self._threads = ThreadPoolExecutor(settings.max_running, thread_name_prefix="nlptasks-serve")
        self._waiting = 0
        self._running: set[CancelToken] = set()
        self.draining = False

    @property
    def busy(self) -> bool:
        """Whether requests are computed or wait."""
        return bool(self._running or self._waiting)

    def admit(self) -> None:
        """Refuse a request that could not wait either.

        Raises:
            Fault: 429 if too many wait, 503 if the server is about to stop.
        """
        if self.draining:
            raise Fault(503, "The server is about to stop.", {"Retry-After": "10"})
        if self._places.locked() and self._waiting >= self._settings.max_waiting:
            raise Fault(
                429,
                f"Expected at most {self._waiting} waiting requests, found more: try again later.",
                {"Retry-After": "1"},
            )

    @asynccontextmanager
    async def _place(self, token: CancelToken) -> AsyncIterator[None]:
        """A place for one request; `token` ends its computation. Raises as `admit` does."""
        self.admit()
        self._waiting += 1
        self._metrics.waiting.set(self._waiting)
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
            self._metrics.waiting.set(self._waiting)
        self._running.add(token)
        self._metrics.running.set(len(self._running))
        try:
            yield
        finally:
            token.cancel()
            self._running.discard(token)
            self._metrics.running.set(len(self._running))
            self._places.release()

    async def run(self, request: Request, call: Callable[[CancelToken], T]) -> T:
        """What a call returns, in a thread; its token is set when the client leaves.

        Raises:
            Fault: as `admit`, and 499 when the client left. What the call raises.
        """
        token = CancelToken()
        async with self._place(token):
            future: asyncio.Future[Any] = asyncio.get_running_loop().run_in_executor(self._threads, call, token)
            leaving: asyncio.Future[Any] = asyncio.ensure_future(_disconnected(request))
            try:
                await asyncio.wait({future, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if not future.done():
                    token.cancel()
                    future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
                    raise Fault(CLIENT_CLOSED, "The client left.")
                result: T = future.result()
                return result
            finally:
                token.cancel()
                leaving.cancel()

    async def pieces(self, stream: Stream[T], token: CancelToken) -> AsyncIterator[str | T]:
        """The pieces of a stream as they are written, then its result. Raises as `admit` and the stream do."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[bool, Any]] = asyncio.Queue()

        def put(last: bool, value: Any) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(queue.put_nowait, (last, value))

        def write() -> None:
            try:
                with stream:
                    for piece in stream:
                        put(False, piece)
                    put(True, stream.result())
            except BaseException as error:
                put(True, error)

        async with self._place(token):
            loop.run_in_executor(self._threads, write)
            last = False
            while not last:
                last, value = await queue.get()
                if isinstance(value, BaseException):
                    raise value
                yield value

    def cancel(self) -> None:
        """End the computations under way."""
        for token in list(self._running):
            token.cancel()

    def close(self) -> None:
        """Refuse new requests and end those under way."""
        self.draining = True
        self.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _disconnected(request: Request) -> None:
    """Return when the client leaves; the body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
