"""A base model that stays in memory, and the view of it that a task gets."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Generator, Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

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
from nlptasks.runtime.loading.base import LoadedBase, load_base
from nlptasks.runtime.loading.folding import Adapters
from nlptasks.runtime.verbs import encoding, generation, spans
from nlptasks.runtime.verbs.batching import GPU_BUDGET, Batcher
from nlptasks.runtime.verbs.languages import direction, languages
from nlptasks.runtime.worker import BatchRequest, Job, Worker
from nlptasks.store.adapters import AdapterFolder, check_base

if TYPE_CHECKING:
    from nlptasks.progress import Counter
    from nlptasks.runtime.fast.ctranslate import Translator
    from nlptasks.runtime.int8.compiled import CompiledHeads
    from nlptasks.store.download import BaseFolder

WRITING_BUDGET = 16 * 1024
WRITING_ROWS = 32
"""A writing batch holds its keys and values for every token, so it has fewer rows than a reading one."""


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
        """`head` gives the description of a verb's head; `graphs` is `BackendOptions.graphs`."""
        self.folder = folder
        self.head = head
        self.worker = Worker(folder.id)
        self._device = device
        self._dtype = dtype
        self._trust_remote_code = trust_remote_code
        self._graphs = graphs
        self._base: LoadedBase | None = None
        self._adapters: Adapters | None = None
        self._compiled: CompiledHeads | None = None
        self._translator: Translator | None = None
        self._opened = False
        self.reading = Batcher()
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
        if adapter:
            check_base(adapter, self.folder.id, self.folder.path)
            self.head(adapter.verb)
        return BoundModel(self, adapter, cancel or CancelToken(), counter)

    def load(self) -> LoadedBase:
        """Load now instead of on first use; waits for the end and returns the loaded base."""
        if self._base is None:
            self.worker.call(self.base)
        assert self._base is not None
        return self._base

    @property
    def loaded(self) -> LoadedBase | None:
        """The base if it is in memory."""
        return self._base

    @property
    def num_bytes(self) -> int:
        """Memory of base, heads and adapters; 0 until loaded."""
        if self._base is None:
            return 0
        parts = (self._base, self._adapters, self._compiled, self._translator)
        return sum(part.num_bytes for part in parts if part is not None)

    @property
    def described(self) -> Resident:
        """Its state for `Engine.resident`."""
        base, idle = self._base, self.worker.idle
        placement = f"{base.placement.dtype} on {base.placement.device}" if base else ""
        if self._translator:
            placement = f"{self._translator.numbers} on cpu, by CTranslate2"
        state: Any = ("idle" if idle else "computing") if base else ("not loaded" if idle else "loading")
        return Resident(self.folder.id, self.num_bytes, state, placement, self.worker.waiting)

    def close(self) -> None:
        """End the thread and free the weights; all calls are cancelled."""
        self.worker.close()
        if self.reading.threads:
            self.reading.threads.close()
        self._base = self._adapters = self._compiled = self._translator = None
        free_memory()

    # Below: only the worker's thread.

    def base(self) -> LoadedBase:
        """The base, loaded now if need be."""
        if self._base is None:
            with LOADING:
                self._base = load_base(
                    self.folder, self._device, self._dtype, trust_remote_code=self._trust_remote_code
                )
            if self._base.placement.device != "cpu":
                self.reading.budget = GPU_BUDGET
            elif self._base.kind == "encoder":
                self.reading.threads = batch_threads()
            if self._base.placement.dtype == "int8":
                from nlptasks.runtime.int8.compiled import CompiledHeads

                threads = self.reading.threads
                self._compiled = CompiledHeads(self._base, threads=threads.count if threads else 1)
        return self._base

    def activate(self, adapter: AdapterFolder | None) -> tuple[LoadedBase, Any]:
        """The base with an adapter's weights in force, and the adapter's head or the checkpoint's own."""
        base = self.base()
        if self._adapters is None:
            with LOADING:
                self._adapters = Adapters(base, head=self.head)
            settle()
        head = self._adapters.activate(adapter)
        return base, head if adapter else base.native_head

    @property
    def translator(self) -> Translator | None:
        """The base as CTranslate2 writes with it, opened at the first use; None where torch has to write."""
        base = self.base()
        if self._opened:
            return self._translator
        self._opened = True
        writes = base.kind == "seq2seq" and not base.native_verb
        # Weights in 8 bits are for those who leave the choice to us.
        numbers = {"auto": "int8", "float32": "float32"}.get(self._dtype)
        if self._graphs and numbers and writes and base.placement.device == "cpu":
            from nlptasks.runtime.fast.ctranslate import open_translator

            self._translator = open_translator(base, self.folder, self._graphs, numbers)
        return self._translator

    def write(
        self,
        adapter: AdapterFolder | None,
        request: BatchRequest,
        decoding: Decoding,
        on_piece: Callable[[str], None] | None = None,
    ) -> None:
        """Answer prompts as `generation.generate` does: by CTranslate2 where it serves, else by torch."""
        base, translator = self.base(), None if adapter else self.translator
        if translator and translator.serves(base, decoding):
            batches = translator.batches(base, decoding)
            generation.generate(base, batches, request, decoding, on_piece, translator.write)
        else:
            self.activate(adapter)
            generation.generate(base, self.writing, request, decoding, on_piece)

    def task_model(self, adapter: AdapterFolder | None) -> tuple[LoadedBase, Any]:
        """The base with the task model that answers for an adapter: the head of `activate`, or that head compiled."""
        base = self.base()
        if self._compiled is None:
            return self.activate(adapter)
        key, folder = (adapter.key, adapter.path) if adapter else (None, self.folder.path)
        return base, self._compiled.get(key, folder, lambda: self.activate(adapter)[1])


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
            self._info = describe(self._resident.load(), self._resident.folder.id, self._adapter)
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
        return self._read(verb, answer, self._resident.task_model, items)

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        return self._read("embed", encoding.embed, self._resident.activate, texts)

    def offsets(self, texts: Sequence[str]) -> list[Offsets]:
        def handle(request: BatchRequest) -> None:
            encoding.offsets(self._resident.base(), request)

        return self._run("offsets", texts, handle, count=False)

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[Completion]:
        def handle(request: BatchRequest) -> None:
            self._resident.write(self._adapter, request, decoding)

        return self._run(("generate", decoding), prompts, handle)

    def stream(self, prompt: Prompt, decoding: Decoding) -> TextStream:
        pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        def handle(request: BatchRequest) -> None:
            self._resident.write(self._adapter, request, decoding, on_piece=pieces.put)

        future = self._resident.worker.submit(Job(key=None, items=[prompt], handle=handle, cancel=self._cancel))
        future.add_done_callback(lambda _: pieces.put(None))

        pid = os.getpid()

        def read() -> Generator[str, None, Completion]:
            while (piece := pieces.get()) is not None:
                yield piece
                refuse_inherited(pid)
            completion: Completion = future.result()[0]
            return completion

        return Stream(read(), self._cancel)

    def choose(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[tuple[float, ...]]:
        def handle(request: BatchRequest) -> None:
            base, _ = self._resident.activate(self._adapter)
            generation.choose(base, self._resident.writing, request, choices)

        return self._run(("choose", tuple(choices)), prompts, handle)

    def submit(self, work: Callable[[Any, Any], Any]) -> Any:
        def handle(request: BatchRequest) -> None:
            base, _ = self._resident.activate(self._adapter)
            with torch.inference_mode():
                request.answer(0, work(base.model, base.tokenizer))

        return self._run(None, [work], handle, count=False)[0]

    def _require(self, verb: str) -> None:
        if verb in self.info.trained_for:
            return
        if self._adapter:
            raise AdapterError(f"Adapter {self._adapter.name!r} is for {self._adapter.verb}, expected one for {verb}.")
        raise UnsupportedModelError(
            f"{self.info.name} has no trained head for {verb}: name an adapter that was trained on it, "
            "or train one with `nlptasks train`."
        )

    def _read(
        self, verb: str, answer: Callable[..., None], model: Callable[..., Any], items: Sequence[Any]
    ) -> list[Any]:
        limit = self.info.max_tokens

        def handle(request: BatchRequest) -> None:
            answer(*model(self._adapter), self._resident.reading, request, limit)

        return self._run(verb, items, handle)

    def _run(
        self, key: Hashable, items: Sequence[Any], handle: Callable[[BatchRequest], None], *, count: bool = True
    ) -> list[Any]:
        """Answer items on the model's thread; calls with the same key and adapter share batches unless it is None."""
        if not items:
            return []
        self._cancel.raise_if_cancelled()
        on_done = None
        if count and self._counter:
            self._counter.ask(len(items))
            on_done = self._counter.advance
        if key is not None:
            key = (key, self._adapter.key if self._adapter else None)
        future = self._resident.worker.submit(Job(key, items, handle, self._cancel, on_done))
        try:
            return future.result()
        except KeyboardInterrupt:
            # Ctrl-C arrives in the waiting thread; the working one learns of it by the token.
            self._cancel.cancel()
            raise


def describe(base: LoadedBase, name: str, adapter: AdapterFolder | None) -> ModelInfo:
    """What a task may know of a base with an adapter."""

    manifest = adapter.manifest if adapter else base.manifest
    verb = adapter.verb if adapter else base.native_verb
    labels: tuple[str, ...] | None = None
    trained = {"embed", verb} - {""}
    if base.kind != "encoder" and not base.native_verb:
        trained.add("generate")
    # An extractor's two outputs are a start and an end, which a configuration calls LABEL_0 and LABEL_1.
    if verb and verb != "extract":
        labels = adapter.labels if adapter else _config_labels(base.config.id2label)
    limit = base.max_tokens
    if manifest and manifest.max_length and verb not in ("", "generate"):
        limit = min(limit, manifest.max_length)
    # How T5 and its like are to be used for each task: the text before an input, and settings of generation.
    by_task: dict[str, dict[str, Any]] = getattr(base.config, "task_specific_params", None) or {}
    return ModelInfo(
        name=name,
        kind=base.kind,
        adapter=adapter.name if adapter else manifest.name if manifest else None,
        labels=labels,
        multi_label=manifest.multi_label if manifest else base.config.problem_type == "multi_label_classification",
        temperature=manifest.temperature if manifest else 1.0,
        threshold=manifest.threshold if manifest else None,
        max_tokens=limit,
        has_chat_template=base.tokenizer.chat_template is not None,
        model_type=base.config.model_type,
        prefixes={task: params["prefix"] for task, params in by_task.items() if params.get("prefix")},
        presets={task: preset for task, params in by_task.items() if (preset := _preset(params))},
        languages=languages(base.tokenizer),
        direction=direction(base.tokenizer),
        trained_for=frozenset(trained),
        reads_emoji=encoding.reads_emoji(base.tokenizer),
        has_offsets=base.tokenizer.is_fast,
    )


_PRESET = ("num_beams", "length_penalty", "no_repeat_ngram_size", "repetition_penalty", "early_stopping")


def _preset(params: dict[str, Any]) -> dict[str, Any]:
    """A task's settings as fields of `Decoding`; its longest length is left to the task."""
    preset = {name: params[name] for name in _PRESET if params.get(name) is not None}
    if params.get("min_length"):
        # A decoder's length counts the token that starts it.
        preset["min_new_tokens"] = max(0, int(params["min_length"]) - 1)
    return preset


def _config_labels(id2label: dict[Any, str] | None) -> tuple[str, ...] | None:
    return tuple(id2label[key] for key in sorted(id2label, key=int)) if id2label else None
