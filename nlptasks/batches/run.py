"""A batch: rows are read, answered and written part by part, at the same time, and what is written stays."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from nlptasks import AnyTask, CancelToken, DataError, NlptasksError, __version__, default_engine
from nlptasks.batches.answers import Outcome, answer_rows
from nlptasks.batches.columns import RowWriter, answer_columns, json_line
from nlptasks.batches.files import output_format
from nlptasks.batches.joining import join
from nlptasks.batches.parts import PartFolder, Shard, Size, digest_of
from nlptasks.batches.rows import RowReader, TaskRow
from nlptasks.batches.sources import Source, file_digest
from nlptasks.data import DataOptions

if TYPE_CHECKING:
    from nlptasks import Engine

READ_ROWS, WRITTEN_ROWS = 1024, 32
"""Rows of a part, for a task with a trained head and for one that writes text."""

REPORT_SECONDS = 0.2
_RATE_STEPS = 50
"""The rate is that of the last reports, which evens out short stops."""


class BatchProgress(NamedTuple):
    """How far a batch is: rows with an outcome, of `total` if that is known, and the errors among them.

    `rate` is in rows a second, `left` in seconds; both are None while unknown.
    """

    rows: int
    errors: int
    total: int | None
    rate: float | None
    left: float | None


class _Rows(NamedTuple):
    """The rows of a part, counted from 0; `first` is the number of its first row, from 1. The rows of other shards
    have no digest."""

    number: int
    first: int
    rows: list[TaskRow]
    digest: str


@dataclass(frozen=True)
class BatchReport:
    """What a batch wrote. `rows` and `errors` are those of its shard, `computed` the rows that were answered just now.

    `output` is None for a shard, whose parts wait for `join_shards`.
    """

    rows: int
    errors: int
    computed: int
    output: Path | None


def batch(
    task: str,
    inputs: Any,
    output: str | Path,
    /,
    *,
    engine: Engine | None = None,
    adapter: str | None = None,
    model: str | None = None,
    reading: DataOptions | None = None,
    by_line: bool = False,
    keep: Collection[str] | None = None,
    part_rows: int | None = None,
    shard: str | None = None,
    restart: bool = False,
    fail_fast: bool = False,
    progress: Callable[[BatchProgress], None] | None = None,
    on_note: Callable[[str], object] | None = None,
    cancel: CancelToken | None = None,
    **fields: Any,
) -> BatchReport:
    """Answer every row of files, a table or an iterable, and write the answers to a file.

    `inputs` is the name of a file, a list of `Path`s, "-" for standard input, a table of pandas, polars, Arrow or
    `datasets`, or an iterable of what `Engine.run` takes. `output` ends in .jsonl, .csv, .parquet or .xlsx; "-" is
    standard output, as JSONL, where no batch can go on. Its columns are `row`, those of the input (those that `keep`
    names, all by default), and `TASK.FIELD` for each field of the answer. A row without an answer has `TASK.error`, and
    costs no other row its answer.

    Memory does not grow with the rows. They are answered in parts of `part_rows`, which are kept in a folder beside the
    output until all are there: killed at any moment and called again alike, a batch goes on after its last part, and
    its output is the same as without the stop. `restart` computes everything anew. `shard`, as in "3/8", computes each
    eighth part, from the third; `join_shards` makes the output of all. `fail_fast` raises the first row's error.
    `progress` is called a few times a second at most, `on_note` with remarks on the columns. All other keywords are
    those of `Engine.run`.

    Raises:
        InvalidInputError: an option that the task does not have.
        DataError: a file that cannot be read at all, or without a column that the task needs.
        CancelledError: `cancel` was set.
        NlptasksError: another process computes this batch, it was begun with something else, or the disk is full.
    """
    engine = engine or default_engine()
    described = engine.plugins.task(task)
    known = described.input_type.model_fields.keys() - described.options_type.model_fields.keys()
    shared = {name: value for name, value in fields.items() if name in known}
    options = {name: value for name, value in fields.items() if name not in known}
    described.validate_options(options)
    run = _Run(
        engine=engine,
        task=described,
        source=Source(inputs, reading, by_line=by_line),
        reader=RowReader(described, reading, by_line=by_line, fields=shared),
        arguments={"adapter": adapter, "model": model, **options},
        writer=RowWriter(described, keep),
        part_rows=part_rows or (READ_ROWS if described.head else WRITTEN_ROWS),
        shard=Shard.parse(shard) if shard else Shard(),
        cancel=cancel or CancelToken(),
        fail_fast=fail_fast,
        report=progress,
    )
    if str(output) == "-":
        return run.to_stream(sys.stdout.buffer)
    output_format(Path(output))
    settings = {
        "fields": shared,
        "keep": None if keep is None else sorted(keep),
        "by line": by_line,
        "reading": vars(reading or DataOptions()),
    }
    return run.to(Path(output), settings, restart=restart, on_note=on_note or str)


@dataclass
class _Run:
    """One call of `batch`."""

    engine: Engine
    task: AnyTask
    source: Source
    reader: RowReader
    arguments: Mapping[str, Any]
    writer: RowWriter
    part_rows: int
    shard: Shard
    cancel: CancelToken
    fail_fast: bool
    report: Callable[[BatchProgress], None] | None

    def __post_init__(self) -> None:
        self._rows = self._errors = self._computed = 0
        self._total: int | None = None
        self._steps: deque[tuple[float, float]] = deque(maxlen=_RATE_STEPS)
        self._next_report = 0.0

    def to_stream(self, stream: BinaryIO) -> BatchReport:
        """Write every row as soon as its part is answered, and keep nothing."""
        for part in self._parts():
            outcomes = self._answer(part)
            stream.writelines(self._lines(part, outcomes))
            stream.flush()
            self._count_outcomes(outcomes)
        return BatchReport(self._rows, self._errors, self._computed, None)

    def to(
        self, output: Path, settings: Mapping[str, Any], *, restart: bool, on_note: Callable[[str], object]
    ) -> BatchReport:
        """Compute what is missing, and make the output if this is the whole batch."""
        folder = PartFolder(self.shard.folder(output))
        if output.exists() and not restart and not folder.begun:
            raise NlptasksError(
                f"{output}: expected no such file, found one: choose another output, or add --restart to replace it."
            )
        whole = self.shard.count == 1
        with folder.locked():
            folder.begin({**self._identity(), **settings}, restart=restart)
            if not (folder.joined and output.exists()):
                folder.end(self._compute(folder))
                for note in self.reader.notes:
                    on_note(note)
                if whole:
                    join([folder], output)
            if whole:
                folder.remove()
        rows = folder.size.rows if whole and folder.size else self._rows
        return BatchReport(rows, self._errors, self._computed, output if whole else None)

    def _identity(self) -> dict[str, Any]:
        """What decides the answers."""
        adapter, base = self.engine.choose(self.task, self.arguments["adapter"], self.arguments["model"])
        weights = sorted(Path(base).glob("*.safetensors")) if Path(base).is_dir() else []
        placement = self.engine.placement()
        return {
            "nlptasks": __version__,
            "task": self.engine.plugins.describe(self.task),
            "adapter": adapter and f"{adapter.name} {file_digest(adapter.path / 'adapter_model.safetensors')}",
            "model": " ".join([base, *map(file_digest, weights)]),
            "profile": self.engine.settings.profile,
            "device": placement.device,
            "dtype": placement.dtype,
            "options": {name: value for name, value in self.arguments.items() if name not in ("adapter", "model")},
            "input": self.source.digests(),
            "rows of a part": self.part_rows,
            "shards": self.shard.count,
            "columns": {column.name: column.kind for column in answer_columns(self.task)},
        }

    def _compute(self, folder: PartFolder) -> Size:
        """Answer the parts of this shard that are not there."""
        if self.report:
            Thread(target=self._count, daemon=True).start()
        size = Size(0, 0)
        # One thread reads ahead, the other writes the last part, while this one computes.
        with ThreadPoolExecutor(2, "nlptasks-batch") as pool:
            parts = self._parts()
            upcoming = pool.submit(next, parts, None)
            written: Future[None] | None = None
            while part := upcoming.result():
                upcoming = pool.submit(next, parts, None)
                size = Size(part.number + 1, part.first + len(part.rows) - 1)
                if not self.shard.has(part.number):
                    continue
                if kept := folder.find(part.number, part.digest):
                    self._advance(len(part.rows), kept.errors)
                    continue
                outcomes = self._answer(part)
                if written:
                    written.result()
                written = pool.submit(self._write, folder, part, outcomes)
                self._count_outcomes(outcomes)
            if written:
                written.result()
        if not size.rows:
            raise DataError("Expected rows, found none.")
        return size

    def _parts(self) -> Iterator[_Rows]:
        rows = self.source.rows(self.reader)
        for number in count():
            first = number * self.part_rows + 1
            part = list(islice(rows, self.part_rows))
            if not part:
                return
            # Also what a stream holds must be the same when a batch goes on.
            lines = (json_line([row.value, dict(row.fields), row.error]) for row in part)
            yield _Rows(number, first, part, digest_of(lines) if self.shard.has(number) else "")

    def _answer(self, part: _Rows) -> list[Outcome]:
        def advance(completed: int, total: int) -> None:
            self._tell(len(part.rows) * completed / max(1, total))

        outcomes = answer_rows(
            self.engine, self.task.name, part.rows,
            progress=advance if self.report else None, cancel=self.cancel, **self.arguments,
        )  # fmt: skip
        failed = next((outcome for outcome in outcomes if outcome.error), None)
        if failed and self.fail_fast:
            raise NlptasksError(f"{failed.row.place}: {failed.error}")
        return outcomes

    def _write(self, folder: PartFolder, part: _Rows, outcomes: Sequence[Outcome]) -> None:
        folder.write(part.number, part.digest, self._lines(part, outcomes), _errors(outcomes))

    def _lines(self, part: _Rows, outcomes: Sequence[Outcome]) -> list[bytes]:
        return [self.writer.line(number, outcome) for number, outcome in enumerate(outcomes, start=part.first)]

    def _count_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        self._computed += len(outcomes)
        self._advance(len(outcomes), _errors(outcomes))

    def _count(self) -> None:
        with suppress(NlptasksError):
            if (total := self.source.count()) is not None:
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
        self.report(BatchProgress(rows, self._errors, self._total, rate, left))


def _errors(outcomes: Sequence[Outcome]) -> int:
    return sum(bool(outcome.error) for outcome in outcomes)
