"""Time and memory of a training before it is started: measured by the library on some of its own batches."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from nlptasks import CancelToken, NlptasksError, Settings
from nlptasks_ui.amounts import duration
from nlptasks_ui.training.plan import Plan, environment

if TYPE_CHECKING:
    from nlptasks.training import Probe

LONGEST = 300.0
"""Seconds after which measuring is given up: a base may have to be fetched first."""


class EstimateError(NlptasksError):
    """Nothing could be measured."""


def measure(plan: Plan, settings: Settings, cancel: CancelToken | None = None) -> Probe:
    """Measure some steps of a planned training in a process of its own, which `cancel` ends.

    Raises:
        EstimateError: the training could not be started so, or measuring took too long.
        CancelledError: nobody waits for it any more.
    """
    from nlptasks.training import probe, subprocesses

    request = {
        "task": plan.task,
        "data": [plan.data],
        "recipe": plan.recipe,
        "options": dataclasses.asdict(plan.options),
    }
    try:
        answer = subprocesses.call(
            probe.measure, request, offline=settings.offline, environment=environment(settings), cancel=cancel,
            timeout=LONGEST,
        )  # fmt: skip
    except subprocesses.ProcessError as error:
        raise EstimateError(str(error)) from error
    except TimeoutError:
        raise EstimateError(f"Measuring took more than {duration(LONGEST)} and was given up.") from None
    return probe.Probe(**answer)


def words(found: Probe) -> str:
    """The estimate as sentences, with where it comes from."""
    memory = f"{found.memory / 1e9:.1f} GB"
    where = "" if found.device == "cpu" else f" of {found.device}"
    return (
        f"About {duration(found.seconds)} and {memory} of memory{where}: {found.steps:,} steps of "
        f"{found.step_seconds:.2f} s on {found.train_rows:,} rows, {found.held_out_rows:,} held out. Measured "
        f"just now on {found.measured} steps of this training, in {duration(found.seconds_spent)}."
    )
