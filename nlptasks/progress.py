"""Progress of a run: a bar on stderr or the caller's own callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def reporting(progress: bool | Callable[[int, int], None], total: int) -> Iterator[Callable[[int], None] | None]:
    """A function that takes how many more pieces are done, or None when nobody wants to know.

    A long text is read in several windows, so pieces may come to more than `total` inputs; the total grows
    with them.
    """
    if progress is False:
        yield None
        return
    done = 0
    if callable(progress):
        report = progress

        def advance(count: int) -> None:
            nonlocal done
            done += count
            report(done, max(total, done))

        yield advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(
        BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        row = bar.add_task("", total=total)

        def show(count: int) -> None:
            nonlocal done
            done += count
            bar.update(row, completed=done, total=max(total, done))

        yield show
