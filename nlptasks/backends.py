"""Backends: each turns a base, and an adapter on it, into a `Model`. Plugins register others than the built-in ones.

The backends of plugins are tried before those, in the order of their registration; the first one that serves a base
with an adapter gets the request. NLPTASKS_BACKEND, or `Engine(backend=...)`, selects one of them.
"""

from __future__ import annotations

import logging
import os
import pkgutil
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from nlptasks.errors import NlptasksError, UnknownNameError, UnsupportedModelError
from nlptasks.model import CancelToken, Head, Model, find_head
from nlptasks.process import close_at_exit, refuse_inherited

if TYPE_CHECKING:
    from nlptasks.plugins import Plugins
    from nlptasks.progress import Counter
    from nlptasks.store.adapters import AdapterFolder
    from nlptasks.store.download import BaseFolder

_log = logging.getLogger(__name__)

BUILT_IN = {"remote": "nlptasks.remote.backend:RemoteBackend", "torch": "nlptasks.runtime.pool:TorchBackend"}
"""Imported when a backend is first needed, not by `import nlptasks` or `Engine()`."""


@dataclass(frozen=True)
class BackendOptions:
    """What an engine wants of its backends: the arguments of `Engine`, and two functions.

    `find` returns the folder of a base, fetched if necessary; a backend with bases elsewhere never calls it.
    `head` returns the description of a verb's head. `graphs` is the folder that keeps compiled graphs; None leaves all
    to torch. `max_bytes` limits the memory of all bases, `idle_seconds` the time
    for which an unused one stays; `device` and `dtype` are those of `Engine`.
    """

    find: Callable[[str], BaseFolder]
    head: Callable[[str], Head] = find_head
    device: str = "auto"
    dtype: str = "auto"
    max_bytes: int | None = None
    idle_seconds: float | None = None
    graphs: Path | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Resident:
    """A base in a backend: its memory in bytes, 0 until it is loaded, and the number of calls that wait for it.

    `batches` counts the times that calls were computed together, `items` their texts.
    """

    name: str
    num_bytes: int = 0
    state: Literal["not loaded", "loading", "idle", "computing"] = "idle"
    placement: str = ""
    waiting: int = 0
    batches: int = 0
    items: int = 0


class Backend(Protocol):
    """Computes bases. Any thread may call it."""

    def serves(self, base: str, adapter: AdapterFolder | None) -> bool:
        """Whether it computes this base with this adapter; quick, and loads nothing."""
        ...

    def bind(
        self, base: str, adapter: AdapterFolder | None, *, cancel: CancelToken, counter: Counter | None
    ) -> AbstractContextManager[Model]:
        """The model for one request; it may be unloaded when the block ends.

        The model stops within one step of `cancel`, and reports the items that it gets and answers to `counter`.

        Raises:
            AdapterMismatchError: the adapter was trained on another base; no weight was read.
        """
        ...

    def resident(self) -> Sequence[Resident]:
        """The bases in memory, least recently used first."""
        ...

    def close(self) -> None:
        """Unload everything; all calls are cancelled. Safe to call twice."""
        ...


MakeBackend = Callable[[BackendOptions], Backend]


class Backends:
    """The backends of one engine, each made when it is first needed.

    Raises:
        UnknownNameError: there is no backend of the name `only`.
    """

    def __init__(self, plugins: Plugins, options: BackendOptions, only: str | Backend | None = None) -> None:
        self._plugins = plugins
        self._options = options
        self._made: dict[str, Backend] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._pid = os.getpid()
        close_at_exit(self)
        self._only = only if only is None or isinstance(only, str) else type(only).__name__
        if only is not None and not isinstance(only, str):
            self._made[type(only).__name__] = only
        elif only is not None and only not in (*plugins.backends, *BUILT_IN):
            raise UnknownNameError("backend", only, [*plugins.backends, *BUILT_IN])

    def choose(self, base: str, adapter: AdapterFolder | None) -> tuple[str, Backend]:
        """The backend that serves a base with an adapter, by its name.

        A backend that fails here is switched off with its plugin, and the others serve.

        Raises:
            UnsupportedModelError: no backend serves it, or not the selected one.
            NlptasksError: the engine is closed, or of the process that this one was forked from.
        """
        refuse_inherited(self._pid)
        for name in [self._only] if self._only else [*self._plugins.backends, *BUILT_IN]:
            try:
                backend = self._backend(name)
                if backend.serves(base, adapter):
                    return name, backend
            except Exception as error:
                if isinstance(error, NlptasksError) or name not in self._plugins.backends:
                    raise
                self._plugins.disable_backend(name, error)
        which = f"The backend {self._only!r} does not serve" if self._only else "No backend serves"
        raise UnsupportedModelError(f"{which} the base {base!r}: name another base, or leave NLPTASKS_BACKEND out.")

    def resident(self) -> list[Resident]:
        """The bases that are held, those of one backend least recently used first."""
        return [base for backend in list(self._made.values()) for base in backend.resident()]

    def close(self) -> None:
        """Unload everything; no backend is made afterwards. In a forked process this does nothing."""
        if self._pid != os.getpid():
            return
        with self._lock:
            self._closed = True
            made = list(self._made.values())
            self._made.clear()
        for backend in made:
            try:
                backend.close()
            except Exception:
                # One that cannot close must not keep the others open.
                _log.exception("The backend %s could not be closed.", type(backend).__name__)

    def _backend(self, name: str) -> Backend:
        with self._lock:
            if self._closed:
                raise NlptasksError("This engine is closed: make a new Engine.")
            if name not in self._made:
                make = pkgutil.resolve_name(BUILT_IN[name]) if name in BUILT_IN else self._plugins.backends[name]
                self._made[name] = make(self._options)
            return self._made[name]
