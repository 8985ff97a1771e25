"""The names of tasks, adapters and bases that requests may use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from nlptasks import UnknownNameError
from nlptasks.serve.faults import Fault
from nlptasks.store import CATALOG, AdapterFolder, AdapterStore

if TYPE_CHECKING:
    from nlptasks import AnyTask, Engine

_ADAPTER = re.compile(r"[A-Za-z0-9][\w.-]{0,127}", re.ASCII)


class Choice(NamedTuple):
    """A task, and the adapter of a request."""

    task: AnyTask
    adapter: str | None = None


class Names:
    """What may be named: installed tasks, adapters of the store, bases of the catalog and those that are allowed.

    A path or a Hub id would let any caller read a folder of the server, or fill its disk.
    """

    def __init__(self, engine: Engine, models: tuple[str, ...] = ()) -> None:
        self._engine = engine
        self._store = AdapterStore(engine.settings)
        self.models = tuple(dict.fromkeys([*CATALOG, *engine.plugins.bases, *models]))

    def adapter(self, task: AnyTask, name: str | None) -> str | None:
        """An adapter's name; raises Fault for a path or an id of the Hub, UnknownNameError if there is none."""
        if name is None:
            return None
        if not _ADAPTER.fullmatch(name):
            raise Fault(422, f"adapter: expected a name in the server's store, found {name[:60]!r}.", param="adapter")
        known = [*self._store.names(task.name), "none"]
        if name not in known and name != task.name:
            raise UnknownNameError("adapter", name, known)
        return name

    def adapters(self) -> dict[str, list[AdapterFolder]]:
        """The adapters of the store by task, installed or not."""
        return {task: self._store.list(task) for task in self._store.tasks()}

    def faults(self, task: str) -> dict[str, str]:
        """What is wrong with the adapters of a task that cannot be used, by their names."""
        faults = self._store.faults(task).items()
        return {path.name: text.replace(f"{path.parent.parent}/", "") for path, text in faults}

    def model(self, name: str | None) -> str | None:
        """A base's name; raises UnknownNameError for one that is not allowed."""
        if name is not None and name not in self.models:
            raise UnknownNameError("model", name[:60], self.models)
        return name

    def task(self, name: str) -> AnyTask:
        """A task; raises UnknownNameError if there is none of this name."""
        return self._engine.plugins.task(name[:200])

    def resolve(self, name: str) -> Choice:
        """What TASK or TASK@ADAPTER means; raises UnknownNameError if there is no such task."""
        return self.choice(name) or Choice(self.task(name))

    def choice(self, name: str) -> Choice | None:
        """What TASK or TASK@ADAPTER means; None if it is not the name of a task."""
        task, _, adapter = name.partition("@")
        if task not in self._engine.plugins.tasks:
            return None
        chosen = self.task(task)
        return Choice(chosen, self.adapter(chosen, adapter or None))
