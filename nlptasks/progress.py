"""Progress of a run: a bar on stderr or the caller's callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Counter:
    """Counts the pieces of a run: neither number ever falls, and at the end they are equal.

    Every input has at least one piece. A long text is read in several windows or chunks, and a task may call the model
    again on the results: the total grows when such a call begins.
    """

    def __init__(self, report: Callable[[int, int], None], inputs: int) -> None:
        self._report = report
        self._inputs = inputs
        self._expected = 0
        self._completed = 0

    def ask(self, count: int) -> None:
        """Add pieces that go to the model."""
        self._expected += count

    def advance(self, count: int) -> None:
        """Report pieces as completed."""
        self._completed += count
        self._report(self._completed, max(self._inputs, self._expected, self._completed))

    def end(self) -> None:
        """Report everything as completed; some inputs may have needed no model."""
        if self._completed < self._inputs:
            self.advance(self._inputs - self._completed)


@contextmanager
def reporting(progress: bool | Callable[[int, int], None], inputs: int) -> Iterator[Counter | None]:
    """A counter that reports to a bar or to the caller's callback; None without progress."""
    if progress is False:
        yield None
        return
    if callable(progress):
        counter = Counter(progress, inputs)
        yield counter
        counter.end()
        return
    from tqdm import tqdm

    with tqdm(total=inputs, leave=False) as bar:

        def advance(completed: int, total: int) -> None:
            bar.total = total
            bar.update(completed - bar.n)

        counter = Counter(advance, inputs)
        yield counter
        counter.end()
