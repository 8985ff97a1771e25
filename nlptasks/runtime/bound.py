"""The view of a resident model that a task gets."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from nlptasks.errors import AdapterError, UnsupportedModelError
from nlptasks.model import (
    CancelToken,
    Completion,
    Decoding,
    Logits,
    ModelInfo,
    Offsets,
    Prompt,
    SpanLogits,
    Stream,
    Text,
    TextStream,
    TokenLogits,
    Vector,
)
from nlptasks.process import import_alone, refuse_inherited
from nlptasks.runtime.verbs import encoding, spans
from nlptasks.runtime.worker import BatchRequest, Job
from nlptasks.store.adapters import AdapterFolder

if TYPE_CHECKING:
    from nlptasks.progress import Counter
    from nlptasks.runtime.resident import ResidentModel

T = TypeVar("T")

INTERACTIVE = 4
"""A call with more prompts is bulk work: the texts of others come first."""

WRITING_SIZE = 16
"""A text that is written, in texts that are read: it takes a step for each token."""


class BoundModel:
    """`nlptasks.model.Model` on a resident model: one adapter, one cancel token, one counter of its progress."""

    def __init__(
        self,
        resident: ResidentModel,
        adapter: AdapterFolder | None,
        cancel: CancelToken,
        counter: Counter | None = None,
    ) -> None:
        self._resident = resident
        self._adapter = adapter
        self._cancel = cancel
        self._counter = counter
        self._info: ModelInfo | None = None

    @property
    def info(self) -> ModelInfo:
        if self._info is None:
            self._info = self._resident.info(self._adapter)
        return self._info

    def classify(self, texts: Sequence[Text]) -> list[Logits]:
        return self.apply("classify", texts)

    def tag(self, texts: Sequence[str]) -> list[TokenLogits]:
        return self.apply("tag", texts)

    def extract(self, pairs: Sequence[tuple[str, str]]) -> list[SpanLogits]:
        return self.apply("extract", pairs)

    def apply(self, verb: str, items: Sequence[Text]) -> list[Any]:
        self._require(verb)
        answers = {
            "text": encoding.classify,
            "token": spans.tag,
            "vectors": spans.vectors,
            "span": spans.extract,
            "vector": encoding.embed,
        }
        return self._read(verb, answers[self._resident.head(verb).per], items)

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        return self._read("embed", encoding.embed, texts)

    def offsets(self, texts: Sequence[str]) -> list[Offsets]:
        def handle(request: BatchRequest) -> None:
            encoding.offsets(self._resident.readers.base(), request)

        return self._submit(Job("offsets", texts, handle, self._cancel), count=False)

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[Completion]:
        def handle(request: BatchRequest) -> None:
            self._resident.writers.write(self._adapter, request, decoding)

        texts = self._begin(prompts, decoding)
        if texts is None:
            size = len(prompts) * WRITING_SIZE
            return self._submit(Job(("generate", decoding), prompts, handle, self._cancel, size, self._activate))
        if self._counter:
            self._counter.ask(len(prompts))
        for text in texts:
            text.add_done_callback(self._advance)
        return [self._wait(text) for text in texts]

    def stream(self, prompt: Prompt, decoding: Decoding) -> TextStream:
        pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        def handle(request: BatchRequest) -> None:
            self._resident.writers.write(self._adapter, request, decoding, on_piece=pieces.put)

        future: Future[Any]
        texts = self._begin([prompt], decoding, pieces.put)
        if texts:
            future = texts[0]
        else:
            job = Job(None, [prompt], handle, self._cancel, WRITING_SIZE, self._activate)
            future = self._resident.worker.submit(job)
        future.add_done_callback(lambda _: pieces.put(None))

        pid = os.getpid()

        def read() -> Generator[str, None, Completion]:
            while (piece := pieces.get()) is not None:
                yield piece
                refuse_inherited(pid)
            answer: Any = future.result()
            completion: Completion = answer if texts else answer[0]
            return completion

        return Stream(read(), self._cancel)

    def _begin(
        self, prompts: Sequence[Prompt], decoding: Decoding, on_piece: Callable[[str], None] | None = None
    ) -> list[Future[Completion]] | None:
        """Have the prompts written by an engine whose texts share steps; None where there is none."""
        writers, bulk = self._resident.writers, len(prompts) > INTERACTIVE
        if not writers.shares_steps(decoding):
            return None

        def begin(request: BatchRequest) -> None:
            texts = writers.begin(self._adapter, request.items, decoding, self._cancel, bulk=bulk, on_piece=on_piece)
            for i, text in enumerate(texts or [None] * len(request.items)):
                request.answer(i, text)

        texts = self._submit(Job(None, prompts, begin, self._cancel), count=False)
        return texts if texts and texts[0] else None

    def _advance(self, text: Future[Completion]) -> None:
        if self._counter and text.exception() is None:
            self._counter.advance(1)

    def choose(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[tuple[float, ...]]:
        def handle(request: BatchRequest) -> None:
            import_alone("nlptasks.runtime.verbs.generation")
            from nlptasks.runtime.verbs import generation

            base, _ = self._resident.activate(self._adapter)
            generation.choose(base, self._resident.writers.batcher, request, choices)

        size = len(prompts) * len(choices)
        return self._submit(Job(("choose", tuple(choices)), prompts, handle, self._cancel, size, self._activate))

    def submit(self, work: Callable[[Any, Any], Any]) -> Any:
        def handle(request: BatchRequest) -> None:
            import_alone("torch")
            import torch

            base, _ = self._resident.activate(self._adapter)
            with torch.inference_mode():
                request.answer(0, work(base.model, base.tokenizer))

        return self._submit(Job(None, [work], handle, self._cancel), count=False)[0]

    def _activate(self) -> None:
        """Put the adapter's weights back in force, if torch has weights: an engine needs none."""
        base = self._resident.loaded
        if base and base.num_bytes:
            self._resident.activate(self._adapter)

    def _require(self, verb: str) -> None:
        if verb in self.info.trained_for:
            return
        if self._adapter:
            raise AdapterError(f"Adapter {self._adapter.name!r} is for {self._adapter.verb}, expected one for {verb}.")
        raise UnsupportedModelError(
            f"{self.info.name} has no trained head for {verb}: name an adapter that was trained on it, "
            "or train one with `nlptasks train`."
        )

    def _read(self, verb: str, answer: Callable[..., None], items: Sequence[Any]) -> list[Any]:
        limit = self.info.max_tokens

        def handle(request: BatchRequest) -> None:
            answer(*self._resident.reader(verb, self._adapter), request, limit)

        return self._submit(
            Job(verb, items, handle, self._cancel, resume=lambda: self._resident.reader(verb, self._adapter))
        )

    def _submit(self, job: Job, *, count: bool = True) -> list[Any]:
        """Answer a job on the model's thread; those with the same key and adapter share batches unless it is None."""
        if not job.items:
            return []
        self._cancel.raise_if_cancelled()
        if count and self._counter:
            self._counter.ask(len(job.items))
            job.on_done = self._counter.advance
        if job.key is not None:
            job.key = (job.key, self._adapter.key if self._adapter else None)
        return self._wait(self._resident.worker.submit(job))

    def _wait(self, future: Future[T]) -> T:
        try:
            return future.result()
        except KeyboardInterrupt:
            # Ctrl-C arrives in the waiting thread; the working one learns of it by the token.
            self._cancel.cancel()
            raise
