"""What happened in a training so far, out of its events; read on from where the last look ended."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nlptasks.training import Event, read_events

_KEPT_LINES = 200


@dataclass
class History:
    """A training's curves and log. `offset` is how far its events were read.

    `steps` are (step, loss, learning rate), `evaluations` (step, average training loss, metrics, whether it was the
    best so far).
    """

    offset: int = 0
    total: int = 0
    done: int = 0
    epochs: float = 0.0
    metric: str = "loss"
    headline: str = "loss"
    steps: list[tuple[int, float, float]] = field(default_factory=list)
    evaluations: list[tuple[int, float, dict[str, float], bool]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _clock: tuple[float, int] | None = None
    _last: tuple[float, int] | None = None

    def add(self, event: Event) -> None:
        """Take one event in."""
        values = event.values
        if event.kind == "start":
            self._start(values)
        elif event.kind == "step":
            self.done = values["step"]
            self.steps.append((values["step"], values["loss"], values.get("lr", 0.0)))
            self._last = (values["time"], values["step"])
        elif event.kind == "evaluation":
            # Of quick steps not every one is told.
            self.done = max(self.done, values["step"])
            self.evaluations.append((values["step"], values["train_loss"], values["metrics"], values["best"]))
        line = self._line(event)
        if line:
            self.lines = [
                *self.lines[1 - _KEPT_LINES :],
                f"{time.strftime('%H:%M:%S', time.localtime(values['time']))}  {line}",
            ]

    @property
    def seconds_left(self) -> float | None:
        """How long the remaining steps will take at the pace so far; None before it is known."""
        if not (self._clock and self._last and self.total):
            return None
        steps = self._last[1] - self._clock[1]
        if steps < 2:
            return None
        return (self._last[0] - self._clock[0]) / steps * (self.total - self._last[1])

    def _start(self, values: dict[str, Any]) -> None:
        self.total, self.epochs = values["steps"], values["epochs"]
        self.metric, self.headline = values["metric"], values["headline"]
        self.done = values["done"]
        # What a killed process did behind its last checkpoint is done again.
        self.steps = [row for row in self.steps if row[0] <= self.done]
        self.evaluations = [row for row in self.evaluations if row[0] <= self.done]
        self._clock, self._last = (values["time"], self.done), None

    def _line(self, event: Event) -> str:
        values = event.values
        match event.kind:
            case "note" | "model" | "gate":
                return str(values["text"])
            case "warning":
                return f"Warning: {values['text']}"
            case "start":
                begun = f"goes on behind step {values['done']}" if values["done"] else "begins"
                return f"Training {begun}: {values['steps']} steps in {values['epochs']:g} epochs"
            case "evaluation":
                names = dict.fromkeys((self.headline, self.metric, "loss"))
                shown = ", ".join(f"{name} {values['metrics'][name]:.4f}" for name in names)
                best = " (best so far)" if values["best"] else ""
                return f"Step {values['step']}, epoch {values['epoch']:g}: validation {shown}{best}"
            case "checkpoint":
                return f"Checkpoint at step {values['step']}"
            case "published":
                return "The adapter is published"
            case "interrupted":
                return f"Stopped at step {values['step']}, with a checkpoint"
            case "failed":
                return f"Failed: {values['text']}"
        return ""


class Histories:
    """The histories of all trainings that somebody looked at; each look reads only what is new."""

    def __init__(self) -> None:
        self._known: dict[Path, History] = {}
        self._lock = threading.Lock()

    def read(self, events: Path) -> History:
        """A training's history up to now."""
        with self._lock:
            history = self._known.setdefault(events, History())
            found, history.offset = read_events(events, history.offset)
            for event in found:
                history.add(event)
            return history
