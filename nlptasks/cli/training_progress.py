"""The events of a training on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import Any

from nlptasks.training import Event


class TerminalProgress:
    """A bar with the running loss, and a line that stays for every evaluation.

    Use as a context manager, so that the bar is removed whatever happens.
    """

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Any = None
        self._row: Any = None
        self._epochs = 0.0
        self._metric = self._headline = "accuracy"

    def __enter__(self) -> TerminalProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the bar; safe to call twice."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, event: Event) -> None:
        values = event.values
        if event.kind == "start":
            self._start(values)
        elif event.kind == "step":
            self._step(values)
        elif event.kind == "evaluation":
            self._print(self._evaluation(values))
        elif event.kind == "warning":
            self._print(f"Warning: {values['text']}")
        elif event.kind in {"note", "model", "phase", "gate"}:
            self._print(values["text"])
        elif event.kind in {"published", "failed", "interrupted"}:
            self.close()

    def _start(self, values: dict[str, Any]) -> None:
        self._epochs, self._metric, self._headline = values["epochs"], values["metric"], values["headline"]
        if not self._console.is_terminal:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._bar.start()
        self._row = self._bar.add_task("training", total=values["steps"], completed=values["done"])

    def _step(self, values: dict[str, Any]) -> None:
        if self._bar is not None:
            label = f"epoch {values['epoch']:.1f}/{self._epochs:g}  loss {values['loss']:.4f}"
            self._bar.update(self._row, completed=values["step"], description=label)

    def _evaluation(self, values: dict[str, Any]) -> str:
        metrics = values["metrics"]
        headline = f"validation {self._headline} {metrics[self._headline]:.4f}"
        parts = [f"average loss {values['train_loss']:.4f}", headline]
        if self._metric not in {self._headline, "loss"}:
            parts.append(f"{self._metric} {metrics[self._metric]:.4f}")
        parts.append(f"validation loss {metrics['loss']:.4f}")
        best = "  (best so far)" if values["best"] else ""
        return f"epoch {round(values['epoch'], 2):g}/{self._epochs:g}: {', '.join(parts)}{best}"

    def _print(self, text: str) -> None:
        (self._bar.console if self._bar is not None else self._console).print(text, markup=False)
