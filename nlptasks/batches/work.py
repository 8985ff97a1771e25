"""What a task makes of rows: outcomes, and the lines of a batch's output; in this process or in another one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks import AnyTask, CancelToken
from nlptasks.batches.answers import Outcome, answer_rows
from nlptasks.batches.columns import RowWriter, answer_columns
from nlptasks.batches.loop import Answers, PartRows, answer_in_turn
from nlptasks.batches.rows import TaskRow
from nlptasks.batches.sources import folder_digest

if TYPE_CHECKING:
    from nlptasks import Engine

READ_ROWS, WRITTEN_ROWS = 1024, 32
"""Rows that are answered at once, by a task with a trained head and by one that writes text."""


@dataclass
class TaskWork:
    """A task with the arguments of `Engine.run`: adapter, model, options. `keep` names the columns to keep."""

    engine: Engine
    task: AnyTask
    arguments: Mapping[str, Any]
    keep: Collection[str] | None = None
    cancel: CancelToken | None = None

    def __post_init__(self) -> None:
        self.line = RowWriter(self.task, self.keep).line

    def answer(self, rows: Sequence[TaskRow], progress: Callable[[int, int], None] | None = None) -> list[Outcome]:
        """The outcomes of rows, in their order; raises what `answer_rows` does."""
        return answer_rows(self.engine, self.task, rows, progress=progress, cancel=self.cancel, **self.arguments)

    def answer_parts(
        self, parts: Iterator[PartRows], advance: Callable[[float], None] | None
    ) -> Generator[tuple[PartRows, Answers], None, None]:
        """The parts with their answers, in turn."""
        return answer_in_turn(parts, advance, self.answer, self.line)

    def identity(self) -> dict[str, Any]:
        """What decides the answers."""
        adapter, base = self.engine.choose(self.task, self.arguments["adapter"], self.arguments["model"])
        return {
            "task": self.engine.plugins.describe(self.task),
            "adapter": adapter and f"{adapter.name} {folder_digest(adapter.path)}",
            **model_identity(self.engine, base),
            "options": {name: value for name, value in self.arguments.items() if name not in ("adapter", "model")},
            "keep": self.keep,
            "columns": {column.name: column.kind for column in answer_columns(self.task)},
        }

    def maker(self) -> Callable[[], TaskWork]:
        """Makes the same work with an engine of its own; it can be pickled, unlike this."""
        registered = self.engine.plugins.tasks.get(self.task.name) is self.task
        task = self.task.name if registered else self.task
        return partial(_make, self.engine.arguments, task, dict(self.arguments), self.keep)


def _make(
    engine: Mapping[str, Any], task: str | AnyTask, arguments: Mapping[str, Any], keep: Collection[str] | None
) -> TaskWork:
    from nlptasks import Engine

    made = Engine(**engine)
    return TaskWork(made, made.plugins.task(task), arguments, keep)


def default_rows(task: AnyTask) -> int:
    """How many rows a task answers at once."""
    return READ_ROWS if task.head else WRITTEN_ROWS


def divide_fields(task: AnyTask, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords as fields of a task's input, which all rows share, and its options."""
    known = task.input_type.model_fields.keys() - task.options_type.model_fields.keys()
    options = {name: value for name, value in fields.items() if name not in known}
    return {name: value for name, value in fields.items() if name in known}, options


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
