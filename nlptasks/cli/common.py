"""What several commands share: option values, download progress."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nlptasks.store.download import Progress


def option_values(pairs: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """`-o KEY VALUE` pairs; a value that is JSON is read as JSON, else it is a text."""
    values: dict[str, Any] = {}
    for key, text in pairs:
        try:
            values[key.replace("-", "_")] = json.loads(text)
        except json.JSONDecodeError:
            values[key.replace("-", "_")] = text
    return values


class DownloadBar:
    """Shows a download on stderr, where that is no terminal as a line a step; silent when nothing is downloaded."""

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
                click.echo(progress.label, err=True)
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

    def close(self) -> None:
        """Remove the bar; the next download draws a new one."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._row, self._label = None, None, ""
