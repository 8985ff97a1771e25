"""The `on_progress` of an engine: what is being fetched, as a line of a page, lines of a log or a terminal's bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlptasks.store import Progress

_STALE = 5.0
"""Seconds after which a step that nobody followed up is no longer news."""


class Downloads:
    """Keeps the last step, for everyone who waits for it. Any thread may ask for `line`."""

    def __init__(self) -> None:
        self._last: tuple[float, Progress] | None = None

    def __call__(self, progress: Progress) -> None:
        self._last = (time.monotonic(), progress)

    def line(self) -> str:
        """The download that runs now, in a few words; empty when there is none."""
        if self._last is None or time.monotonic() - self._last[0] > _STALE:
            return ""
        return _words(self._last[1], 1)


class DownloadLog:
    """Writes a line for each step and, within it, for each `percent` of its bytes."""

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
    """A bar on stderr, where that is no terminal a line a step; silent when nothing is downloaded."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._row: Any = None
        self._label = ""

    def __call__(self, progress: Progress) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn
        from rich.progress import Progress as RichProgress

        if not sys.stderr.isatty():
            if progress.label != self._label:
                print(progress.label, file=sys.stderr, flush=True)
                self._label = progress.label
            return
        if self._bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
            self._bar = RichProgress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        if progress.label != self._label:
            if self._row is not None:
                self._bar.remove_task(self._row)
            self._label = progress.label
            self._row = self._bar.add_task(progress.label, total=progress.total)
        self._bar.update(self._row, completed=progress.done, total=progress.total)
        if progress.total is not None and progress.done >= progress.total:
            self.close()

    def __enter__(self) -> DownloadBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the bar; the next download draws a new one."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._row, self._label = None, None, ""


def _words(progress: Progress, percent: int) -> str:
    if not progress.total:
        return progress.label
    return f"{progress.label}, {100 * progress.done // progress.total // percent * percent} %"
