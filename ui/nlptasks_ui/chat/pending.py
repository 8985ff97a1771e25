"""An answer that the user waits for: whether it has started, and how it is abandoned."""

from __future__ import annotations

import asyncio
from typing import TypeGuard

from nlptasks import CancelToken

DELIVERY_SECONDS = 0.15
"""Seconds after which updates that were already sent have reached the page; Gradio sends them twenty times a second."""


class PendingAnswer:
    """The state of one answer: the token that stops it, and whether it has started, finished or been abandoned."""

    def __init__(self) -> None:
        self.cancel = CancelToken()
        self.started = False
        self.finished = False
        self.abandoned = False


def is_busy(pending: PendingAnswer | None) -> TypeGuard[PendingAnswer]:
    """Whether an answer of the open conversation is still waiting or being written."""
    return pending is not None and not pending.finished and not pending.abandoned


async def abandon(pending: PendingAnswer | None) -> None:
    """Stop an answer whose conversation is being closed, so that it does not appear in the next one.

    Gradio's `cancels` would not do: it lets updates on their way arrive later, and shows an error.
    """
    if not is_busy(pending):
        return
    pending.abandoned = True
    pending.cancel.cancel()
    await asyncio.sleep(DELIVERY_SECONDS)
