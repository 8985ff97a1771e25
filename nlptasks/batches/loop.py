"""Parts of rows are read, answered and written, at the same time; what is written stays."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO, NamedTuple, Protocol, Self

from nlptasks import DataError, NlptasksError, __version__
from nlptasks.batches.answers import Outcome
from nlptasks.batches.columns import json_line
from nlptasks.batches.joining import join
from nlptasks.batches.parts import PartFolder, Shard, Size, digest_of
from nlptasks.batches.rows import TaskRow

REPORT_SECONDS = 0.2
_RATE_STEPS = 50
"""The rate is that of the last reports, which evens out short stops."""


class BatchProgress(NamedTuple):
    """How far a batch is: rows with an outcome, of `total` if that is known, and the errors among them.

    `rate` is in rows a second, `left` in seconds; both are None while unknown. `saved` are the rows of finished parts,
    from which a batch that is stopped goes on.
    """

    rows: int
    errors: int
    total: int | None
    rate: float | None
    left: float | None
    saved: int = 0


class PartRows(NamedTuple):
    """The rows of a part, counted from 0; `first` is the number of its first row, from 1. The rows of other shards
    have no digest."""

    number: int
    first: int
    rows: list[TaskRow]
    digest: str


class Answers(NamedTuple):
    """The rows of a part as lines of JSON, how many have no answer, and place and error of the first of those."""

    lines: list[bytes]
    errors: int
    fault: str

    @classmethod
    def of(cls, first: int, outcomes: Sequence[Outcome], line: Callable[[int, Outcome], bytes]) -> Self:
        """The lines of outcomes, which `line` makes; they are numbered from `first`."""
        lines = [line(number, outcome) for number, outcome in enumerate(outcomes, start=first)]
        faults = [f"{outcome.row.place}: {outcome.error}" for outcome in outcomes if outcome.error]
        return cls(lines, len(faults), faults[0] if faults else "")


@dataclass(frozen=True)
class BatchReport:
    """What a batch wrote. `rows` and `errors` are those of its shard, `computed` the rows that were answered just now.

    `output` is None for a shard, whose parts wait for `join_shards`.
    """

    rows: int
    errors: int
    computed: int
    output: Path | None


class Work(Protocol):
    """What answers the rows of a batch."""

    def identity(self) -> Mapping[str, Any]:
        """What decides the answers, as JSON values; `columns` has the kinds of the answer's columns by their names."""
        ...

    def answer_parts(
        self, parts: Iterator[PartRows], advance: Callable[[float], None] | None
    ) -> Generator[tuple[PartRows, Answers], None, None]:
        """The parts with their answers, in any order. `advance` gets the rows that are answered of a part under way."""
        ...


class Job(Work, Protocol):
    """What a batch does with the rows of a source, which has a `name`."""

    name: str

    def rows(self) -> Iterator[TaskRow]:
        """All rows, as they are read."""
        ...

    def count(self) -> int | None:
        """The number of rows, None if only reading all of them tells it."""
        ...


def answer_in_turn(
    parts: Iterator[PartRows],
    advance: Callable[[float], None] | None,
    answer: Callable[[Sequence[TaskRow], Callable[[int, int], None] | None], list[Outcome]],
    line: Callable[[int, Outcome], bytes],
) -> Generator[tuple[PartRows, Answers], None, None]:
    """The parts with their answers, one after the other on this thread; `answer` gets the rows and a progress."""
    for part in parts:
        size = len(part.rows)

        def progress(completed: int, total: int, size: int = size) -> None:
            if advance:
                advance(size * completed / max(1, total))

        yield part, Answers.of(part.first, answer(part.rows, progress if advance else None), line)


