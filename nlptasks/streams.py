"""Streams for async code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Generic, TypeVar

from nlptasks.model import Stream

T = TypeVar("T")


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
