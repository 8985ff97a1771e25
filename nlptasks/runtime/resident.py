"""A base model that stays in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.backends import Resident
from nlptasks.model import CancelToken, Head, ModelInfo, find_head
from nlptasks.process import LOADING
from nlptasks.runtime.bound import BoundModel
from nlptasks.runtime.cpu.memory import free_memory, settle
from nlptasks.runtime.cpu.threads import batch_threads
from nlptasks.runtime.description import describe
from nlptasks.runtime.loading.base import LoadedBase, load_base
from nlptasks.runtime.reading import Readers
from nlptasks.runtime.verbs.batching import GPU_BUDGET, Batcher
from nlptasks.runtime.worker import Worker
from nlptasks.runtime.writing import Writers
from nlptasks.store.adapters import AdapterFolder
from nlptasks.store.base_check import check_base

if TYPE_CHECKING:
    from nlptasks.progress import Counter
    from nlptasks.runtime.loading.folding import Adapters
    from nlptasks.runtime.verbs.encoding import Reader
    from nlptasks.store.download import BaseFolder


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
        self._base: LoadedBase | None = None
        self._adapters: Adapters | None = None
        self._fitting: dict[Path, AdapterFolder] = {}
        self._infos: dict[Path | None, tuple[AdapterFolder | None, ModelInfo]] = {}
        self.reading = Batcher()
        self.readers = Readers(self, graphs)
        self.writers = Writers(self, graphs)

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
        base = self._base or self.readers.stored or self.worker.call(self.readers.base)
        path = adapter.path if adapter else None
        described = self._infos.get(path)
        if described is None or described[0] != adapter:
            described = self._infos[path] = adapter, describe(base, self.folder, adapter)
        return described[1]

    @property
    def loaded(self) -> LoadedBase | None:
        """The base if it is in memory."""
        return self._base

    @property
    def num_bytes(self) -> int:
        """Memory of base, heads and adapters; 0 until loaded."""
        parts = (self._base, self._adapters, self.readers, self.writers)
        return sum(part.num_bytes for part in parts if part is not None)

    @property
    def idle(self) -> bool:
        """Whether nothing is computed or waits."""
        return self.worker.idle and self.writers.idle

    @property
    def last_used(self) -> float:
        """When a computation began or ended, in seconds of `time.monotonic`."""
        return max(self.worker.last_used, self.writers.last_used)

    @property
    def described(self) -> Resident:
        """Its state for `Engine.resident`."""
        base, idle = self._base or self.readers.stored, self.idle
        placement = f"{base.placement.dtype} on {base.placement.device}" if base else ""
        placement = self.writers.placement or placement
        state: Any = ("idle" if idle else "computing") if base else ("not loaded" if idle else "loading")
        return Resident(
            self.folder.id,
            self.num_bytes,
            state,
            placement,
            self.worker.waiting,
            self.worker.batches,
            self.worker.items,
        )

    def close(self) -> None:
        """End the thread and free the weights; all calls are cancelled."""
        self.worker.close()
        self.writers.close()
        self.readers.close()
        if self.reading.threads:
            self.reading.threads.close()
        self._base = self._adapters = None
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
            with LOADING:
                from nlptasks.runtime.loading.folding import Adapters

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
