"""An engine whose tasks are answered by fake models, with a gate to hold it and a record of what it computed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nlptasks import Engine, Plugins, Settings
from nlptasks.bases import NO_ADAPTER
from nlptasks.model import CancelToken, Completion, Logits, Model, Stream, Text, TextStream
from nlptasks.progress import Counter
from nlptasks.testing import FakeBackend, FakeModel

STEP = 8
"""Texts that the engine's own slow model reads in one step."""

Make = Callable[..., FakeModel]


class SlowModel(FakeModel):
    """A fake model that takes time for each step, and counts them: `size` texts to classify, or a piece to write.

    Before each step it waits for `gate`, and sees whether it is still wanted. A step takes `pause` seconds.
    """

    def __init__(self, *, pause: float = 0.05, size: int = 1, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.pause = pause
        self.size = size
        self.steps = 0
        self.held = False
        self.gate = threading.Event()
        self.gate.set()
        self.counter: Counter | None = None

    @property
    def token(self) -> CancelToken:
        return self._cancel

    def step(self) -> None:
        while not self.gate.wait(0.01):
            self.held = True
            self.token.raise_if_cancelled()
        self.held = False
        self.token.raise_if_cancelled()
        time.sleep(self.pause)
        self.steps += 1

    def classify(self, texts: Sequence[Text]) -> list[Logits]:
        if self.counter:
            self.counter.ask(len(texts))
        answers: list[Logits] = []
        for start in range(0, len(texts), self.size):
            self.step()
            part = texts[start : start + self.size]
            answers += super().classify(part)
            if self.counter:
                self.counter.advance(len(part))
        return answers

    def generate(self, prompts: Any, decoding: Any) -> Any:
        if self.counter:
            self.counter.ask(len(prompts))
        for _ in prompts:
            self.step()
            if self.counter:
                self.counter.advance(1)
        return super().generate(prompts, decoding)

    def stream(self, prompt: Any, decoding: Any) -> Any:
        return Stream(self._slowly(super().stream(prompt, decoding)), self.token)

    def _slowly(self, stream: TextStream) -> Generator[str, None, Completion]:
        for piece in stream:
            self.step()
            yield piece
        return stream.result()


class FakeEngine(Engine):
    """An engine that makes a fake model for each request; `models` keeps all of them.

    `makers` has a function for each task that has a model of its own. The others get a SlowModel that classifies by
    the task's labels or else by `labels`, `STEP` texts in a step of `seconds`. `gate` holds all slow models between
    two steps while it is not set.
    """

    def __init__(
        self,
        settings: Settings,
        makers: Mapping[str, Make] | None = None,
        plugins: Plugins | None = None,
        *,
        labels: Sequence[str] = ("negative", "positive"),
    ) -> None:
        self.backend = FakeBackend(self._make)
        super().__init__(settings=settings, plugins=plugins, backend=self.backend)
        self.makers = dict(makers or {})
        self.labels = labels
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
        self.choose(task, adapter, model)  # refuses an adapter that there is not
        # The name of the base says which task's model to make.
        with super().bind(task, NO_ADAPTER, task.name, cancel=cancel, counter=counter) as made:
            yield made

    def _make(self, name: str, cancel: CancelToken, counter: Counter | None, **_: Any) -> FakeModel:
        if name in self.makers:
            made = self.makers[name](cancel=cancel)
        else:
            labels = getattr(self.plugins.task(name), "labels", None) or self.labels
            made = SlowModel(pause=self.seconds, size=STEP, labels=labels, cancel=cancel)
        if isinstance(made, SlowModel):
            made.gate, made.counter = self.gate, counter
        return made

    @property
    def models(self) -> list[Any]:
        """All models that were made, in order."""
        return self.backend.models

    def hold(self, after: int) -> None:
        """Wait for so many steps, then keep the model that computes from going on until the gate is set."""
        end = time.monotonic() + 30
        while self.steps < after:
            assert time.monotonic() < end, f"expected {after} steps, found {self.steps}"
            time.sleep(0.01)
        self.gate.clear()
        # The step under way is finished first, and its slice may end with it and let go of its token.
        while not self.models[-1].held or self.models[-1].token.cancelled:
            assert time.monotonic() < end, "expected a slice that waits, found none"
            time.sleep(0.01)

    @property
    def steps(self) -> int:
        """Steps that all slow models have computed."""
        return sum(model.steps for model in self.models if isinstance(model, SlowModel))
