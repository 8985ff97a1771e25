"""The base model of a request that names none, and the folders of base models."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nlptasks.errors import DownloadError, UnsafeWeightsError, UnsupportedModelError
from nlptasks.plugins import Plugins
from nlptasks.settings import Settings
from nlptasks.task import Task

if TYPE_CHECKING:
    from nlptasks.store.download import BaseFolder, Progress

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
