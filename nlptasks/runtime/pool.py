"""The backend "torch": bases in memory, loaded when needed, unloaded when idle or when they are too many."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nlptasks.backends import BackendOptions, Resident
from nlptasks.errors import NlptasksError
from nlptasks.model import CancelToken
from nlptasks.process import import_alone
from nlptasks.store.adapters import AdapterFolder
from nlptasks.store.download import BaseFolder

if TYPE_CHECKING:
    from nlptasks.progress import Counter
    from nlptasks.runtime.bound import BoundModel
    from nlptasks.runtime.resident import ResidentModel


class TorchBackend:
    """Resident models by folder, least recently used first; transformers computes them.

    After a request the least recently used idle bases are unloaded down to `max_bytes` (the last one stays).
    """

    def __init__(self, options: BackendOptions) -> None:
        self._options = options
        self._models: OrderedDict[str, ResidentModel] = OrderedDict()
        self._in_use: dict[str, int] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._sweeper: threading.Thread | None = None
        if options.idle_seconds is not None:
            self._sweeper = threading.Thread(
                target=self._sweep, args=(options.idle_seconds,), name="nlptasks:idle", daemon=True
            )
            self._sweeper.start()

    def serves(self, base: str, adapter: AdapterFolder | None) -> bool:
        """Always: a base is a folder, or can be fetched as one."""
        return True

    @contextmanager
    def bind(
        self, base: str, adapter: AdapterFolder | None, *, cancel: CancelToken, counter: Counter | None
    ) -> Iterator[BoundModel]:
        """The model of a base with an adapter; the base stays at least until the block ends."""
        model = self._acquire(self._options.find(base))
        try:
            yield model.bind(adapter, cancel, counter)
        finally:
            self._release(model)

    def resident(self) -> list[Resident]:
        """The bases in memory or about to be, least recently used first."""
        with self._lock:
            models = list(self._models.values())
        return [model.described for model in models]

    def close(self) -> None:
        """Unload all; all calls are cancelled."""
        self._closed.set()
        with self._lock:
            leaving = list(self._models.values())
            self._models.clear()
        for model in leaving:
            model.close()
        if self._sweeper:
            self._sweeper.join()

    def _acquire(self, folder: BaseFolder) -> ResidentModel:
        key = str(folder.path)
        options = self._options
        # After the base was found: torch takes seconds to import, which an error should not wait for.
        import_alone("nlptasks.runtime.resident")
        with self._lock:
            if self._closed.is_set():
                raise NlptasksError("This engine is closed: make a new Engine.")
            if key not in self._models:
                from nlptasks.runtime.resident import ResidentModel

                self._models[key] = ResidentModel(
                    folder, options.device, options.dtype, trust_remote_code=options.trust_remote_code,
                    head=options.head, graphs=options.graphs,
                )  # fmt: skip
            self._models.move_to_end(key)
            self._in_use[key] = self._in_use.get(key, 0) + 1
            return self._models[key]

    def _release(self, model: ResidentModel) -> None:
        """A request is finished with a model; others are unloaded when memory is over the bound."""
        with self._lock:
            self._in_use[str(model.folder.path)] -= 1
            leaving = self._over_budget()
        for old in leaving:
            old.close()

    def _over_budget(self) -> list[ResidentModel]:
        if self._options.max_bytes is None:
            return []
        leaving = []
        total = sum(model.num_bytes for model in self._models.values())
        for key in list(self._models)[:-1]:
            if total <= self._options.max_bytes:
                break
            if not self._in_use.get(key):
                model = self._models.pop(key)
                total -= model.num_bytes
                leaving.append(model)
        return leaving

    def _sweep(self, seconds: float) -> None:
        while not self._closed.wait(min(seconds / 2, 30.0)):
            now = time.monotonic()
            with self._lock:
                idle = [
                    key
                    for key, model in self._models.items()
                    if not self._in_use.get(key) and model.idle and now - model.last_used >= seconds
                ]
                leaving = [self._models.pop(key) for key in idle]
            for model in leaving:
                model.close()
