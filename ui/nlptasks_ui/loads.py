"""What is on its way into memory: the last thing that a download told, for everyone who waits for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlptasks import Engine

_STALE = 5.0
"""Seconds after which a step that nobody followed up is no longer news."""


class Loads:
    """The `on_progress` of an engine. Any thread may ask for `line`."""

    def __init__(self) -> None:
        self._last: tuple[float, Any] | None = None

    def __call__(self, progress: Any) -> None:
        self._last = (time.monotonic(), progress)

    def line(self) -> str:
        """The download that runs now, in a few words; empty when there is none."""
        if self._last is None or time.monotonic() - self._last[0] > _STALE:
            return ""
        step = self._last[1]
        if not step.total:
            return str(step.label)
        return f"{step.label}, {100 * step.done // step.total} %"


def waiting_for(engine: Engine, task: str, adapter: str | None, model: str | None) -> str:
    """The base that a request will have to wait for; empty when it is in memory."""
    _, base = engine.choose(engine.plugins.task(task), adapter, model)
    loaded = {held.name for held in engine.resident() if held.num_bytes}
    return "" if base in loaded else base