@dataclass
class PartLoop:
    """One run of a job. `part_rows` are answered and written at once."""

    job: Job
    part_rows: int
    shard: Shard
    fail_fast: bool = False
    report: Callable[[BatchProgress], None] | None = None

    def __post_init__(self) -> None:
        self._rows = self._errors = self._computed = 0
        self._total: int | None = None
        self._size = Size(0, 0)
        self._steps: deque[tuple[float, float]] = deque(maxlen=_RATE_STEPS)
        self._next_report = 0.0

    def to_stream(self, stream: BinaryIO) -> BatchReport:
        """Write every row as soon as its part is answered, and keep nothing."""
        for _, answers in self._answers(self._parts()):
            stream.writelines(answers.lines)
            stream.flush()
            self._count_answers(answers)
        return BatchReport(self._rows, self._errors, self._computed, None)

    def to_file(self, output: Path, *, restart: bool = False) -> BatchReport:
        """Compute what is missing, and make the output if this is the whole batch."""
        folder = PartFolder(self.shard.folder(output))
        if output.exists() and not restart and not folder.begun:
            raise NlptasksError(
                f"{output}: expected no such file, found one: choose another output, or add --restart to replace it."
            )
        whole = self.shard.count == 1
        with folder.locked():
            try:
                folder.begin(self._identity(), restart=restart)
                if not (folder.joined and output.exists()):
                    folder.end(self._compute(folder))
                    if whole:
                        join([folder], output)
            except BaseException:
                if not folder.parts:
                    folder.remove()  # nothing was answered yet
                raise
            if whole:
                folder.remove()
        rows = folder.size.rows if whole and folder.size else self._rows
        return BatchReport(rows, self._errors, self._computed, output if whole else None)

    def _identity(self) -> dict[str, Any]:
        sizes = {"rows of a part": self.part_rows, "shards": self.shard.count}
        return {"nlptasks": __version__, **self.job.identity(), **sizes}

    def _compute(self, folder: PartFolder) -> Size:
        """Answer the parts of this shard that are not there."""
        if self.report:
            Thread(target=self._count, daemon=True).start()
        # One thread reads ahead, the other writes the last part, while the job computes.
        with ThreadPoolExecutor(2, "nlptasks-batch") as pool:
            written: Future[None] | None = None
            with closing(self._answers(self._missing(folder, pool))) as answered:
                for part, answers in answered:
                    if written:
                        written.result()
                    written = pool.submit(folder.write, part.number, part.digest, answers.lines, answers.errors)
                    self._count_answers(answers)
            if written:
                written.result()
        if not self._size.rows:
            raise DataError(f"{self.job.name}: expected rows, found none.")
        return self._size

    def _missing(self, folder: PartFolder, pool: ThreadPoolExecutor) -> Iterator[PartRows]:
        """The parts of this shard that are not there; the next one is read ahead."""
        parts = self._parts()
        upcoming = pool.submit(next, parts, None)
        while part := upcoming.result():
            upcoming = pool.submit(next, parts, None)
            self._size = Size(part.number + 1, part.first + len(part.rows) - 1)
            if not self.shard.has(part.number):
                continue
            if earlier := folder.find(part.number, part.digest, len(part.rows)):
                self._advance(len(part.rows), earlier.errors)
            else:
                yield part

    def _parts(self) -> Iterator[PartRows]:
        rows = self.job.rows()
        for number in count():
            first = number * self.part_rows + 1
            part = list(islice(rows, self.part_rows))
            if not part:
                return
            # Also what a stream holds must be the same when a batch goes on.
            lines = (json_line([row.value, dict(row.fields), row.error]) for row in part)
            yield PartRows(number, first, part, digest_of(lines) if self.shard.has(number) else "")

    def _answers(self, parts: Iterator[PartRows]) -> Generator[tuple[PartRows, Answers], None, None]:
        with closing(self.job.answer_parts(parts, self._tell if self.report else None)) as answered:
            for part, answers in answered:
                if answers.fault and self.fail_fast:
                    raise NlptasksError(answers.fault)
                yield part, answers

    def _count_answers(self, answers: Answers) -> None:
        self._computed += len(answers.lines)
        self._advance(len(answers.lines), answers.errors)

    def _count(self) -> None:
        with suppress(NlptasksError):
            if (total := self.job.count()) is not None:
                self._total = max(1, total // self.shard.count)

    def _advance(self, rows: int, errors: int) -> None:
        self._rows += rows
        self._errors += errors
        self._tell(0)

    def _tell(self, under_way: float) -> None:
        """Report the progress; `under_way` are the rows of the current part that were answered."""
        now = time.monotonic()
        if not self.report or (under_way and now < self._next_report):
            return
        self._next_report = now + REPORT_SECONDS
        rows = self._rows + int(under_way)
        self._steps.append((now, rows))
        (start, before), *_ = self._steps
        rate = (rows - before) / (now - start) if now > start and rows > before else None
        left = (self._total - rows) / rate if self._total and rate else None
        self.report(BatchProgress(rows, self._errors, self._total, rate, left, self._rows))
