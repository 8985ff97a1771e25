"""How long a training will take and how much memory it needs: measured on a few of its own batches.

`measure` is for a process of its own (`subprocesses.call`), whose peak of memory is then the training's. The user's
adapters, runs and events are not touched.
"""

from __future__ import annotations

import dataclasses
import math
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.data.labelled_texts import DataOptions
from nlptasks.plugins import default_plugins
from nlptasks.settings import Settings
from nlptasks.task import AnyTask, Recipe
from nlptasks.training.families.base import Feature, family_trainer

if TYPE_CHECKING:
    from nlptasks.training.loop.trainer import Loop

STEPS = 6
"""Batches that are measured; the first is left out, since it also pays for what is made once."""

SECONDS = 20.0
"""After so long no further batch is begun."""

_EVALUATED = 64
_SEED = 13


@dataclass(frozen=True)
class Probe:
    """What was measured, and what follows for the whole training.

    `seconds` are those of loading, all steps, all evaluations and the gate. `step_seconds` is the mean of `measured`
    optimizer steps. `memory` is the peak in bytes, of the device where it is not the CPU, with the longest rows in
    one batch. `seconds_spent` is what the measuring took itself.
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


def probe(
    task: AnyTask,
    data: Sequence[str],
    *,
    recipe: Recipe | None = None,
    options: DataOptions | None = None,
    settings: Settings | None = None,
    device: str = "auto",
) -> Probe:
    """Measure some steps of a training; what it raises, `nlptasks.training.finetune` would raise.

    Run it in a fresh process: a peak of memory is that of the process.
    """
    from nlptasks.store.download import find_base
    from nlptasks.training.preparation import prepare

    started = time.monotonic()
    settings = settings or Settings.from_env()
    recipe = recipe or task.recipe
    family = family_trainer(task, recipe.extra.get("options"))
    rows = prepare(family, data, (), (), options or DataOptions(), recipe, settings)
    base = find_base(recipe.base, settings, shipped={**default_plugins().bases, **task.bases})
    # Behind the faults that can be found without them: torch and its like take seconds to import.
    from nlptasks.runtime.loading.devices import choose_placement
    from nlptasks.runtime.loading.roots import quiet_transformers
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
    per_step = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    chosen = _some(training, STEPS * per_step)
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
        loop = Loop(model, family, short, placement, Path(scratch), chosen, few, events, finish=late)
        loop.train()
        steps_taken = list(times)
        evaluated = time.monotonic()
        loop.evaluate()
        evaluated = (time.monotonic() - evaluated) / len(few)
        _longest(loop, training, recipe.per_device_train_batch_size)
    taken = [later - earlier for earlier, later in pairwise(steps_taken)]
    taken = taken[1:] or taken
    step_seconds = sum(taken) / len(taken)
    steps = max(
        1, math.ceil(recipe.num_train_epochs * math.ceil(math.ceil(len(training) / recipe.per_device_train_batch_size) / recipe.gradient_accumulation_steps))
    )
    # The last one is for the calibration.
    evaluations = math.ceil(recipe.num_train_epochs) * recipe.evals_per_epoch + 1
    return Probe(
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


def _longest(loop: Loop, features: list[Feature], batch_size: int) -> None:
    """One more step with the longest rows in one batch: what memory must hold at most."""
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


def measure(task: str, data: list[str], recipe: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """`probe` in JSON values, for a process of its own; `recipe` has what differs from the task's."""
    from nlptasks.training.recipes import override

    labels = tuple(options["labels"]) if options["labels"] else None
    chosen = default_plugins().task(task)
    measured = probe(
        chosen, data, recipe=override(chosen.recipe, recipe), options=DataOptions(**{**options, "labels": labels})
    )
    return dataclasses.asdict(measured)
