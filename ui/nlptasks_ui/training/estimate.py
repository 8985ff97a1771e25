"""Time and memory of a training before it is started: measured by the library on some of its batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nlptasks import CancelToken, Settings
from nlptasks_ui.amounts import duration
from nlptasks_ui.training.plan import Plan, environment

if TYPE_CHECKING:
    from nlptasks.training import Estimate

LONGEST = 300.0
"""Seconds after which measuring is stopped: a base may have to be downloaded first."""


def measure(plan: Plan, settings: Settings, cancel: CancelToken | None = None) -> Estimate:
    """Measure some steps of a planned training, as `nlptasks.training.estimate` does."""
    from nlptasks.training import estimate

    return estimate(
        plan.task, [plan.data], changes=plan.recipe, options=plan.options, environment=environment(settings),
        cancel=cancel, timeout=LONGEST,
    )  # fmt: skip


def words(estimate: Estimate) -> str:
    """The estimate as sentences, with where it comes from."""
    memory = f"{estimate.memory / 1e9:.1f} GB"
    where = "" if estimate.device == "cpu" else f" of {estimate.device}"
    return (
        f"About {duration(estimate.seconds)} and {memory} of memory{where}: {estimate.steps:,} steps of "
        f"{estimate.step_seconds:.2f} s on {estimate.train_rows:,} rows, {estimate.held_out_rows:,} held out. Measured "
        f"just now on {estimate.measured} steps of this training, in {duration(estimate.seconds_spent)}."
    )
