"""Buttons that stop the computation of their tab.

Gradio's own `cancels` closes a generator while its last update is still on the way to the page, which then shows a
draft forever, or an error. So a computation is asked to stop and sends its last update itself; `cancels` is only for an
event that still waits in the queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nlptasks import CancelToken
from nlptasks_ui.events import LIGHT, of_request

STOP_TIMEOUT = 5.0
"""Seconds that a button waits for a computation to end, which itself has two seconds to return what it has."""


class Running:
    """The running computations of one kind, at most one per tab; a tab is identified by Gradio's session hash."""

    def __init__(self) -> None:
        self._tokens: dict[str, CancelToken] = {}

    @contextmanager
    def track(self, tab: str) -> Iterator[CancelToken]:
        """A token by which the computation in this block can be stopped; it is cancelled when the block ends."""
        token = self._tokens[tab] = CancelToken()
        try:
            yield token
        finally:
            token.cancel()
            if self._tokens.get(tab) is token:
                del self._tokens[tab]

    async def stop(self, tab: str) -> bool:
        """Stop a tab's computation and wait until it has ended; False if none was running."""
        token = self._tokens.get(tab)
        if token is None:
            return False
        token.cancel()
        end = time.monotonic() + STOP_TIMEOUT
        while self._tokens.get(tab) is token and time.monotonic() < end:
            await asyncio.sleep(0.02)
        return True

    def stopped_by(self, button: Any) -> tuple[Any, Any]:
        """Let a button stop its tab's computation; the event, and a component that holds whether one was running."""
        import gradio as gr

        async def stop(request: Any) -> bool:
            return await self.stop(str(request.session_hash))

        was_running = gr.Checkbox(visible=False)
        return button.click(of_request(stop), None, was_running, **LIGHT), was_running
