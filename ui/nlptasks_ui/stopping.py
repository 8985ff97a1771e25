"""Buttons that stop what their tab has under way.

Gradio's own `cancels` closes a generator in the middle, while what it said last is still on its way: the page then
shows a draft for ever, or an error. So a computation is asked to end and says itself that it did; `cancels` is only for
an event that still waits in the queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nlptasks import CancelToken
from nlptasks_ui.events import LIGHT, of_request

PATIENCE = 5.0
"""Seconds that a button waits for a computation to end; it has two of them to say what it has."""


class Running:
    """The computations of one kind that are under way, at most one in a tab; a tab is gradio's session hash."""

    def __init__(self) -> None:
        self._tokens: dict[str, CancelToken] = {}

    @contextmanager
    def begun(self, tab: str) -> Iterator[CancelToken]:
        """A computation that can be stopped for as long as the block lasts; its token is cancelled at the end."""
        token = self._tokens[tab] = CancelToken()
        try:
            yield token
        finally:
            token.cancel()
            if self._tokens.get(tab) is token:
                del self._tokens[tab]

    async def stop(self, tab: str) -> bool:
        """Ask a tab's computation to end, and wait until it has. False: none was under way."""
        token = self._tokens.get(tab)
        if token is None:
            return False
        token.cancel()
        end = time.monotonic() + PATIENCE
        while self._tokens.get(tab) is token and time.monotonic() < end:
            await asyncio.sleep(0.02)
        return True

    def stopped_by(self, button: Any) -> tuple[Any, Any]:
        """Let a button end its tab's computation; the event, and a component that then says whether there was one."""
        import gradio as gr

        async def stop(request: Any) -> bool:
            return await self.stop(str(request.session_hash))

        had_begun = gr.Checkbox(visible=False)
        return button.click(of_request(stop), None, had_begun, **LIGHT), had_begun
