"""Coroutines that a token ends, and several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from nlptasks.model import CancelToken

T = TypeVar("T")
Put = Callable[[Any], None]

STEP = 0.05
"""Seconds after which a cancelled call closes its connections, at most."""


async def each(works: Sequence[Awaitable[T]], put: Put) -> list[T]:
    """What the works return, in order, all at once; `put` gets 1 for each. The first that fails cancels the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    for task in tasks:
        task.add_done_callback(lambda task: None if task.cancelled() or task.exception() else put(1))
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def under(cancel: CancelToken, work: Coroutine[Any, Any, T]) -> T:
    """What the work returns; raises CancelledError, and ends the work, within `STEP` of `cancel`."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=STEP)
            if cancel.cancelled and not task.done():
                cancel.raise_if_cancelled()
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
