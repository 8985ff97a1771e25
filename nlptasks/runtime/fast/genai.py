"""Language models written by OpenVINO GenAI: all texts under way are sequences of one running batch.

A new sequence joins at the next step and a cancelled one leaves it. Those of long lists are admitted a few at a time:
a text that somebody waits for does not wait for a list's prompts. Keys and values of prompts are kept: an earlier
turn of a conversation, or a task's fixed instruction, is not read again.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.errors import CancelledError, NlptasksError, UnsupportedModelError
from nlptasks.model import CancelToken, Decoding
from nlptasks.process import close_at_exit
from nlptasks.runtime.compiled.graph import import_openvino
from nlptasks.runtime.fast.gguf_graph import gguf_file, lora_file, make_graph
from nlptasks.runtime.fast.steps import Steps
from nlptasks.store.graphs import graph_folder
from nlptasks.store.weights import fingerprint

if TYPE_CHECKING:
    from nlptasks.store.adapters import AdapterFolder
    from nlptasks.store.download import BaseFolder

STEP_TOKENS = 256
"""Tokens that one step computes at most, of prompts and of texts under way."""

READING_SECONDS = 0.004
"""Time between two looks at what was written; a step takes 10 milliseconds or more."""

BULK_ROWS = 16
"""Sequences of long lists that are under way at a time."""

CACHE_TOKENS = 10 * 1024
"""Tokens whose keys and values are kept, of texts under way and of prompts that may come again; one of SmolLM2-135M's
takes 46 KB."""

BLOCK = 32
"""Tokens of a block of keys and values on a CPU."""

MAX_WRITERS = 3
"""Pipelines of one base in memory, one for each adapter, the least recently used goes first. A shared one would take
one adapter's keys and values for another's."""

_NO_ROOM = f"expected a prompt and its text within {CACHE_TOKENS} tokens, found more: shorten the prompt."

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Writing:
    """One prompt and what is written after it, with the log-probability of each token in nats.

    `on_tokens` is called on the writer's thread with new tokens, and returns whether the text is finished. `bulk` is
    for texts of a long list, which let others go first.
    """

    ids: Sequence[int]
    decoding: Decoding
    max_new_tokens: int
    cancel: CancelToken
    bulk: bool = False
    on_tokens: Callable[[list[int]], bool] | None = None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: Future[None] = field(default_factory=Future)

    def finish(self, error: BaseException | None = None) -> None:
        """Resolve `finished`; with CancelledError if the call was cancelled."""
        if self.cancel.cancelled:
            error = CancelledError("The request was cancelled before it was finished.")
        if error:
            self.finished.set_exception(error)
        else:
            self.finished.set_result(None)


class Writer:
    """One pipeline and the thread that hands texts to it and takes tokens from it."""

    def __init__(self, folder: Path, name: str, ends: Sequence[int], adapter: bytes | None = None) -> None:
        """`folder` has the graph, `ends` are the tokens that end a text, `adapter` is a LoRA file with its scaling."""
        self._pipeline = _load(folder, adapter)
        self._ends = list(ends)
        self._steps = Steps(self._pipeline, _tensor(self._ends[:1]), self._ends[0])
        self._name = name
        self._wake = threading.Condition()
        self._waiting: deque[Writing] = deque()
        self._bulk: deque[Writing] = deque()
        self._running: dict[Writing, Any] = {}
        self._number = 0
        self._closed = False
        self._thread: threading.Thread | None = None
        self.last_used = time.monotonic()

    @property
    def idle(self) -> bool:
        with self._wake:
            return not (self._waiting or self._bulk or self._running)

    @property
    def closed(self) -> bool:
        """Whether it takes no more texts; also after an error of the pipeline."""
        return self._closed

    @property
    def num_bytes(self) -> int:
        """Memory of the keys and values that are kept."""
        return int(self._pipeline.get_metrics().cache_size_in_bytes)

    def submit(self, writings: Sequence[Writing]) -> None:
        """Add texts to those under way.

        Raises:
            NlptasksError: the writer is closed.
        """
        with self._wake:
            self.last_used = time.monotonic()
            if self._closed:
                raise NlptasksError(f"{self._name} is closed: make a new Engine.")
            for writing in writings:
                (self._bulk if writing.bulk else self._waiting).append(writing)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name=f"nlptasks:{self._name}:writer", daemon=True)
                self._thread.start()
                close_at_exit(self)
            self._wake.notify()

    def retire(self) -> None:
        """Take no more texts; the thread ends after those under way."""
        with self._wake:
            self._closed = True
            self._wake.notify()

    def close(self, *, wait: bool = True) -> None:
        """Cancel all texts and end the thread; safe to call twice."""
        with self._wake:
            self._closed = True
            for writing in (*self._waiting, *self._bulk, *self._running):
                writing.cancel.cancel()
            self._wake.notify()
            thread = self._thread
        if wait and thread and thread is not threading.current_thread():
            thread.join()

    def _loop(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self._bulk or self._running or self._closed):
                    self._wake.wait()
                if self._closed and not (self._waiting or self._bulk or self._running):
                    self._steps.close()
                    return
                joining = self._next()
            try:
                if joining or self._running:
                    self._steps.go_on()
                for writing in joining:
                    self._join(writing)
                with self._wake:
                    self._wake.wait_for(lambda: self._waiting, READING_SECONDS)
                self._read()
                if not self._running:
                    # A cancelled text leaves its keys and values at the next step.
                    self._steps.end()
            except Exception as error:
                self._fail(error)

    def _next(self) -> list[Writing]:
        """The texts that join at this step: all that somebody waits for, and of lists as many as do not delay them.

        The caller holds the lock; they are under way from now on, though without a handle.
        """
        joining = list(self._waiting)
        self._waiting.clear()
        bulk = [writing for writing in self._running if writing.bulk]
        rows, unread = len(bulk), sum(len(writing.ids) for writing in bulk if not writing.tokens)
        while self._bulk and rows < BULK_ROWS and (not unread or unread + len(self._bulk[0].ids) <= STEP_TOKENS):
            writing = self._bulk.popleft()
            rows, unread = rows + 1, unread + len(writing.ids)
            joining.append(writing)
        self._running |= dict.fromkeys(joining)
        return joining

    def _join(self, writing: Writing) -> None:
        self._number += 1
        try:
            if not writing.cancel.cancelled:
                config = _config(writing, self._ends)
                self._running[writing] = self._pipeline.add_request(self._number, _tensor(writing.ids), config)
                return
        except Exception as error:
            self._leave(writing, error)
        else:
            self._leave(writing)

    def _read(self) -> None:
        """Take what the last step wrote, and let go of what is finished or cancelled."""
        for writing, handle in list(self._running.items()):
            error: Exception | None = None
            ended = writing.cancel.cancelled
            try:
                while not ended and handle.can_read():
                    for output in handle.read().values():
                        ended |= self._take(writing, output)
            # What one text's reader raises is no matter of the others.
            except Exception as raised:
                error, ended = raised, True
            status = handle.get_status().name
            if ended and status == "RUNNING":
                handle.cancel()
            if status == "IGNORED":
                error = UnsupportedModelError(f"{self._name}: {_NO_ROOM}")
            if ended or status != "RUNNING":
                self._leave(writing, error)

    def _leave(self, writing: Writing, error: Exception | None = None) -> None:
        with self._wake:
            del self._running[writing]
            self.last_used = time.monotonic()
        writing.finish(error)

    def _take(self, writing: Writing, output: Any) -> bool:
        tokens = list(output.generated_ids)
        writing.tokens += tokens
        writing.logprobs += output.generated_log_probs
        return writing.on_tokens is not None and writing.on_tokens(tokens)

    def _fail(self, error: Exception) -> None:
        _log.exception("%s failed.", self._name)
        with self._wake:
            self._closed = True
            failed = [*self._waiting, *self._bulk, *self._running]
            for texts in (self._waiting, self._bulk, self._running):
                texts.clear()
        for writing in failed:
            writing.finish(error)


def _load(folder: Path, adapter: bytes | None) -> Any:
    openvino = import_openvino()
    import numpy
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.max_num_batched_tokens = STEP_TOKENS
    scheduler.num_kv_blocks = CACHE_TOKENS // BLOCK
    scheduler.enable_prefix_caching = True
    # In float32 a text is nearly always the same alone and beside others, with a seed too. In 8 bits, GenAI's
    # default, log-probabilities differed by 0.03 nats, and nothing was quicker. A CPU with bfloat16 would compute in
    # it, and refuse this cache. One with products of bytes would round what it multiplies with to 8 bits: 0.11 nats at
    # most from torch instead of 0.03, 0.95 of the time for 16 texts at once and 1.07 for a lone one.
    settings: dict[str, Any] = {
        "ENABLE_CPU_PINNING": False, "KV_CACHE_PRECISION": "f32", "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }  # fmt: skip
    # OpenVINO does not read the variable: each of several processes would take every core.
    if (threads := os.environ.get("OMP_NUM_THREADS", "")).isdigit():
        settings["INFERENCE_NUM_THREADS"] = int(threads)
    if adapter is not None:
        lora = openvino_genai.Adapter(openvino.Tensor(numpy.frombuffer(adapter, dtype=numpy.uint8)))
        # Applied to the graph once. The other modes apply it at `generate` alone, and not to single requests.
        mode = openvino_genai.AdapterConfig.Mode.MODE_STATIC
        settings["adapters"] = openvino_genai.AdapterConfig(lora, 1.0, mode)
    return openvino_genai.ContinuousBatchingPipeline(str(folder), scheduler, "CPU", settings)


def _tensor(ids: Sequence[int]) -> Any:
    import numpy

    return import_openvino().Tensor(numpy.array([ids], dtype=numpy.int64))


def _config(writing: Writing, ends: Sequence[int]) -> Any:
    import openvino_genai

    decoding, config = writing.decoding, openvino_genai.GenerationConfig()
    config.eos_token_id, config.stop_token_ids = ends[0], set(ends)
    config.max_new_tokens = writing.max_new_tokens
    config.min_new_tokens = decoding.min_new_tokens or 0
    config.repetition_penalty = decoding.repetition_penalty
    config.logprobs = 1
    if decoding.do_sample:
        config.do_sample = True
        config.temperature, config.top_p = decoding.temperature, decoding.top_p
        if decoding.top_k:
            config.top_k = decoding.top_k
        config.rng_seed = secrets.randbits(32) if decoding.seed is None else decoding.seed
    return config


class Pipelines:
    """The pipelines of one base, by adapter, least recently used first."""

    def __init__(self, base: BaseFolder, graphs: Path, ends: Iterable[int]) -> None:
        self._base, self._graphs, self._ends = base, graphs, sorted(ends)
        self._writers: OrderedDict[tuple[str, int] | None, Writer] = OrderedDict()
        self._refused: set[tuple[str, int] | None] = set()

    def get(self, adapter: AdapterFolder | None) -> Writer | None:
        """The writer for an adapter, loaded now if need be; None where torch must write.

        Only the base's worker thread may ask, and it must submit at once: a later one may retire an idle writer.
        """
        key = adapter.key if adapter else None
        if key in self._refused:
            return None
        if key in self._writers and self._writers[key].closed:
            del self._writers[key]
        if key not in self._writers:
            try:
                made = self._make(adapter)
            except (UnsupportedModelError, OSError) as error:
                _log.warning("torch writes for %s: %s", self._base.id, error)
                made = None
            if made is None:
                self._refused.add(key)
                return None
            # A retrained adapter has the same path and a new key.
            for stale in [other for other in self._writers if key and other and other[0] == key[0]]:
                self._writers.pop(stale).retire()
            idle = [other for other, writer in self._writers.items() if writer.idle]
            for other in idle[: max(0, len(self._writers) + 1 - MAX_WRITERS)]:
                self._writers.pop(other).close()
            self._writers[key] = made
        self._writers.move_to_end(key)
        return self._writers[key]

    @property
    def idle(self) -> bool:
        return all(writer.idle for writer in self._writers.values())

    @property
    def last_used(self) -> float:
        return max((writer.last_used for writer in self._writers.values()), default=0.0)

    @property
    def num_bytes(self) -> int:
        return sum(writer.num_bytes for writer in self._writers.values())

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def _make(self, adapter: AdapterFolder | None) -> Writer | None:
        gguf = gguf_file(self._base.path)
        lora = lora_file(adapter) if adapter else None
        if gguf is None or (adapter and lora is None):
            return None
        openvino = import_openvino()
        parts = {"base": fingerprint(self._base.path), "openvino": openvino.__version__}
        folder = graph_folder(self._graphs, gguf.stem, parts, lambda folder: make_graph(gguf, folder))
        return Writer(folder, self._base.id, self._ends, lora)
