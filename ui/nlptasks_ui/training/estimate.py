"""Time and memory of a training before it is started: measured by the library on some of its own batches."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from nlptasks import CancelToken, NlptasksError, Settings
from nlptasks_ui.amounts import duration
from nlptasks_ui.training.plan import Plan, environment

if TYPE_CHECKING:
    from nlptasks.training import Probe

LONGEST = 300.0
"""Seconds after which measuring is given up: a base may have to be fetched first."""

_LOOK_SECONDS = 0.1


class EstimateError(NlptasksError):
    """Nothing could be measured."""


def measure(plan: Plan, settings: Settings, cancel: CancelToken | None = None) -> Probe:
    """Measure some steps of a planned training in a process of its own, which `cancel` ends.

    Raises:
        EstimateError: the training could not be started so, or measuring took too long.
        CancelledError: nobody waits for it any more.
    """
    from nlptasks.training import Probe

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
        with (Path(scratch) / "log.txt").open("w+", encoding="utf-8") as log:
            code = _run(command, env, log, cancel or CancelToken())
            log.seek(0)
            said = log.read().strip().splitlines()
        if not answered.is_file():
            raise EstimateError(f"The measuring process failed: {said[-1] if said else f'it ended with code {code}'}")
        answer = json.loads(answered.read_text(encoding="utf-8"))
    if "error" in answer:
        raise EstimateError(answer["error"])
    return Probe(**answer)


def _run(command: list[str], env: dict[str, str], log: IO[str], cancel: CancelToken) -> int:
    """Run a process to its end; it is killed when it takes too long or is not wanted any more."""
    end = time.monotonic() + LONGEST
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process:
        while process.poll() is None:
            if cancel.cancelled or time.monotonic() > end:
                process.kill()
                cancel.raise_if_cancelled()
                raise EstimateError(f"Measuring took more than {duration(LONGEST)} and was given up.")
            time.sleep(_LOOK_SECONDS)
        return process.returncode


def words(found: Probe) -> str:
    """The estimate as sentences, with where it comes from."""
    memory = f"{found.memory / 1e9:.1f} GB"
    where = "" if found.device == "cpu" else f" of {found.device}"
    return (
        f"About {duration(found.seconds)} and {memory} of memory{where}: {found.steps:,} steps of "
        f"{found.step_seconds:.2f} s on {found.train_rows:,} rows, {found.held_out_rows:,} held out. Measured "
        f"just now on {found.measured} steps of this training, in {duration(found.seconds_spent)}."
    )
