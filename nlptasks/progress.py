"""Progress of a run: a bar on stderr or the caller's own callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Counter:
    """What is done of what was asked for; neither number ever falls, and at the end they are equal.

    There is at least one piece an input. A long text is read in several windows or chunks, and a task may go on with
    what came of them: the total grows when such a call to the model begins.
    """

    def __init__(self, report: Callable[[int, int], None], inputs: int) -> None:
        self._report = report
        self._inputs = inputs
        self._asked = 0
        self._done = 0

    def ask(self, count: int) -> None:
        """So many more pieces go to the model."""
        self._asked += count

    def advance(self, count: int) -> None:
        """So many more pieces are done."""
        self._done += count
        self._report(self._done, max(self._inputs, self._asked, self._done))

    def end(self) -> None:
        """Everything is done; some inputs may have needed no model."""
        if self._done < self._inputs:
            self.advance(self._inputs - self._done)


@contextmanager
def reporting(progress: bool | Callable[[int, int], None], inputs: int) -> Iterator[Counter | None]:
    """A counter that reports to a bar or to the caller's callback, or None when nobody wants to know."""
    if progress is False:
        yield None
        return
    if callable(progress):
        counter = Counter(progress, inputs)
        yield counter
        counter.end()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(
        BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        row = bar.add_task("", total=inputs)
        counter = Counter(lambda done, total: bar.update(row, completed=done, total=total), inputs)
        yield counter
        counter.end()
