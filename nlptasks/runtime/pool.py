"""The bases in memory: loaded when needed, unloaded when idle or when they are too many."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from nlptasks.errors import NlptasksError
from nlptasks.runtime.resident import ResidentModel
from nlptasks.store.download import BaseFolder


class ModelPool:
    """Resident models by folder, least recently used first.

    `max_bytes` bounds their memory: after a request the least recently used idle bases leave until it is
    kept (the last one stays). `idle_seconds` unloads a base that nobody asked for so long.
    """

    def __init__(
        self,
        device: str = "auto",
        dtype: str = "auto",
        *,
        max_bytes: int | None = None,
        idle_seconds: float | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self._device = device
        self._dtype = dtype
        self._max_bytes = max_bytes
        self._idle_seconds = idle_seconds
        self._trust_remote_code = trust_remote_code
        self._models: OrderedDict[str, ResidentModel] = OrderedDict()
        self._in_use: dict[str, int] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._sweeper: threading.Thread | None = None

    def acquire(self, folder: BaseFolder) -> ResidentModel:
        """The resident model of a folder; it stays at least until `release`."""
        key = str(folder.path)
        with self._lock:
            if self._closed.is_set():
                raise NlptasksError("This engine is closed: make a new Engine.")
            if key not in self._models:
                self._models[key] = ResidentModel(
                    folder, self._device, self._dtype, trust_remote_code=self._trust_remote_code
                )
            self._models.move_to_end(key)
            self._in_use[key] = self._in_use.get(key, 0) + 1
            self._start_sweeper()
            return self._models[key]

    def release(self, model: ResidentModel) -> None:
        """Say that a request is finished with a model; unloads others when memory is over the bound."""
        key = str(model.folder.path)
        with self._lock:
            self._in_use[key] -= 1
            leaving = self._over_budget()
        for old in leaving:
            old.close()

    def models(self) -> list[ResidentModel]:
        """Resident models, least recently used first."""
        with self._lock:
            return list(self._models.values())

    def close(self) -> None:
        """Unload all; calls that wait are cancelled."""
        self._closed.set()
        with self._lock:
            leaving = list(self._models.values())
            self._models.clear()
        for model in leaving:
            model.close()

    def _over_budget(self) -> list[ResidentModel]:
        if self._max_bytes is None:
            return []
        leaving = []
        total = sum(model.num_bytes for model in self._models.values())
        for key in list(self._models)[:-1]:
            if total <= self._max_bytes:
                break
            if not self._in_use.get(key):
                model = self._models.pop(key)
                total -= model.num_bytes
                leaving.append(model)
        return leaving

    def _start_sweeper(self) -> None:
        if self._idle_seconds is None or self._sweeper:
            return
        self._sweeper = threading.Thread(target=self._sweep, name="nlptasks:idle", daemon=True)
        self._sweeper.start()

    def _sweep(self) -> None:
        assert self._idle_seconds is not None
        while not self._closed.wait(min(self._idle_seconds / 2, 30.0)):
            now = time.monotonic()
            with self._lock:
                idle = [
                    key
                    for key, model in self._models.items()
                    if not self._in_use.get(key)
                    and model.worker.idle
                    and now - model.worker.last_used >= self._idle_seconds
                ]
                leaving = [self._models.pop(key) for key in idle]
            for model in leaving:
                model.close()
