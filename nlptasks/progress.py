"""How a caller follows a run: a bar on stderr, a callback, a stream of pieces for async code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from nlptasks.model import Stream

T = TypeVar("T")


class Counter:
    """Counts the pieces of a run: neither number ever falls, and at the end they are equal.

    Every input has at least one piece. A long text is read in several windows or chunks, and a task may call the model
    again on the results: the total grows when such a call begins.
    """

    def __init__(self, report: Callable[[int, int], None], inputs: int) -> None:
        self._report = report
        self._inputs = inputs
        self._expected = 0
        self._completed = 0

    def ask(self, count: int) -> None:
        """Add pieces that go to the model."""
        self._expected += count

    def advance(self, count: int) -> None:
        """Report pieces as completed."""
        self._completed += count
        self._report(self._completed, max(self._inputs, self._expected, self._completed))

    def end(self) -> None:
        """Report everything as completed; some inputs may have needed no model."""
        if self._completed < self._inputs:
            self.advance(self._inputs - self._completed)


@contextmanager
def reporting(progress: bool | Callable[[int, int], None], inputs: int) -> Iterator[Counter | None]:
    """A counter that reports to a bar or to the caller's callback; None without progress."""
    if progress is False:
        yield None
        return
    if callable(progress):
        counter = Counter(progress, inputs)
        yield counter
        counter.end()
        return
    from tqdm import tqdm

    with tqdm(total=inputs, leave=False) as bar:

        def advance(completed: int, total: int) -> None:
            bar.total = total
            bar.update(completed - bar.n)

        counter = Counter(advance, inputs)
        yield counter
        counter.end()


class AsyncStream(Generic[T]):
    """A `Stream` for async code, opened by its first step; leaving the loop or cancelling its task stops the model."""

    def __init__(self, open_stream: Callable[[], Stream[T]]) -> None:
        self._open = open_stream
        self._stream: Stream[T] | None = None

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        if self._stream is None:
            self._stream = await asyncio.to_thread(self._open)
        stream = self._stream
        pieces = iter(stream)
        step: asyncio.Future[str | None] | None = None
        try:
            while True:
                step = asyncio.ensure_future(asyncio.to_thread(next, pieces, None))
                piece = await asyncio.shield(step)
                if piece is None:
                    return
                yield piece
        finally:
            stream.close()
            if step is not None and not step.done():
                # The thread that waits for a piece holds the model until its step ends.
                await asyncio.wait({step})
                step.exception()
                stream.close()

    async def result(self) -> T:
        """The value at the end; reads the rest of the pieces first.

        Raises:
            NlptasksError: the stream was closed before its end.
        """
        if self._stream is None:
            async for _ in self:
                pass
        assert self._stream is not None
        return await asyncio.to_thread(self._stream.result)
