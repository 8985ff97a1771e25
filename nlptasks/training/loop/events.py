"""The events of a training as small records, for the terminal, a file and other listeners."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal[
    "note", "warning", "model", "start", "step", "evaluation", "checkpoint", "phase", "gate", "published",
    "interrupted", "failed",
]  # fmt: skip


@dataclass(frozen=True)
class Event:
    """One event; `values` are plain JSON values."""

    kind: Kind
    values: dict[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]


class Events:
    """Sends events to listeners; a step is sent at most every `interval` seconds, all others always."""

    def __init__(self, listeners: Sequence[Listener], interval: float = 0.2) -> None:
        self._listeners = list(listeners)
        self._interval = interval
        self._last_step = 0.0

    def __call__(self, kind: Kind, **values: Any) -> None:
        if kind == "step":
            now = time.monotonic()
            if now - self._last_step < self._interval:
                return
            self._last_step = now
        event = Event(kind, values)
        for listener in self._listeners:
            listener(event)


class EventFile:
    """Appends every event as a line of JSON; a reader may follow the file while it grows (`read_events`)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def __call__(self, event: Event) -> None:
        line = json.dumps({"time": round(time.time(), 3), "event": event.kind, **event.values}, ensure_ascii=False)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def read_events(path: Path, start: int = 0) -> tuple[list[Event], int]:
    """The events after byte `start`, and the byte at which the next call should start.

    Their values have `time`, in seconds since 1970. An incomplete last line is left to the next call, a line that is no
    event, as a killed process may leave it, is skipped; a missing file has no events.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            content = stream.read()
    except FileNotFoundError:
        return [], start
    whole = content[: content.rfind(b"\n") + 1]
    return [event for line in whole.splitlines() if (event := _parsed(line))], start + len(whole)


def _parsed(line: bytes) -> Event | None:
    try:
        values = json.loads(line)
        return Event(values.pop("event"), values)
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
