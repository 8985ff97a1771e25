"""A base model that stays in memory, and the view of it that a task gets."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nlptasks.backends import Resident
from nlptasks.errors import AdapterError, UnsupportedModelError
from nlptasks.model import (
    CancelToken,
    Completion,
    Decoding,
    Head,
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
    find_head,
)
from nlptasks.process import LOADING, refuse_inherited
from nlptasks.runtime.cpu.memory import free_memory, settle
from nlptasks.runtime.cpu.threads import batch_threads
from nlptasks.runtime.description import describe
from nlptasks.runtime.loading.base import LoadedBase, load_base
from nlptasks.runtime.reading import Readers
from nlptasks.runtime.verbs import encoding, spans
from nlptasks.runtime.verbs.batching import GPU_BUDGET, Batcher
from nlptasks.runtime.worker import BatchRequest, Job, Worker
from nlptasks.store.adapters import AdapterFolder, check_base

if TYPE_CHECKING:
    from nlptasks.progress import Counter
    from nlptasks.runtime.fast.genai import Writer, Writers
    from nlptasks.runtime.loading.folding import Adapters
    from nlptasks.runtime.verbs.encoding import Reader
    from nlptasks.store.download import BaseFolder

T = TypeVar("T")

WRITING_BUDGET = 16 * 1024
INTERACTIVE = 4
"""A call with more prompts is bulk work: the texts of others come first."""

WRITING_ROWS = 32
"""A writing batch holds its keys and values for every token, so it has fewer rows than a reading one."""


WRITING_SIZE = 16
"""A text that is written, in texts that are read: it takes a step for each token."""


class ResidentModel:
    """One base with its adapters and heads. Its worker thread loads it on first use and runs every verb."""

    def __init__(
        self,
        folder: BaseFolder,
        device: str = "auto",
        dtype: str = "auto",
        *,
        trust_remote_code: bool = False,
        head: Callable[[str], Head] = find_head,
        graphs: Path | None = None,
    ) -> None:
        """`head` gives the description of a verb's head; `graphs` is the folder of compiled graphs, None leaves to
        torch what torch can compute."""
        self.folder = folder
        self.head = head
        self.worker = Worker(folder.id)
        self.device = device
        self.dtype = dtype
        self.trust_remote_code = trust_remote_code
        self._graphs = graphs
        self._base: LoadedBase | None = None
        self._adapters: Adapters | None = None
        self._fitting: dict[Path, AdapterFolder] = {}
        self._writers: Writers | None = None
        self._infos: dict[Path | None, tuple[AdapterFolder | None, ModelInfo]] = {}
        self.reading = Batcher()
        self.readers = Readers(self, graphs)
        self.writing = Batcher(WRITING_BUDGET, WRITING_ROWS)

    def bind(
        self,
        adapter: AdapterFolder | None = None,
        cancel: CancelToken | None = None,
        counter: Counter | None = None,
    ) -> BoundModel:
        """A view of the model with one adapter active.

        Raises:
            AdapterMismatchError: the adapter was trained on another base; no weight was read.
            UnknownNameError: no head is registered for the adapter's verb.
        """
        # An adapter that is opened again after a change is another object.
        if adapter and self._fitting.get(adapter.path) is not adapter:
            check_base(adapter, self.folder.id, self.folder.path)
            self._fitting[adapter.path] = adapter
        if adapter:
            self.head(adapter.verb)
        return BoundModel(self, adapter, cancel or CancelToken(), counter)

    def load(self) -> LoadedBase:
        """Load now instead of on first use; waits for the end and returns the loaded base."""
        if self._base is None:
            self.worker.call(self.base)
        assert self._base is not None
        return self._base

    def info(self, adapter: AdapterFolder | None) -> ModelInfo:
        """What a task may know of the base with an adapter; loads the base, as far as that needs it."""
        base = self._base or self.readers.kept or self.worker.call(self.readers.base)
        path = adapter.path if adapter else None
        described = self._infos.get(path)
        if described is None or described[0] != adapter:
            described = self._infos[path] = adapter, describe(base, self.folder.id, adapter)
        return described[1]

    @property
    def loaded(self) -> LoadedBase | None:
        """The base if it is in memory."""
        return self._base

    @property
    def num_bytes(self) -> int:
        """Memory of base, heads and adapters; 0 until loaded."""
        parts = (self._base, self._adapters, self.readers, self._writers)
        return sum(part.num_bytes for part in parts if part is not None)

    @property
    def idle(self) -> bool:
        """Whether nothing is computed or waits."""
        return self.worker.idle and (self._writers is None or self._writers.idle)

    @property
    def last_used(self) -> float:
        """When a computation began or ended, in seconds of `time.monotonic`."""
        return max(self.worker.last_used, self._writers.last_used if self._writers else 0.0)

    @property
    def described(self) -> Resident:
        """Its state for `Engine.resident`."""
        base, idle = self._base or self.readers.kept, self.idle
        placement = f"{base.placement.dtype} on {base.placement.device}" if base else ""
        state: Any = ("idle" if idle else "computing") if base else ("not loaded" if idle else "loading")
        return Resident(self.folder.id, self.num_bytes, state, placement, self.worker.waiting)

    def close(self) -> None:
        """End the thread and free the weights; all calls are cancelled."""
        self.worker.close()
        if self._writers:
            self._writers.close()
        self.readers.close()
        if self.reading.threads:
            self.reading.threads.close()
        self._base = self._adapters = self._writers = None
        free_memory()

    # Below: only the worker's thread.

    def base(self) -> LoadedBase:
        """The base, loaded now if need be."""
        if self._base is None:
            with LOADING:
                self._base = load_base(self.folder, self.device, self.dtype, trust_remote_code=self.trust_remote_code)
            if self._base.placement.device != "cpu":
                self.reading.budget = GPU_BUDGET
            elif self._base.kind == "encoder":
                self.reading.threads = batch_threads()
        return self._base

    def activate(self, adapter: AdapterFolder | None) -> tuple[LoadedBase, Any]:
        """The base with an adapter's weights in force, and the adapter's head or the checkpoint's own."""
        base = self.base()
        if self._adapters is None:
            from nlptasks.runtime.loading.folding import Adapters

            with LOADING:
                self._adapters = Adapters(base, head=self.head)
            settle()
        head = self._adapters.activate(adapter)
        return base, head if adapter else base.native_head

    def reader(self, verb: str, adapter: AdapterFolder | None) -> tuple[LoadedBase, Reader, Batcher]:
        """The base, what answers a verb with an adapter's weights in force, and what cuts its batches."""
        return self.readers.get(verb, adapter)

    def unload_torch(self) -> None:
        """Let go of the weights in torch; a later use loads them again."""
        self._adapters = None
        if self._base is not None:
            self._base.unload()

    def writer(self, adapter: AdapterFolder | None, decoding: Decoding) -> Writer | None:
        """What writes with an adapter in place of torch; None where torch does."""
        base = self.base()
        quicker = self._graphs and self.dtype == "auto" and base.placement.device == "cpu" and base.kind == "causal"
        if not quicker or base.native_verb or find_spec("openvino_genai") is None:
            return None
        from nlptasks.runtime.fast import genai
        from nlptasks.runtime.verbs import generation

        if not genai.takes(decoding):
            return None
        if self._writers is None:
            assert self._graphs
            self._writers = genai.Writers(self.folder, self._graphs, generation.end_tokens(base))
        return self._writers.get(adapter)


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
        answer = {"text": encoding.classify, "token": spans.tag, "span": spans.extract}[self._resident.head(verb).per]
        return self._read(verb, answer, items)

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        return self._read("embed", encoding.embed, texts)

    def offsets(self, texts: Sequence[str]) -> list[Offsets]:
        def handle(request: BatchRequest) -> None:
            encoding.offsets(self._resident.readers.base(), request)

        return self._submit(Job("offsets", texts, handle, self._cancel), count=False)

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[Completion]:
        def handle(request: BatchRequest) -> None:
            from nlptasks.runtime.verbs import generation

            base, _ = self._resident.activate(self._adapter)
            generation.generate(base, self._resident.writing, request, decoding)

        texts = self._start(prompts, decoding)
        if texts is None:
            size = len(prompts) * WRITING_SIZE
            return self._submit(Job(("generate", decoding), prompts, handle, self._cancel, size, self._activate))
        for text in texts:
            text.add_done_callback(self._advance)
        return [self._wait(text) for text in texts]

    def stream(self, prompt: Prompt, decoding: Decoding) -> TextStream:
        pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        def handle(request: BatchRequest) -> None:
            from nlptasks.runtime.verbs import generation

            base, _ = self._resident.activate(self._adapter)
            generation.generate(base, self._resident.writing, request, decoding, on_piece=pieces.put)

        future: Future[Any]
        texts = self._start([prompt], decoding, pieces.put)
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

    def _start(
        self, prompts: Sequence[Prompt], decoding: Decoding, on_piece: Callable[[str], None] | None = None
    ) -> list[Future[Completion]] | None:
        """Have the prompts written by an engine whose texts share steps; None where torch must write."""

        def begin(request: BatchRequest) -> None:
            writer = self._resident.writer(self._adapter, decoding)
            texts: list[Any] = [None] * len(request.items)
            if writer:
                from nlptasks.runtime.verbs import generation, writing

                base = self._resident.base()
                encoded = [generation.encode_prompt(base, prompt, decoding) for prompt in request.items]
                bulk = len(prompts) > INTERACTIVE
                texts = writing.write(base, writer, encoded, decoding, self._cancel, bulk=bulk, on_piece=on_piece)
            for i, text in enumerate(texts):
                request.answer(i, text)

        texts = self._submit(Job(None, prompts, begin, self._cancel), count=False)
        if not texts or texts[0] is None:
            return None
        if self._counter and not on_piece:
            self._counter.ask(len(prompts))
        return texts

    def _advance(self, text: Future[Completion]) -> None:
        if self._counter and not text.cancelled() and text.exception() is None:
            self._counter.advance(1)

    def choose(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[tuple[float, ...]]:
        def handle(request: BatchRequest) -> None:
            from nlptasks.runtime.verbs import generation

            base, _ = self._resident.activate(self._adapter)
            generation.choose(base, self._resident.writing, request, choices)

        size = len(prompts) * len(choices)
        return self._submit(Job(("choose", tuple(choices)), prompts, handle, self._cancel, size, self._activate))

    def submit(self, work: Callable[[Any, Any], Any]) -> Any:
        def handle(request: BatchRequest) -> None:
            import torch

            base, _ = self._resident.activate(self._adapter)
            with torch.inference_mode():
                request.answer(0, work(base.model, base.tokenizer))

        return self._submit(Job(None, [work], handle, self._cancel), count=False)[0]

    def _activate(self) -> None:
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
