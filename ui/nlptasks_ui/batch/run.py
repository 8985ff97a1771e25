"""A task over many rows: slice by slice through the engine; finished rows are safe whatever happens to the rest."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlptasks import (
    CancelledError,
    CancelToken,
    InvalidInputError,
    NlptasksError,
    OverflowRefusedError,
    PluginError,
    Result,
    UnparsableOutputError,
)
from nlptasks.surfaces import answer, sentence

if TYPE_CHECKING:
    from nlptasks import Engine

FIRST_SLICE, LAST_SLICE = 8, 512
QUICK = 2.0
"""Seconds: a slice that took less is followed by one of twice its size. Cancelling loses at most one slice."""

EMPTY_ROW = "The row is empty in the selected columns."

ROW_ERRORS = (OverflowRefusedError, PluginError, UnparsableOutputError)
"""Errors of nlptasks that may concern a single text; all others would concern every row."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a row: a result, or the sentence that says why there is none."""

    result: Result | None = None
    error: str = ""


@dataclass(frozen=True)
class Progress:
    """The progress of a batch in rows; `rate` is in rows per second, `left` in seconds, both None while unknown."""

    completed: int
    total: int
    failed: int
    seconds: float
    rate: float | None = None
    left: float | None = None


class Batch:
    """One run of a task over rows. `outcomes` has an entry for each row, None until the row is processed.

    `inputs` are the input fields of each row. Raises InvalidInputError for options that the task does not have.
    """

    def __init__(
        self,
        engine: Engine,
        task: str,
        inputs: Sequence[Mapping[str, Any]],
        *,
        adapter: str | None = None,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.task = engine.plugins.task(task)
        self.task.validate_options(options or {})
        self.outcomes: list[Outcome | None] = [None] * len(inputs)
        self.error = ""
        self._engine = engine
        self._inputs: list[Any] = list(inputs)
        self._arguments = {"adapter": adapter, "model": model, **(options or {})}
        self.cancelled = False
        self._slice = CancelToken()
        self._started = 0.0
        self._warm: tuple[float, int] | None = None
        """When the first slice ended, and its rows: the rate leaves it out, for it may have waited for the base."""

    @property
    def complete(self) -> bool:
        """Whether every row was processed."""
        return None not in self.outcomes

    def cancel(self) -> None:
        """Stop the computation within one step, from any thread; outcomes so far stay."""
        self.cancelled = True
        self._slice.cancel()

    def progress(self, under_way: float = 0.0) -> Progress:
        """The progress now; `under_way` is the number of rows finished in the current slice."""
        now = time.monotonic()
        ended = [outcome for outcome in self.outcomes if outcome]
        completed = min(len(self.outcomes), len(ended) + int(under_way))
        rate = None
        if self._warm and now > self._warm[0] and completed > self._warm[1]:
            rate = (completed - self._warm[1]) / (now - self._warm[0])
        return Progress(
            completed=completed,
            total=len(self.outcomes),
            failed=sum(1 for outcome in ended if outcome.error),
            seconds=now - self._started if self._started else 0.0,
            rate=rate,
            left=(len(self.outcomes) - completed) / rate if rate else None,
        )

    async def run(self, every: float = 0.25) -> AsyncGenerator[Progress, None]:
        """Process all rows; yields the progress at least every `every` seconds.

        Errors of the computation are not raised: one that ends the whole batch is in `error`. Iterate within
        `contextlib.aclosing`: leaving the loop stops the computation.
        """
        self._started = time.monotonic()
        waiting = await asyncio.to_thread(self._validate)
        size = FIRST_SLICE
        retries: deque[list[int]] = deque()
        yield self.progress()
        while (retries or waiting) and not self.cancelled:
            places = retries.popleft() if retries else [waiting.popleft() for _ in range(min(size, len(waiting)))]
            start = time.monotonic()
            try:
                async with aclosing(self._answer(places, every)) as steps:
                    async for step in steps:
                        yield step
            except CancelledError:
                return
            except Exception as error:
                if isinstance(error, NlptasksError) and not isinstance(error, ROW_ERRORS):
                    self.error = sentence(error)
                    return
                self._split(places, error, retries)
            if self._warm is None:
                self._warm = (time.monotonic(), sum(outcome is not None for outcome in self.outcomes))
            elif time.monotonic() - start < QUICK:
                size = min(2 * size, LAST_SLICE)
            yield self.progress()

    async def _answer(self, places: Sequence[int], every: float) -> AsyncGenerator[Progress, None]:
        """Answer the rows of one slice."""
        inputs = [self._inputs[place] for place in places]
        self._slice = CancelToken()
        if self.cancelled:
            return
        async with aclosing(
            answer(self._engine, self.task.name, inputs, every=every, cancel=self._slice, **self._arguments)
        ) as steps:
            async for step in steps:
                if step.result is None:
                    yield self.progress(len(places) * step.completed / step.total if step.total else 0.0)
                    continue
                for place, result in zip(places, step.result, strict=True):
                    self.outcomes[place] = Outcome(result)

    def _split(self, places: list[int], error: Exception, retries: deque[list[int]]) -> None:
        """Halve a slice that failed, so that in the end only the faulty row fails."""
        if len(places) == 1:
            self.outcomes[places[0]] = Outcome(error=sentence(error))
        else:
            middle = len(places) // 2
            retries.extendleft([places[middle:], places[:middle]])

    def _validate(self) -> deque[int]:
        """The rows with a valid input; the others get their errors at once."""
        good: deque[int] = deque()
        for place, fields in enumerate(self._inputs):
            if not fields:
                self.outcomes[place] = Outcome(error=EMPTY_ROW)
                continue
            try:
                [self._inputs[place]] = self.task.validate([fields])
            except InvalidInputError as error:
                self.outcomes[place] = Outcome(error=sentence(error))
            else:
                good.append(place)
        return good
