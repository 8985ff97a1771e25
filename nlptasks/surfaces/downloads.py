"""Callbacks for an engine's `on_progress`: downloads as a line of a page, lines of a log, or a bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlptasks.store import Progress

_STALE = 5.0
"""Seconds after which the last step is taken to be over."""


class Downloads:
    """Keeps the last step. Thread-safe."""

    def __init__(self) -> None:
        self._last: tuple[float, Progress] | None = None

    def __call__(self, progress: Progress) -> None:
        self._last = (time.monotonic(), progress)

    def line(self) -> str:
        """The current download in a few words; empty if there is none."""
        if self._last is None or time.monotonic() - self._last[0] > _STALE:
            return ""
        return _words(self._last[1], 1)


class DownloadLog:
    """Writes a line for each step of a download, and within it for each `percent` of its bytes (100: none)."""

    def __init__(self, write: Callable[[str], object], percent: int = 10) -> None:
        self._write = write
        self._percent = percent
        self._last = ""

    def __call__(self, progress: Progress) -> None:
        line = _words(progress, self._percent)
        if line != self._last:
            self._last = line
            self._write(line)


class DownloadBar:
    """A bar on stderr, or one line per step if that is no terminal; silent if nothing is downloaded."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._log = DownloadLog(lambda line: print(line, file=sys.stderr, flush=True), percent=100)

    def __call__(self, progress: Progress) -> None:
        if not sys.stderr.isatty():
            self._log(progress)
            return
        from rich import progress as rich
        from rich.console import Console

        if self._bar is None:
            columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.DownloadColumn())
            self._bar = rich.Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        if [row.description for row in self._bar.tasks] != [progress.label]:
            for row in self._bar.task_ids:
                self._bar.remove_task(row)
            self._bar.add_task(progress.label, total=progress.total)
        self._bar.update(self._bar.task_ids[0], completed=progress.completed, total=progress.total)
        if progress.total is not None and progress.completed >= progress.total:
            self.close()

    def __enter__(self) -> DownloadBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the bar; the next download draws a new one."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _words(progress: Progress, percent: int) -> str:
    if not progress.total or percent >= 100:
        return progress.label
    return f"{progress.label}, {100 * progress.completed // progress.total // percent * percent} %"
