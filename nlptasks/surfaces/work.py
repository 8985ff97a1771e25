"""A computation in a thread, with its progress told as it goes, and ended when nobody waits any more."""

from __future__ import annotations

import asyncio
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
"""Computations at once; a surface's queue lets fewer through."""

GRACE = 2.0
"""Seconds in which a cancelled computation may still say what it has; a step may be longer."""

T = TypeVar("T")

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="nlptasks-surface")


@dataclass(frozen=True)
class Step:
    """How far a computation is.

    `text` is what a stream has written, `done` of `total` the pieces read; the last step of all has the `result`.
    """

    seconds: float
    text: str = ""
    done: int = 0
    total: int = 0
    result: Any = None


async def in_thread(
    call: Callable[[], T], *, every: float = 0.2, cancel: CancelToken | None = None
) -> AsyncGenerator[T | None, None]:
    """None, at most `every` seconds apart, while a call runs in a thread; then what it returns.

    Read it within `contextlib.aclosing`: leaving the loop before the end cancels `cancel`, which the call should look
    at. Raises what the call raises; once `cancel` is cancelled, the call ends within `GRACE` seconds or
    CancelledError is raised.
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
        # Whatever the thread still says has no reader any more.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())


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
    """Steps of a task's computation, at most `every` seconds apart; the last one has the result or the list of results.

    `arguments` go to `Engine.run`, or to `Engine.stream` with `stream`. Read it within `contextlib.aclosing`: leaving
    the loop then ends the computation within one step. Raises what `Engine.run` raises; once `cancel` is cancelled, it
    has what comes within `GRACE` seconds or raises CancelledError.
    """
    token = cancel or CancelToken()
    text, counts, start = "", (0, 0), time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal counts
        counts = (done, total)

    def compute() -> Any:
        nonlocal text
        if not stream:
            return engine.run(task, inputs, progress=report, cancel=token, **arguments)
        with engine.stream(task, inputs, cancel=token, **arguments) as pieces:
            for piece in pieces:
                text += piece
            return pieces.result()

    async with aclosing(in_thread(compute, every=every, cancel=token)) as results:
        async for result in results:
            yield Step(time.monotonic() - start, text, *counts, result=result)
