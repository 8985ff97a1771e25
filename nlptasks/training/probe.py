"""How long a training will take and how much memory it needs: measured on a few of its batches.

The user's adapters, runs and events are not touched.
"""

from __future__ import annotations

import dataclasses
import math
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.data.labelled_texts import DataOptions
from nlptasks.errors import TrainingError
from nlptasks.model import CancelToken
from nlptasks.plugins import default_plugins
from nlptasks.process import import_alone
from nlptasks.settings import Settings
from nlptasks.task import AnyTask, Recipe
from nlptasks.training import subprocesses
from nlptasks.training.families.base import Feature, recipe_trainer
from nlptasks.training.recipes import changed_settings, num_steps, override

if TYPE_CHECKING:
    from nlptasks.training.loop.trainer import Loop

STEPS = 6
"""Optimizer steps that are run; the first is not measured, as it includes work that is only needed once."""

SECONDS = 20.0
"""No step begins after this time."""

_EVALUATED = 64
_SEED = 13


@dataclass(frozen=True)
class Estimate:
    """Time and memory of a whole training.

    `seconds` include loading, all steps, all evaluations and the gate. `step_seconds` is the mean of `measured`
    optimizer steps. `memory` is the peak in bytes, of the device or else of the process, with the longest rows in one
    batch. `seconds_spent` is the time that the measurement took.
    """

    seconds: float
    steps: int
    step_seconds: float
    measured: int
    memory: int
    device: str
    train_rows: int
    held_out_rows: int
    seconds_spent: float


def estimate(
    task: str,
    data: Sequence[str],
    *,
    changes: Mapping[str, Any] | None = None,
    options: DataOptions | None = None,
    environment: Mapping[str, str] | None = None,
    cancel: CancelToken | None = None,
    timeout: float = float("inf"),
) -> Estimate:
    """Measure some steps of a training in another process, whose peak of memory is then the training's.

    Args:
        task: the task's name.
        data: files and Hub data sets.
        changes: settings that differ from the task's recipe.
        options: columns, label names, limits.
        environment: environment variables of the process, in addition to those of this one.
        cancel: ends the process.
        timeout: seconds after which the process is ended.

    Raises:
        TrainingError: the training cannot be started, or measuring took more than `timeout` seconds.
        CancelledError: `cancel` was cancelled.
    """
    fields = dataclasses.asdict(options or DataOptions())
    request = {"task": task, "data": list(data), "changes": dict(changes or {}), "options": fields}
    try:
        answer = subprocesses.call(
            _probe_apart, request, offline=False, environment=environment, cancel=cancel, timeout=timeout
        )
    except subprocesses.ProcessError as error:
        raise TrainingError(str(error)) from error
    except TimeoutError:
        raise TrainingError(f"Measuring took more than {timeout:g} seconds and was stopped.") from None
    return Estimate(**answer)


def _probe_apart(task: str, data: list[str], changes: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """`probe` in JSON values, for the other process."""
    labels = tuple(options["labels"]) if options["labels"] else None
    chosen = default_plugins().task(task)
    recipe = override(chosen.recipe, changes)
    return dataclasses.asdict(probe(chosen, data, recipe=recipe, options=DataOptions(**{**options, "labels": labels})))


def probe(
    task: AnyTask,
    data: Sequence[str],
    *,
    recipe: Recipe | None = None,
    options: DataOptions | None = None,
    settings: Settings | None = None,
    device: str = "auto",
) -> Estimate:
    """Measure some steps of a training in this process; raises what `nlptasks.training.finetune` would raise."""
    from nlptasks.store.download import find_base
    from nlptasks.training.preparation import prepare

    started = time.monotonic()
    settings = settings or Settings.from_env()
    recipe = recipe or task.recipe
    if recipe.few_shot:
        raise TrainingError("few_shot trains a linear layer in seconds: there are no steps to measure.")
    family = recipe_trainer(task, recipe)
    fixed = changed_settings(recipe, task.recipe)
    rows = prepare(family, data, (), (), options or DataOptions(), recipe, settings, fixed=fixed)
    recipe = rows.recipe
    base = find_base(recipe.base, settings, shipped={**default_plugins().bases, **task.bases})
    # Imported after the checks of the data, which do not need them: torch takes seconds.
    import_alone("nlptasks.training.loop.trainer")
    from nlptasks.runtime.loading.base import quiet_transformers
    from nlptasks.runtime.loading.devices import choose_placement
    from nlptasks.training.loop.events import Event, Events
    from nlptasks.training.loop.models import build
    from nlptasks.training.loop.trainer import Loop

    placement = choose_placement(device, recipe.dtype)
    model = build(base, family, rows.labels, recipe, placement)
    training, held_out = (
        family.encode(side, rows.labels, model.tokenizer, model.max_length, model.info)
        for side in (rows.training, rows.held_out)
    )
    loading = time.monotonic() - started
    batch_size, accumulation = recipe.per_device_train_batch_size, recipe.gradient_accumulation_steps
    some = _some(training, STEPS * batch_size * accumulation)
    times: list[float] = []

    def note(event: Event) -> None:
        if event.kind in {"start", "step"}:
            times.append(time.monotonic())

    def late() -> bool:
        return len(times) > 2 and time.monotonic() - times[0] > SECONDS

    short = recipe.replace(num_train_epochs=1, evals_per_epoch=1, early_stopping_patience=0)
    with tempfile.TemporaryDirectory(prefix="nlptasks-probe-") as scratch, quiet_transformers():
        few = _some(held_out, _EVALUATED)
        events = Events([note], interval=0.0)
        loop = Loop(model, family, short, placement, Path(scratch), some, few, events, finish=late)
        loop.train()
        steps_taken = list(times)
        evaluated = time.monotonic()
        loop.evaluate()
        evaluated = (time.monotonic() - evaluated) / len(few)
        _step_with_longest(loop, training, batch_size)
    taken = [later - earlier for earlier, later in pairwise(steps_taken)]
    taken = taken[1:] or taken
    step_seconds = sum(taken) / len(taken)
    steps = num_steps(recipe, len(training))
    # The last one is for the calibration.
    evaluations = math.ceil(recipe.num_train_epochs) * recipe.evals_per_epoch + 1
    return Estimate(
        # The gate loads once more, in a process of its own.
        seconds=2 * loading + steps * step_seconds + evaluations * len(held_out) * evaluated,
        steps=steps,
        step_seconds=step_seconds,
        measured=len(taken),
        memory=_peak(placement.device),
        device=placement.device,
        train_rows=len(rows.training),
        held_out_rows=len(rows.held_out),
        seconds_spent=time.monotonic() - started,
    )


def _some(features: list[Feature], count: int) -> list[Feature]:
    return features if len(features) <= count else random.Random(_SEED).sample(features, count)


def _step_with_longest(loop: Loop, features: list[Feature], batch_size: int) -> None:
    """One more step, with the longest rows in one batch: the peak of memory."""
    batch = sorted(features, key=len)[-batch_size:]
    loop.training_step(loop.model_wrapped, loop.family.collate(batch, loop.trainable.tokenizer))


def _peak(device: str) -> int:
    """Bytes at the highest, of the device's memory or of this process."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_reserved())
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes everywhere but on macOS.
    return int(peak if sys.platform == "darwin" else 1024 * peak)
