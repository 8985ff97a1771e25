"""`nlptasks.batch`: a task on every row of files, tables and iterables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks import AnyTask, CancelToken, NlptasksError, default_engine
from nlptasks.batches.answers import Outcome, answer_rows
from nlptasks.batches.columns import RowWriter, answer_columns
from nlptasks.batches.files import output_format
from nlptasks.batches.loop import BatchProgress, BatchReport, PartLoop
from nlptasks.batches.parts import Shard
from nlptasks.batches.rows import RowReader, TaskRow
from nlptasks.batches.sources import Source, folder_digest
from nlptasks.data import DataOptions

if TYPE_CHECKING:
    from nlptasks import Engine

READ_ROWS, WRITTEN_ROWS = 1024, 32
"""Rows of a part, for a task with a trained head and for one that writes text."""


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
    if not isinstance(cancel, CancelToken | None):
        raise NlptasksError(f"cancel: expected a CancelToken, found {type(cancel).__name__}.")
    if part_rows is not None and not (isinstance(part_rows, int) and part_rows > 0):
        raise NlptasksError(f"part_rows: expected a whole number above 0, found {part_rows!r}.")
    keep = [keep] if isinstance(keep, str) else keep
    engine = engine or default_engine()
    described = engine.plugins.task(task)
    known = described.input_type.model_fields.keys() - described.options_type.model_fields.keys()
    shared = {name: value for name, value in fields.items() if name in known}
    options = {name: value for name, value in fields.items() if name not in known}
    engine.choose(described, adapter, model, described.validate_options(options))
    source = Source(inputs, reading, by_line=by_line)
    reader = RowReader(described, reading, by_line=source.by_line, fields=shared)
    job = _TaskJob(
        engine, described, source, reader, {"adapter": adapter, "model": model, **options},
        cancel or CancelToken(), None if keep is None else tuple(sorted(keep)),
        {"fields": shared, "by line": by_line, "reading": vars(reading or DataOptions())},
    )  # fmt: skip
    rows = part_rows or (READ_ROWS if described.head else WRITTEN_ROWS)
    loop = PartLoop(job, rows, Shard.parse(str(shard)) if shard else Shard(), fail_fast, progress)
    if str(output) == "-":
        return loop.to_stream(sys.stdout.buffer)
    output_format(Path(output))
    source.refuse(Path(output))
    report = loop.to_file(Path(output), restart=restart)
    absent = [name for name in keep or () if report.computed and name not in job.columns]
    for note in [*reader.notes, *(f"keep: no row has a column {name!r}" for name in absent)]:
        if on_note:
            on_note(note)
    return report


@dataclass
class _TaskJob:
    """The rows of a source, answered by a task; `settings` are the other values that decide the output."""

    engine: Engine
    task: AnyTask
    source: Source
    reader: RowReader
    arguments: Mapping[str, Any]
    cancel: CancelToken
    keep: Collection[str] | None
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.line = RowWriter(self.task, self.keep).line
        self.name, self.count = self.source.name, self.source.count
        self.columns: set[str] = set()

    def rows(self) -> Iterator[TaskRow]:
        for row in self.source.rows(self.reader):
            self.columns.update(row.fields or ("text",))
            yield row

    def answer(self, rows: Sequence[TaskRow], progress: Callable[[int, int], None] | None) -> list[Outcome]:
        return answer_rows(self.engine, self.task, rows, progress=progress, cancel=self.cancel, **self.arguments)

    def identity(self) -> dict[str, Any]:
        adapter, base = self.engine.choose(self.task, self.arguments["adapter"], self.arguments["model"])
        return {
            "task": self.engine.plugins.describe(self.task),
            "adapter": adapter and f"{adapter.name} {folder_digest(adapter.path)}",
            **model_identity(self.engine, base),
            "options": {name: value for name, value in self.arguments.items() if name not in ("adapter", "model")},
            "input": self.source.digests(),
            "keep": self.keep,
            "columns": {column.name: column.kind for column in answer_columns(self.task)},
            **self.settings,
        }


def model_identity(engine: Engine, base: str) -> dict[str, Any]:
    """What decides a model's answers: its name, a digest of its folder if that is its name, and where it runs."""
    if "://" in base:
        # On a server: nothing of this machine decides, and torch need not be imported.
        return {"model": base}
    placement = engine.placement()
    return {
        "model": f"{base} {folder_digest(Path(base))}" if Path(base).is_dir() else base,
        "profile": engine.settings.profile,
        "device": placement.device,
        "dtype": placement.dtype,
    }
