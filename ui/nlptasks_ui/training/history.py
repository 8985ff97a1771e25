"""The history of a training, read from its events; each read continues where the last one ended."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nlptasks.training import Event, read_events

_MAX_LINES = 200


@dataclass
class History:
    """A training's curves and log. `offset` is the position in its events file up to which it has been read.

    `steps` are (step, loss, learning rate), `evaluations` (step, average training loss, metrics, whether it was the
    best so far). `phase` is what it is doing after its last step, or "".
    """

    offset: int = 0
    total: int = 0
    completed: int = 0
    epochs: float = 0.0
    metric: str = "loss"
    headline: str = "loss"
    phase: str = ""
    steps: list[tuple[int, float, float]] = field(default_factory=list)
    evaluations: list[tuple[int, float, dict[str, float], bool]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _clock: tuple[float, int] | None = None
    _last: tuple[float, int] | None = None

    def add(self, event: Event) -> None:
        """Add one event."""
        values = event.values
        if event.kind == "start":
            self._start(values)
        elif event.kind == "step":
            self.completed = values["step"]
            self.steps.append((values["step"], values["loss"], values.get("lr", 0.0)))
            self._last = (values["time"], values["step"])
        elif event.kind == "evaluation":
            # Quick steps do not all have an event of their own.
            self.completed = max(self.completed, values["step"])
            self.evaluations.append((values["step"], values["train_loss"], values["metrics"], values["best"]))
        elif event.kind == "phase":
            self.phase = values["text"]
        line = self._line(event)
        if line:
            self.lines = [
                *self.lines[1 - _MAX_LINES :],
                f"{time.strftime('%H:%M:%S', time.localtime(values['time']))}  {line}",
            ]

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the remaining steps will take at the current pace; None while unknown."""
        if not (self._clock and self._last and self.total):
            return None
        steps = self._last[1] - self._clock[1]
        if steps < 2:
            return None
        return (self._last[0] - self._clock[0]) / steps * (self.total - self._last[1])

    def _start(self, values: dict[str, Any]) -> None:
        self.total, self.epochs = values["steps"], values["epochs"]
        self.metric, self.headline = values["metric"], values["headline"]
        self.completed, self.phase = values["done"], ""
        # Steps that a killed process made after its last checkpoint are repeated.
        self.steps = [row for row in self.steps if row[0] <= self.completed]
        self.evaluations = [row for row in self.evaluations if row[0] <= self.completed]
        self._clock, self._last = (values["time"], self.completed), None

    def _line(self, event: Event) -> str:
        values = event.values
        match event.kind:
            case "note" | "model" | "phase" | "gate":
                return str(values["text"])
            case "warning":
                return f"Warning: {values['text']}"
            case "start":
                begins = f"continues after step {values['done']}" if values["done"] else "starts"
                return f"Training {begins}: {values['steps']} steps in {values['epochs']:g} epochs"
            case "evaluation":
                names = dict.fromkeys((self.headline, self.metric, "loss"))
                metrics = ", ".join(f"{name} {values['metrics'][name]:.4f}" for name in names)
                best = " (best so far)" if values["best"] else ""
                return f"Step {values['step']}, epoch {values['epoch']:g}: validation {metrics}{best}"
            case "checkpoint":
                return f"Checkpoint at step {values['step']}"
            case "published":
                return "Adapter published"
            case "interrupted":
                return f"Stopped at step {values['step']}; checkpoint saved"
            case "failed":
                return f"Failed: {values['text']}"
        return ""


class Histories:
    """The histories of all trainings that have been viewed; each read adds only new events."""

    def __init__(self) -> None:
        self._known: dict[Path, History] = {}
        self._lock = threading.Lock()

    def read(self, events: Path) -> History:
        """A training's history up to now."""
        with self._lock:
            history = self._known.setdefault(events, History())
            new, history.offset = read_events(events, history.offset)
            for event in new:
                history.add(event)
            return history
