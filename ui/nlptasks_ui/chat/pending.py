"""An answer that is asked for: whether its turn has come, and how it is ended."""

from __future__ import annotations

import asyncio
from typing import TypeGuard

from nlptasks import CancelToken

ON_ITS_WAY = 0.15
"""Seconds after which the page has what an answer said before; gradio sends what there is twenty times a second."""


class Ticket:
    """One answer that is asked for: what stops it, and whether it has begun or ended, or is out of sight."""

    def __init__(self) -> None:
        self.cancel = CancelToken()
        self.begun = False
        self.ended = False
        self.left = False


def is_busy(ticket: Ticket | None) -> TypeGuard[Ticket]:
    """Whether there is an answer that still waits or comes, in sight."""
    return ticket is not None and not ticket.ended and not ticket.left


async def leave(ticket: Ticket | None) -> None:
    """End an answer whose conversation goes out of sight; it must not show itself in the next one.

    Gradio's `cancels` would not do: it lets what is on its way arrive later, and shows an error.
    """
    if not is_busy(ticket):
        return
    ticket.left = True
    ticket.cancel.cancel()
    await asyncio.sleep(ON_ITS_WAY)
