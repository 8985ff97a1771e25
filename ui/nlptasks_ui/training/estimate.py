"""Time and memory of a training before it is started: measured by the library on some of its own batches."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nlptasks import NlptasksError, Settings
from nlptasks_ui.batch.show import duration
from nlptasks_ui.training.plan import Plan, environment

if TYPE_CHECKING:
    from nlptasks.training.probe import Probe

LONGEST = 300.0
"""Seconds after which measuring is given up: a base may have to be fetched first."""


class EstimateError(NlptasksError):
    """Nothing could be measured."""


def measure(plan: Plan, settings: Settings) -> Probe:
    """Measure some steps of a planned training in a process of its own.

    Raises:
        EstimateError: the training could not be started so, or measuring took too long.
    """
    from nlptasks.training.probe import Probe

    request = {
        "task": plan.task,
        "data": [plan.data],
        "recipe": plan.recipe,
        "options": dataclasses.asdict(plan.options),
    }
    with tempfile.TemporaryDirectory(prefix="nlptasks-estimate-") as scratch:
        asked, answered = Path(scratch) / "request.json", Path(scratch) / "answer.json"
        asked.write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, "-m", "nlptasks.training.probe", str(asked), str(answered)]
        env = {**os.environ, **environment(settings)}
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            raise EstimateError(f"Measuring took more than {duration(LONGEST)} and was given up.") from None
        if not answered.is_file():
            words = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
            raise EstimateError(f"The measuring process failed: {words[-1]}")
        answer = json.loads(answered.read_text(encoding="utf-8"))
    if "error" in answer:
        raise EstimateError(answer["error"])
    return Probe(**answer)


def words(found: Probe) -> str:
    """The estimate as sentences, with where it comes from."""
    memory = f"{found.memory / 1e9:.1f} GB"
    where = "" if found.device == "cpu" else f" of {found.device}"
    return (
        f"About {duration(found.seconds)} and {memory} of memory{where}: {found.steps:,} steps of "
        f"{found.step_seconds:.2f} s on {found.train_rows:,} rows, {found.held_out_rows:,} held out. Measured "
        f"just now on {found.measured} steps of this training, in {duration(found.seconds_spent)}."
    )
