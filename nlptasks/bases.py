"""The adapter and the base of a request, and the folders of base models."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nlptasks.definitions import open_shipped
from nlptasks.errors import DownloadError, NlptasksError, UnsafeWeightsError, UnsupportedModelError
from nlptasks.plugins import Plugins
from nlptasks.settings import Settings
from nlptasks.task import AnyTask, Task

if TYPE_CHECKING:
    from nlptasks.store.adapters import AdapterFolder
    from nlptasks.store.download import BaseFolder, Progress

NO_ADAPTER = "none"
"""The adapter name for the bare base."""

PATIENCE = 2.0
"""Seconds that the Hub may take to answer before the embedded model is taken instead."""

FORGET = 60.0
"""Seconds after which an unavailable model is tried again."""

_log = logging.getLogger(__name__)


class Bases:
    """The base models of one engine. Each folder is looked up once: a check for changes on the Hub costs a round trip,
    and could mix two revisions within one engine."""

    def __init__(
        self, settings: Settings, plugins: Plugins, on_progress: Callable[[Progress], None] | None = None
    ) -> None:
        self._settings = settings
        self._plugins = plugins
        self._on_progress = on_progress
        self._folders: dict[str, BaseFolder] = {}
        self._missing: dict[str, float] = {}

    def find(self, name: str, patience: float | None = None) -> BaseFolder:
        """The folder of a base, fetched if necessary; `patience` limits the seconds until the Hub answers.

        Raises:
            NlptasksError: as `find_base` does.
        """
        from nlptasks.store.download import find_base

        if name not in self._folders:
            self._folders[name] = find_base(
                name, self._settings, on_progress=self._on_progress, shipped=self._plugins.bases, patience=patience
            )
        return self._folders[name]

    def choose(self, task: AnyTask, adapter: str | None, model: str | None) -> tuple[AdapterFolder | None, str]:
        """The adapter and the name of the base for a request; see `Engine.choose`."""
        from nlptasks.store.adapter_store import AdapterStore
        from nlptasks.store.exchange import base_of

        store = AdapterStore(self._settings)
        shipped = None if adapter == NO_ADAPTER else open_shipped(task, self._plugins.describe(task))
        # Answers name the shipped adapter too.
        if shipped and adapter == shipped.name and adapter not in store.names(task.name):
            adapter = None
        if adapter and adapter != NO_ADAPTER:
            named = store.find(task.name, adapter)
            if named.manifest and named.manifest.task != task.name and named.manifest.family != task.family:
                raise NlptasksError(
                    f"Adapter {adapter!r} was trained for {named.manifest.task}, expected one for {task.name}."
                )
            if not model and not named.base_id:
                raise NlptasksError(f"Adapter {adapter!r} does not say which base it was trained on: name it as model.")
            return named, model or base_of(named, self._settings, self._plugins.bases)
        if shipped and model in (None, shipped.base_id):
            return shipped, shipped.base_id
        return None, model or task.untrained_base or task.recipe.base

    def hub_model(self, task: Task[Any, Any, Any], inputs: Any) -> str | None:
        """The Hub checkpoint that the profile chooses for an input, or None for the task's embedded base.

        `hub` takes the one that the task names; `auto` does so for a task with `hub_first`, as long as the
        checkpoint is cached or the Hub answers within `PATIENCE`; `embedded` never does.
        """
        profile = self._settings.profile
        if profile == "embedded" or (profile == "auto" and not task.hub_first):
            return None
        name = task.hub_model(inputs)
        return name if name is None or profile == "hub" or self._is_at_hand(name, task) else None

    def _is_at_hand(self, name: str, task: Task[Any, Any, Any]) -> bool:
        if time.monotonic() < self._missing.get(name, 0.0):
            return False
        try:
            self.find(name, PATIENCE)
        except (DownloadError, UnsafeWeightsError, UnsupportedModelError) as error:
            if name not in self._missing:
                embedded = task.untrained_base or task.recipe.base
                _log.warning("%s: %s answers, because %s is not available.", task.name, embedded, name)
                _log.info("%s", error)
            self._missing[name] = time.monotonic() + FORGET
            return False
        return True
