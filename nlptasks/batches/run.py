"""`nlptasks.batch`: a task on every row of files, tables and iterables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks import AnyTask, CancelToken, NlptasksError, default_engine
from nlptasks.batches.files import output_format
from nlptasks.batches.loop import BatchProgress, BatchReport, PartLoop, Work
from nlptasks.batches.parts import Shard
from nlptasks.batches.rows import RowReader, TaskRow
from nlptasks.batches.sources import Source
from nlptasks.batches.work import TaskWork, default_rows, divide_fields
from nlptasks.data import DataOptions

if TYPE_CHECKING:
    from nlptasks import Engine
    from nlptasks.ray import Cluster


def batch(
    task: str | AnyTask,
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
    ray: str | Cluster | None = None,
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
    eighth part, from the third; `join_shards` makes the output of all. `fail_fast` raises the error of the first row
    that fails. `ray` is the address of a Ray cluster, or a `nlptasks.ray.Cluster`: its actors answer the parts, in any
    order, not this process. `progress` is called a few times a second at most, `on_note` with remarks on the columns.
    All other keywords are those of `Engine.run`.

    Raises:
        InvalidInputError: an option that the task does not have.
        DataError: a file that cannot be read at all, or without a column that the task needs.
        CancelledError: `cancel` was set.
        NlptasksError: another process computes this batch, it was begun with something else, or the disk is full.
    """
    if not isinstance(cancel, CancelToken | None):
        raise NlptasksError(f"cancel: expected a CancelToken, found {type(cancel).__name__}.")
    if part_rows is not None and not (isinstance(part_rows, int) and part_rows > 0):
        raise NlptasksError(f"part_rows: expected a whole number above 0, found {part_rows!r}.")
    keep = [keep] if isinstance(keep, str) else keep
    engine = engine or default_engine()
    described = engine.plugins.task(task)
    shared, options = divide_fields(described, fields)
    engine.choose(described, adapter, model, described.validate_options(options))
    source = Source(inputs, reading, by_line=by_line)
    reader = RowReader(described, reading, by_line=source.by_line, fields=shared)
    columns = None if keep is None else tuple(sorted(keep))
    arguments = {"adapter": adapter, "model": model, **options}
    work = TaskWork(engine, described, arguments, columns, cancel or CancelToken())
    settings = {"fields": shared, "by line": by_line, "reading": vars(reading or DataOptions())}
    rows = part_rows or default_rows(described)
    share = Shard.parse(str(shard)) if shard else Shard()
    if str(output) != "-":
        output_format(Path(output))
        source.refuse(Path(output))
    elif ray is not None:
        raise NlptasksError("--ray: expected a file for the output, found -: rows are answered in any order.")
    source.check(reader)  # before a cluster starts or a model is loaded
    with _answering(work, ray, on_note) as answering:
        job = _TaskJob(answering, source, reader, settings)
        loop = PartLoop(job, rows, share, fail_fast, progress)
        if str(output) == "-":
            return loop.to_stream(sys.stdout.buffer)
        report = loop.to_file(Path(output), restart=restart)
    absent = [name for name in keep or () if report.computed and name not in job.columns]
    for note in [*reader.notes, *(f"keep: no row has a column {name!r}" for name in absent)]:
        if on_note:
            on_note(note)
    return report


def _answering(work: TaskWork, ray: str | Cluster | None, on_note: Any) -> AbstractContextManager[Work]:
    if ray is None:
        return nullcontext(work)
    from nlptasks.ray import actors

    return actors(work, ray, on_note)


@dataclass
class _TaskJob:
    """The rows of a source, and what answers them; `settings` are the other values that decide the output."""

    work: Work
    source: Source
    reader: RowReader
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.name, self.count, self.answer_parts = self.source.name, self.source.count, self.work.answer_parts
        self.columns: set[str] = set()

    def rows(self) -> Iterator[TaskRow]:
        for row in self.source.rows(self.reader):
            self.columns.update(row.fields or ("text",))
            yield row

    def identity(self) -> dict[str, Any]:
        return {**self.work.identity(), "input": self.source.digests(), **self.settings}
