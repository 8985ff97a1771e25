"""A task over many rows: slice after slice through the engine, what is done kept whatever happens to the rest."""

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
    Result,
    UnparsableOutputError,
)
from nlptasks.surfaces import answer, sentence

if TYPE_CHECKING:
    from nlptasks import Engine

FIRST_SLICE, LAST_SLICE = 8, 512
QUICK = 2.0
"""Seconds: a slice that took less is followed by one of twice its rows. A cancel loses one slice at most."""

EMPTY_ROW = "There is nothing to read: the row is empty in the chosen columns."

ROW_FAULTS = (OverflowRefusedError, UnparsableOutputError)
"""Errors on purpose that are about one text; all others would meet every row."""


@dataclass(frozen=True)
class Outcome:
    """How a row ended: with a result, or with the sentence that says why there is none."""

    result: Result | None = None
    error: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a batch is, in rows; `rate` is rows a second, `left` seconds, both None until they can be told."""

    done: int
    total: int
    failed: int
    seconds: float
    rate: float | None = None
    left: float | None = None


class Batch:
    """One run of a task over rows. `outcomes` has a place for each row, None as long as it was not reached.

    `inputs` are the fields of each row. Raises InvalidInputError for options that the task does not take.
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
        """When the first slice was done, and its rows: it may have waited for the base to load."""

    @property
    def complete(self) -> bool:
        """Whether every row was reached."""
        return None not in self.outcomes

    def cancel(self) -> None:
        """End the computation within one step; what is done is kept. From any thread."""
        self.cancelled = True
        self._slice.cancel()

    def progress(self, under_way: float = 0.0) -> Progress:
        """The state now; `under_way` counts the rows of the slice that is being computed."""
        now = time.monotonic()
        ended = [outcome for outcome in self.outcomes if outcome]
        done = min(len(self.outcomes), len(ended) + int(under_way))
        rate = None
        if self._warm and now > self._warm[0] and done > self._warm[1]:
            rate = (done - self._warm[1]) / (now - self._warm[0])
        return Progress(
            done=done,
            total=len(self.outcomes),
            failed=sum(1 for outcome in ended if outcome.error),
            seconds=now - self._started if self._started else 0.0,
            rate=rate,
            left=(len(self.outcomes) - done) / rate if rate else None,
        )

    async def run(self, every: float = 0.25) -> AsyncGenerator[Progress, None]:
        """Compute, telling the progress at least once in `every` seconds while a slice is under way.

        Raises nothing that the computation raises: what ends the whole batch stands in `error`. Read it within
        `contextlib.aclosing`: leaving the loop ends the computation.
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
                if isinstance(error, NlptasksError) and not isinstance(error, ROW_FAULTS):
                    self.error = sentence(error)
                    return
                self._part(places, error, retries)
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
                    yield self.progress(len(places) * step.done / step.total if step.total else 0.0)
                    continue
                for place, result in zip(places, step.result, strict=True):
                    self.outcomes[place] = Outcome(result)

    def _part(self, places: list[int], error: Exception, retries: deque[list[int]]) -> None:
        """Halve a slice that failed, so that a row which cannot be answered fails alone."""
        if len(places) == 1:
            self.outcomes[places[0]] = Outcome(error=sentence(error))
        else:
            middle = len(places) // 2
            retries.extendleft([places[middle:], places[:middle]])

    def _validate(self) -> deque[int]:
        """The rows that the task takes; the others have their errors at once."""
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
