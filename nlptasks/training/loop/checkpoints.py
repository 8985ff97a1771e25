"""A run's folder: checkpoints, which count only when complete, events, and the settings of the run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nlptasks.errors import TrainingError, clip
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import check_name
from nlptasks.store.folders import write_whole
from nlptasks.task import Recipe, current_settings

MARKER = "whole.json"
WEIGHTS = "trained.safetensors"
AVERAGE = "average.safetensors"
FOLDS = "folds.json"
RECIPE = "recipe."
"""Begins the names of the recipe's settings in a plan."""
ADDED_SETTINGS = MappingProxyType({"min_steps": 0, "few_shot": False, "contrastive_epochs": 0.0})
"""Recipe settings that version 0.1 did not have, and the values that train as it did."""


class RunFolder:
    """`<data>/runs/<task>/<name>`: one training, which may be stopped and continued."""

    def __init__(self, settings: Settings, task: str, name: str) -> None:
        self.path = settings.data / "runs" / task / check_name(name)

    @property
    def checkpoints(self) -> list[Path]:
        """The whole checkpoints, oldest first."""
        return sorted((path.parent for path in self.path.glob(f"checkpoint-*/{MARKER}")), key=_step)

    @property
    def last(self) -> Path | None:
        """The checkpoint to continue from."""
        return self.checkpoints[-1] if self.checkpoints else None

    @property
    def resumable(self) -> bool:
        """Whether there is a checkpoint, or a finished fold, to continue from."""
        return self.last is not None or (self.path / FOLDS).is_file()

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process trains in this folder; raises TrainingError if another one does."""
        from filelock import FileLock, Timeout

        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise TrainingError(
                f"Another process is training {self.path.name!r} now: wait for its end, or give another --name."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def start(self, plan: Mapping[str, Any], *, resume: bool, replace: bool) -> Path | None:
        """Prepare the folder and return the checkpoint to continue from, or None to begin.

        Raises:
            TrainingError: there is nothing to resume, the run was started with other settings, or an
                unfinished run would be overwritten.
        """
        last = self.last
        if resume:
            if not self.resumable:
                raise TrainingError(f"There is no checkpoint of {self.path.name!r} to resume: train without --resume.")
            self._check_plan(plan)
            # A checkpoint without its marker was cut short by a kill.
            for path in {*self.path.glob("checkpoint-*")}.difference(self.checkpoints):
                shutil.rmtree(path, ignore_errors=True)
            return last
        if last is not None and not replace:
            raise TrainingError(
                f"An unfinished run of {self.path.name!r} has a checkpoint of step {_step(last)}: "
                "continue it with --resume, or start over with --replace."
            )
        self.clear()
        self.events.unlink(missing_ok=True)
        (self.path / "run.json").write_text(json.dumps(plan, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return None

    def as_begun(self, recipe: Recipe, fixed: Collection[str]) -> Recipe:
        """The recipe that continues the run, which the last version may have begun without the settings that are new
        since: they train as it did. `fixed` are the settings that the caller chose."""
        before = self._read_plan()
        added = {n: value for n, value in ADDED_SETTINGS.items() if f"{RECIPE}{n}" not in before and n not in fixed}
        return recipe.replace(**added)

    def read_folds(self, count: int) -> list[dict[str, float]]:
        """The metrics of those folds of `count` that were finished before a stop."""
        try:
            number, metrics = json.loads((self.path / FOLDS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return metrics if number == count else []

    def write_folds(self, count: int, metrics: Sequence[Mapping[str, float]]) -> None:
        """Keep the metrics of the first folds of `count`."""
        write_whole(self.path / FOLDS, json.dumps([count, metrics]))

    def clear(self) -> None:
        """Remove every checkpoint, whole or not, and the metrics of folds."""
        (self.path / FOLDS).unlink(missing_ok=True)
        for path in self.path.glob("checkpoint-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _read_plan(self) -> dict[str, Any]:
        """The plan of the run as it was begun; empty if it cannot be read."""
        try:
            plan: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return plan

    def _check_plan(self, plan: Mapping[str, Any]) -> None:
        before = _with_current_settings(self._read_plan())
        now = json.loads(json.dumps(plan))
        differing = [
            f"{name} was {_short(before.get(name))}, now {_short(now.get(name))}"
            for name in sorted({*before, *now})
            if before.get(name) != now.get(name)
        ]
        if differing:
            raise TrainingError(
                "A run can only be resumed with the settings and data that it was started with. Different: "
                f"{'; '.join(differing)}. Give the same again, or start over with --replace."
            )


def _with_current_settings(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of a run, which the last version may have started, with the recipe settings that this version has."""
    recipe = {name.removeprefix(RECIPE): value for name, value in plan.items() if name.startswith(RECIPE)}
    settings = {**ADDED_SETTINGS, **current_settings(recipe)[0]} if recipe else {}
    others = {name: value for name, value in plan.items() if not name.startswith(RECIPE)}
    return {**others, **{f"{RECIPE}{name}": value for name, value in settings.items()}}


def write_marker(checkpoint: Path, content: Mapping[str, Any]) -> None:
    """Declare a checkpoint whole; call it last."""
    for file in checkpoint.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    write_whole(checkpoint / MARKER, json.dumps(content))


def read_marker(checkpoint: Path) -> dict[str, Any]:
    """The content that `write_marker` wrote."""
    content: dict[str, Any] = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
    return content


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _short(value: Any) -> str:
    return clip(json.dumps(value, ensure_ascii=False))
