"""The answers to rows, each with its own error: one bad row never costs another its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nlptasks import (
    AnyTask,
    CancelledError,
    CancelToken,
    InvalidInputError,
    NlptasksError,
    OverflowRefusedError,
    PluginError,
    RemoteAnswerError,
    Result,
    UnparsableOutputError,
)
from nlptasks.batches.rows import TaskRow
from nlptasks.data import windows
from nlptasks.surfaces import sentence

if TYPE_CHECKING:
    from nlptasks import Engine

ROW_ERRORS = (OverflowRefusedError, PluginError, RemoteAnswerError, UnparsableOutputError)
"""Errors of nlptasks that may concern a single text; all others would concern every row."""


class Outcome(NamedTuple):
    """A row with its result, or the sentence that says why there is none; a blank line has neither.

    The result is a `Result`, or what else a job answers with.
    """

    row: TaskRow
    result: Any = None
    error: str = ""


def answer_rows(
    engine: Engine,
    task: str | AnyTask,
    rows: Sequence[TaskRow],
    *,
    progress: Callable[[int, int], None] | None = None,
    cancel: CancelToken | None = None,
    **arguments: Any,
) -> list[Outcome]:
    """The outcomes of rows, in their order; `arguments` are those of `Engine.run`, without fields of the input.

    Raises:
        CancelledError: `cancel` was set.
        NlptasksError: what would go wrong with every row, such as a base that cannot be loaded.
    """
    outcomes = {place: Outcome(row, error=row.error) for place, row in enumerate(rows) if row.value is None}
    places = [place for place in range(len(rows)) if place not in outcomes]
    task = engine.plugins.task(task)
    inputs = _validated(task, [rows[place].value for place in places])
    valid = [item for item in inputs if not isinstance(item, str)]
    results = iter(_results(engine, task, valid, progress or False, cancel, arguments))
    for place, item in zip(places, inputs, strict=True):
        result = item if isinstance(item, str) else next(results)
        row = rows[place]
        outcomes[place] = Outcome(row, error=result) if isinstance(result, str) else Outcome(row, result)
    return [outcomes[place] for place in range(len(rows))]


def iter_answers(engine: Engine, task: str | AnyTask, rows: Iterable[TaskRow], **arguments: Any) -> Iterator[Outcome]:
    """The outcomes of any number of rows, as they come; the rest is as in `answer_rows`."""
    for window in windows(rows):
        yield from answer_rows(engine, task, window, **arguments)


def _validated(task: AnyTask, values: Sequence[Any]) -> list[Any]:
    """The inputs of a task, each a sentence instead if it is none."""
    try:
        return task.validate(values)
    except InvalidInputError as error:
        if len(values) == 1:
            return [sentence(error)]
    return [item for value in values for item in _validated(task, [value])]


def _results(
    engine: Engine, task: AnyTask, inputs: Sequence[Any], progress: Any, cancel: CancelToken | None, arguments: Any
) -> list[Result | str]:
    """The results, with a sentence for an input that has none: inputs that fail together are halved and tried again."""
    if not inputs:
        return []
    try:
        return list(engine.run(task, inputs, progress=progress, cancel=cancel, **arguments))
    except Exception as error:
        row_error = isinstance(error, ROW_ERRORS) or not isinstance(error, NlptasksError)
        if isinstance(error, CancelledError) or not row_error:
            raise
        if len(inputs) == 1:
            return [sentence(error)]
    middle = len(inputs) // 2
    halves = (inputs[:middle], inputs[middle:])
    return [result for half in halves for result in _results(engine, task, half, progress, cancel, arguments)]
