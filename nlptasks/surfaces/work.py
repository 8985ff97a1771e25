"""A computation in a thread, with its progress, cancelled when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from nlptasks import CancelToken

if TYPE_CHECKING:
    from nlptasks import Engine

THREADS = 32
"""Maximum number of parallel computations; a surface's queue allows fewer."""

GRACE = 2.0
"""Seconds in which a cancelled computation may still return its result; a step may take longer."""

T = TypeVar("T")


def _set_up() -> None:
    """A new pool; one that a fork left behind counts threads that stayed in the parent."""
    global _pool
    _pool = ThreadPoolExecutor(THREADS, thread_name_prefix="nlptasks-surface")


_pool: ThreadPoolExecutor
_set_up()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_set_up)


@dataclass(frozen=True)
class Step:
    """The progress of a computation.

    `text` is the output of a stream so far; `completed` of `total` pieces have been read. The last step has `result`.
    """

    seconds: float
    text: str = ""
    completed: int = 0
    total: int = 0
    result: Any = None


async def in_thread(
    call: Callable[[], T], *, every: float = 0.2, cancel: CancelToken | None = None
) -> AsyncGenerator[T | None, None]:
    """None, at most `every` seconds apart, while a call runs in a thread; then its return value.

    Read it within `contextlib.aclosing`: leaving the loop early sets `cancel`, which the call should check. Raises
    what the call raises, and CancelledError if the call does not end within `GRACE` seconds of `cancel`.
    """
    token = cancel or CancelToken()
    future = asyncio.get_running_loop().run_in_executor(_pool, call)
    try:
        while not future.done():
            await asyncio.wait({future}, timeout=every)
            if token.cancelled:
                await asyncio.wait({future}, timeout=GRACE)
            if not future.done():
                token.raise_if_cancelled()
                yield None
        yield future.result()
    finally:
        if not future.done():
            token.cancel()
        # Nobody reads the thread's result any more.
        future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


async def answer(
    engine: Engine,
    task: str,
    inputs: Any,
    *,
    every: float = 0.2,
    stream: bool = False,
    cancel: CancelToken | None = None,
    **arguments: Any,
) -> AsyncGenerator[Step, None]:
    """Steps of `Engine.run`, at most `every` seconds apart; the last one has the result or the list of results.

    With `stream`, it is `Engine.stream`; `arguments` go to either. Read it within `contextlib.aclosing`: leaving the
    loop ends the computation within one step. Raises what they raise, and CancelledError as `in_thread` does.
    """
    token = cancel or CancelToken()
    text, counts, start = "", (0, 0), time.monotonic()

    def report(completed: int, total: int) -> None:
        nonlocal counts
        counts = (completed, total)

    def compute() -> Any:
        nonlocal text
        if not stream:
            return engine.run(task, inputs, progress=report, cancel=token, **arguments)
        with engine.stream(task, inputs, progress=report, cancel=token, **arguments) as pieces:
            for piece in pieces:
                text += piece
            return pieces.result()

    async with aclosing(in_thread(compute, every=every, cancel=token)) as results:
        async for result in results:
            yield Step(time.monotonic() - start, text, *counts, result=result)
