"""Runs that were stopped or killed go on; nothing half-written is taken, nothing is overwritten by accident."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nlptasks.errors import CancelledError, TrainingError
from nlptasks.model import CancelToken
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import AdapterStore
from nlptasks.store.adapters import PEFT_WEIGHTS
from nlptasks.training import Event, TrainReport
from nlptasks.training.loop import checkpoints
from nlptasks.training.loop.checkpoints import WEIGHTS, RunFolder
from tests import warm_processes
from tests.training_rows import QUICK, bases, train  # noqa: F401 - fixtures

ROOT = Path(__file__).parents[2]


def stopping_at(step: int) -> tuple[CancelToken, Callable[[Event], None]]:
    cancel = CancelToken()

    def listen(event: Event) -> None:
        if event.kind == "step" and event.values["step"] == step:
            cancel.cancel()

    return cancel, listen


@pytest.mark.long
@pytest.mark.parametrize("stop", [5, 9])
def test_a_stopped_run_ends_where_an_unbroken_one_does(
    train: Callable[..., TrainReport], settings: Settings, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    monkeypatch.setattr("nlptasks.training.loop.events.Events.__init__.__defaults__", (0.0,))
    recipe = QUICK.replace(
        num_train_epochs=2, gradient_accumulation_steps=1, ema_decay=0.9, evals_per_epoch=2, learning_rate=1e-3
    )
    whole = train("whole", recipe)
    cancel, listen = stopping_at(stop)
    with pytest.raises(CancelledError, match=f"Stopped at step {stop} of 18"):
        train("parts", recipe, cancel=cancel, on_event=listen)
    with pytest.raises(TrainingError, match="An unfinished run of 'parts' has a checkpoint of step"):
        train("parts", recipe)
    with pytest.raises(TrainingError, match=r"recipe\.learning_rate was 0\.001, now 0\.002"):
        train("parts", recipe.replace(learning_rate=2e-3), resume=True)
    parts = train("parts", recipe, resume=True)
    one, other = load_file(whole.path / PEFT_WEIGHTS), load_file(parts.path / PEFT_WEIGHTS)
    assert set(one) == set(other)
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], atol=1e-6, rtol=1e-5)
    assert [e["metrics"] for e in whole.history] == [pytest.approx(e["metrics"], abs=1e-5) for e in parts.history]
    assert [e["train_loss"] for e in whole.history] == pytest.approx([e["train_loss"] for e in parts.history], abs=1e-5)
    assert RunFolder(settings, "feeling", "parts").checkpoints == []


@pytest.mark.long
def test_a_run_that_is_told_to_finish_publishes_the_best_so_far(
    train: Callable[..., TrainReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nlptasks.training.loop.events.Events.__init__.__defaults__", (0.0,))
    finish, listen = stopping_at(5)
    report = train("early", QUICK.replace(num_train_epochs=50), finish=finish, on_event=listen)
    assert (report.steps, report.stopped_early, report.path.is_dir()) == (5, True, True)
    assert report.history[-1]["step"] == 5


@pytest.mark.long
def test_a_run_that_broke_while_publishing_publishes_its_best_weights_when_resumed(
    train: Callable[..., TrainReport], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = QUICK.replace(
        num_train_epochs=2, gradient_accumulation_steps=1, ema_decay=0.9, evals_per_epoch=2, learning_rate=1e-3
    )
    whole = train("whole", recipe)
    with monkeypatch.context() as broken:
        broken.setattr("nlptasks.training.publishing.publish.save", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train("parts", recipe)
    # The Trainer's own note of the best checkpoint is a path, which a moved folder makes wrong.
    for state in RunFolder(settings, "feeling", "parts").path.glob("checkpoint-*/trainer_state.json"):
        state.write_text(
            re.sub(r'"best_model_checkpoint": "[^"]*"', '"best_model_checkpoint": null', state.read_text())
        )
    parts = train("parts", recipe, resume=True)
    one, other = load_file(whole.path / PEFT_WEIGHTS), load_file(parts.path / PEFT_WEIGHTS)
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], atol=1e-6, rtol=1e-5)


@pytest.mark.long
def test_names_are_not_overwritten_by_accident(train: Callable[..., TrainReport]) -> None:
    quick = QUICK.replace(num_train_epochs=1)
    first = train(recipe=quick)
    with pytest.raises(TrainingError, match=r"'mine' for feeling exists: give another --name, or --replace it"):
        train(recipe=quick)
    before = first.path.stat().st_ino
    assert train(recipe=quick, replace=True).path.stat().st_ino != before
    with pytest.raises(TrainingError, match="There is no checkpoint of 'other' to resume"):
        train("other", quick, resume=True)


@pytest.mark.long
def test_two_processes_do_not_train_one_name(train: Callable[..., TrainReport], settings: Settings) -> None:
    with RunFolder(settings, "feeling", "mine").locked(), pytest.raises(TrainingError, match="Another process"):
        train()


CHILD = """
import os, signal, sys
from pathlib import Path
from nlptasks import Recipe
from nlptasks.settings import Settings
from nlptasks.training import finetune
from nlptasks.training.loop import checkpoints
from nlptasks.training.publishing import gate
from nlptasks.training.loop import trainer as loop
from tests.training_rows import Feeling

root, moment = Path(sys.argv[1]), sys.argv[2]
real = loop.write_marker

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def second(checkpoint, content):
    die() if content["history"][-1]["epoch"] == 2 else real(checkpoint, content)

if moment == "checkpoint":
    loop.write_marker = second
else:
    gate.serve_again = die
recipe = Recipe(base=sys.argv[3], num_train_epochs=3, learning_rate=5e-3, per_device_train_batch_size=16, min_steps=0,
                max_length=48, dtype="float32")
settings = Settings(root / "cache", root / "data", offline=True)
finetune(Feeling(), str(root / "notes.csv"), name="mine", recipe=recipe, settings=settings, device="cpu")
"""


@pytest.mark.long
@pytest.mark.parametrize("moment", [pytest.param("checkpoint", marks=pytest.mark.full), "publishing"])
def test_a_killed_process_leaves_nothing_half_written(
    train: Callable[..., TrainReport], settings: Settings, tmp_path: Path, bases: Callable[[str], Path], moment: str
) -> None:
    result = warm_processes.run([sys.executable, "-c", CHILD, str(tmp_path), moment, str(bases("bert"))],
                                env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"})  # fmt: skip
    assert result.returncode == -signal.SIGKILL
    run = RunFolder(settings, "feeling", "mine")
    steps = [path.name for path in run.checkpoints]
    if moment == "checkpoint":
        assert steps == ["checkpoint-9"]
        assert (run.path / "checkpoint-18").is_dir(), "the second one was being written"
    else:
        assert steps[-1] == "checkpoint-27"
    assert AdapterStore(settings).names("feeling") == []
    assert not AdapterStore(settings).folder("feeling", "mine").exists()
    report = train(resume=True)
    assert report.metrics["accuracy"] == 1.0
    assert [path.name for path in report.path.parent.iterdir()] == ["mine"], "the staging folder is gone"


def test_a_checkpoint_without_its_marker_is_no_checkpoint(settings: Settings) -> None:
    run = RunFolder(settings, "feeling", "mine")
    for step in (5, 10):
        (run.path / f"checkpoint-{step}").mkdir(parents=True)
        (run.path / f"checkpoint-{step}" / WEIGHTS).write_bytes(b"x")
    assert run.last is None
    checkpoints.write_marker(run.path / "checkpoint-5", {"history": []})
    assert run.last == run.path / "checkpoint-5"
