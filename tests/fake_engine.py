"""An engine whose every task is answered by a FakeModel, with a gate to hold it and a record of what it computed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from nlptasks import Engine
from nlptasks.progress import Counter
from nlptasks.testing import FakeModel
from nlptasks.verbs import CancelToken, Logits, Model, Text

STEP = 8
"""Texts that the slow model reads in one step."""


class SlowModel(FakeModel):
    """Classifies `STEP` texts at a time; between two it waits for the gate and sees whether it is still wanted."""

    def __init__(self, engine: FakeEngine, cancel: CancelToken, counter: Counter | None, **arguments: Any) -> None:
        super().__init__(cancel=cancel, **arguments)
        self._engine = engine
        self.token = cancel
        self._counter = counter
        self.steps = 0

    def classify(self, texts: Sequence[Text]) -> list[Logits]:
        if self._counter:
            self._counter.ask(len(texts))
        answers: list[Logits] = []
        for start in range(0, len(texts), STEP):
            while not self._engine.gate.wait(0.01):
                self.token.raise_if_cancelled()
            self.token.raise_if_cancelled()
            time.sleep(self._engine.seconds)
            self.steps += 1
            part = texts[start : start + STEP]
            answers += super().classify(part)
            if self._counter:
                self._counter.advance(len(part))
        return answers


class FakeEngine(Engine):
    """`models` are those that were bound, one a call; `gate` holds them between two steps while it is not set.

    A step takes `seconds`.
    """

    def __init__(self, *, labels: Sequence[str] = ("negative", "positive"), **arguments: Any) -> None:
        super().__init__(**arguments)
        self.labels = labels
        self.models: list[SlowModel] = []
        self.seconds = 0.0
        self.gate = threading.Event()
        self.gate.set()

    @contextmanager
    def bind(
        self,
        task: Any,
        adapter: str | None = None,
        model: str | None = None,
        *,
        cancel: CancelToken | None = None,
        counter: Counter | None = None,
    ) -> Iterator[Model]:
        self._open_pool()  # refuses once the engine is closed
        labels = getattr(task, "labels", None) or self.labels
        self.models.append(SlowModel(self, cancel or CancelToken(), counter, labels=labels, name="fake"))
        yield self.models[-1]

    def hold(self, after: int) -> None:
        """Wait for so many steps, then keep the model that computes from going on until the gate is set."""
        end = time.monotonic() + 30
        while self.steps < after:
            assert time.monotonic() < end, f"expected {after} steps, found {self.steps}"
            time.sleep(0.01)
        self.gate.clear()
        # A slice that was just finished has let go of its token; the next one is then held.
        while self.models[-1].token.cancelled:
            assert time.monotonic() < end, "expected a slice under way, found none"
            time.sleep(0.01)

    @property
    def steps(self) -> int:
        """Steps that all models have computed."""
        return sum(model.steps for model in self.models)
