"""Trainings whose gate only notes what it would compare, and one fresh process that serves all their folders."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nlptasks.model import Head
from nlptasks.settings import Settings
from nlptasks.task import Recipe
from nlptasks.training import TrainReport, finetune
from nlptasks.training.publishing import gate
from tests import warm_processes

ROOT = Path(__file__).parents[2]


@dataclass
class Outcome:
    """One trained combination: what serving was asked, what training answered, what a fresh process answers."""

    request: dict[str, Any] = field(default_factory=dict)
    expected: list[list[float]] = field(default_factory=list)
    report: TrainReport | None = None
    failure: Exception | None = None
    served: list[list[float]] | str = "the fresh process gave no answer"

    @property
    def trained(self) -> TrainReport:
        if self.failure:
            raise self.failure
        assert self.report
        return self.report


def train_noting(
    task: Any, recipe: Recipe, data: str, held: str, name: str, home: Settings, patch: pytest.MonkeyPatch
) -> Outcome:
    """Train with a gate that only notes what it would compare."""
    outcome = Outcome()

    def serve_again(base: Any, adapter: Path, head: Head, requests: Any, **options: Any) -> list[list[float]]:
        fields = {**dataclasses.asdict(base), "path": str(base.path)}
        outcome.request = {"base": fields, "head": dataclasses.asdict(head), "requests": requests, **options}
        return []

    def compare(expected: list[list[float]], served: list[list[float]], tolerance: float) -> float:
        outcome.expected = expected
        return 0.0

    patch.setattr(gate, "serve_again", serve_again)
    patch.setattr(gate, "compare", compare)
    # Again for each: architectures and Trainer are imported when they are first used.
    gc.freeze()
    try:
        outcome.report = finetune(task, data, name=name, recipe=recipe, validation=[held], settings=home, device="cpu")
    except Exception as error:
        outcome.failure = error
    return outcome


SERVE = """
import contextlib, json, sys, traceback
from nlptasks.runtime.cpu import memory
from nlptasks.training.publishing import gate

# As in conftest.py.
memory.unfreeze = lambda: None
for asked in sys.argv[1:]:
    with open(asked + ".error", "w") as errors, contextlib.redirect_stderr(errors):
        try:
            with open(asked) as request:
                served = gate.serve_folder(**json.load(request))
            with open(asked + ".answer", "w") as answer:
                json.dump(served, answer)
        except Exception:
            traceback.print_exc()
"""


def serve_all(outcomes: Sequence[Outcome], scratch: Path) -> None:
    """Serve every trained folder in one fresh process: its imports take longer than its work."""
    asked: list[str] = []
    for number, outcome in enumerate(outcomes):
        path = scratch / f"request-{number}.json"
        path.write_text(json.dumps({**outcome.request, "adapter": str(outcome.trained.path)}))
        asked.append(str(path))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    warm_processes.run([sys.executable, "-c", SERVE, *asked], env=environment).check_returncode()
    for path, outcome in zip(asked, outcomes, strict=True):
        answer = Path(f"{path}.answer")
        outcome.served = json.loads(answer.read_text()) if answer.is_file() else Path(f"{path}.error").read_text()
