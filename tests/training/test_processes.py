"""Several processes train one adapter: the same weights as one process, one writer, and they end together."""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from nlptasks.errors import DataError, TrainingError
from nlptasks.settings import Settings
from nlptasks.store.adapters import PEFT_WEIGHTS
from nlptasks.testing import tiny_model
from nlptasks.training import TrainReport, finetune
from nlptasks.training.loop import processes
from nlptasks.training.loop.processes import read_processes
from tests.training_rows import QUICK, bases, rows, train, write_csv  # noqa: F401 - fixtures

STILL = QUICK.replace(num_train_epochs=1, lora_dropout=0.0, base_dropout=0.0, ema_decay=0.9, evals_per_epoch=2)
"""Without chance in the steps."""

CONFIG = """compute_environment: LOCAL_MACHINE
distributed_type: MULTI_GPU
mixed_precision: bf16
num_machines: 1
num_processes: 2
"""


@pytest.mark.long
def test_two_processes_make_the_adapter_that_one_makes(
    train: Callable[..., TrainReport], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A start as the user's takes most of the time; the command below has it.
    monkeypatch.setattr(processes, "_CONTEXT", multiprocessing.get_context("fork"))
    before = set(psutil.Process().children())
    one, two = train("one", STILL), train("two", STILL, num_processes=2)
    assert two.metrics == pytest.approx(one.metrics, abs=1e-4)
    assert [entry["step"] for entry in two.history] == [entry["step"] for entry in one.history]
    losses = [[entry["train_loss"] for entry in report.history] for report in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    first, second = load_file(one.path / PEFT_WEIGHTS), load_file(two.path / PEFT_WEIGHTS)
    assert set(first) == set(second)
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=1e-4, rtol=1e-3)
    assert sorted(path.name for path in two.path.parent.iterdir()) == ["one", "two"]
    # multiprocessing's tracker of semaphores stays for as long as this process.
    left = set(psutil.Process().children()) - before
    assert [one for one in left if "resource_tracker" not in " ".join(one.cmdline())] == []
    assert "RANK" not in os.environ


def test_what_processes_cannot_share_is_one_sentence(train: Callable[..., TrainReport], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"a divisor of the batch of 16 rows, .* found 3: give --batch-size 15"):
        train(num_processes=3)
    with pytest.raises(TrainingError, match="num_processes: expected 1 with few_shot, found 2"):
        train(recipe=QUICK.replace(few_shot=True), num_processes=2)
    with pytest.raises(TrainingError, match="found 'nowhere': transformers knows none of this name"):
        train(report_to="nowhere")
    missing = next(name for name in ("swanlab", "comet_ml", "wandb", "mlflow") if find_spec(name) is None)
    with pytest.raises(TrainingError, match=f"found '{missing}': its package is missing"):
        train(report_to=missing)


def test_a_file_of_accelerate_says_how_many_and_how(tmp_path: Path) -> None:
    file = tmp_path / "accelerate.yaml"
    file.write_text(CONFIG)
    assert read_processes(None, file).count == 2
    assert read_processes(4, file).count == 4
    assert read_processes(3).count == 3
    file.write_text(CONFIG.replace("MULTI_GPU", "FSDP") + "fsdp_config:\n  fsdp_state_dict_type: SHARDED_STATE_DICT\n")
    sharded = read_processes(None, file)
    assert sharded.variables["ACCELERATE_USE_FSDP"] == "true"
    with pytest.raises(TrainingError, match="fsdp_state_dict_type: expected FULL_STATE_DICT"):
        sharded.check(QUICK)
    with pytest.raises(TrainingError, match=r"ema_decay: expected 0 with FSDP or DeepSpeed, found 0\.9"):
        sharded.check(STILL)
    for text, error, words in (
        (CONFIG.replace("machines: 1", "machines: 2"), TrainingError, "expected num_machines 1, found 2"),
        (CONFIG.replace("MULTI_GPU", "DEEPSPEED"), TrainingError, "found DeepSpeed: pip install deepspeed"),
        ("colour: red", DataError, "expected a file that `accelerate config` wrote, found an error: "),
        ("a,b", DataError, "found an error: it has no settings"),
        *(
            (CONFIG.replace("processes: 2", f"processes: {value}"), DataError, f"num_processes is {shows}, ")
            for value, shows in (("three", "'three'"), ("0", "0"), ("-2", "-2"), ("", "None"))
        ),
    ):
        file.write_text(text)
        with pytest.raises(error, match=words):
            read_processes(None, file)
    with pytest.raises(DataError, match="expected a file that `accelerate config` wrote, found none"):
        read_processes(None, tmp_path / "gone.yaml")


class Command:
    """`nlptasks train --num-processes 2` in a process group of its own, as a terminal starts it."""

    def __init__(self, root: Path, *arguments: str) -> None:
        names = {"sad": "negative", "glad": "positive"}
        write_csv(root / "reviews.csv", [(text, names[label]) for text, label in rows()])
        tiny_model(root / "bert")
        self.run = root / "data" / "runs" / "sentiment" / "mine"
        self.adapters = root / "data" / "adapters" / "sentiment"
        folders = {f"NLPTASKS_{name.upper()}": str(root / name) for name in ("cache", "data")}
        command = ["train", "sentiment", "reviews.csv", "--name", "mine", "-m", "./bert", "--batch-size", "16",
                   "--lr", "5e-3", "--num-processes", "2", "--device", "cpu", *arguments]  # fmt: skip
        self.child = subprocess.Popen(
            [sys.executable, "-m", "nlptasks", *command], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True, env={**os.environ, **folders, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip

    def kill(self) -> None:
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)

    def wait_for_step(self) -> psutil.Process:
        """The other process, once both train."""
        deadline = time.monotonic() + 200
        while not ((self.run / "events.jsonl").exists() and '"event": "evaluation"' in self.events):
            assert self.child.poll() is None, self.child.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        [other] = [one for one in psutil.Process(self.child.pid).children() if "spawn_main" in " ".join(one.cmdline())]
        return other

    @property
    def events(self) -> str:
        return (self.run / "events.jsonl").read_text()

    def end(self, other: psutil.Process | None = None) -> tuple[int, str, str]:
        """The exit code, stdout and stderr; no process is left."""
        words, errors = self.child.communicate(timeout=300)
        deadline = time.monotonic() + 20
        while left := _alive(self.child.pid, other):
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
        return self.child.returncode, words, errors


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Starts commands in the test's folder; those that a failed test leaves are killed."""
    begun: list[Command] = []

    def start(*arguments: str) -> Command:
        begun.append(Command(tmp_path, *arguments))
        return begun[-1]

    yield start
    for command in begun:
        command.kill()


def _alive(session: int, other: psutil.Process | None) -> list[psutil.Process]:
    """The processes of a session that have not ended; those that nobody waits for are left as zombies."""
    alive = []
    for one in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if (one == other or os.getsid(one.pid) == session) and one.status() != psutil.STATUS_ZOMBIE:
                alive.append(one)
    return alive


@pytest.mark.full
@pytest.mark.long
def test_ctrl_c_ends_all_and_the_run_goes_on(begin: Callable[..., Command]) -> None:
    command = begin("--epochs", "500")
    other = command.wait_for_step()
    os.killpg(command.child.pid, signal.SIGINT)
    code, words, errors = command.end(other)
    assert (code, words) == (1, "")
    assert "Continue with the same command and --resume.\nCancelled.\n" in errors
    assert "Traceback" not in errors
    last = json.loads(command.events.splitlines()[-1])
    assert last["event"] == "interrupted"

    begun = begin("--epochs", "500", "--resume", "--json")
    time.sleep(1)
    begun.child.send_signal(signal.SIGTERM)
    assert begun.end()[0] == -signal.SIGTERM
    # Another number of processes goes on as well.
    again = begin("--epochs", "500", "--resume", "--num-processes", "1")
    deadline = time.monotonic() + 200
    while not any(f'"step": {last["step"] + 1},' in line for line in again.events.splitlines()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    again.child.send_signal(signal.SIGINT)
    assert again.end()[0] == 1


@pytest.mark.full
@pytest.mark.long
@pytest.mark.parametrize("which", ["first", "other"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_another(begin: Callable[..., Command], which: str, number: signal.Signals) -> None:
    command = begin("--epochs", "500")
    other = command.wait_for_step()
    (other if which == "other" else command.child).send_signal(number)
    code, words, errors = command.end(other)
    assert words == ""
    if which == "first":
        assert code == -number
        return
    assert code == 1
    ended = f"Error: Process 2 of 2 failed, and the others ended with it: it was ended by {number.name}. "
    assert ended + "--resume continues from the last checkpoint." in errors
    assert "Traceback" not in errors


@pytest.mark.full
@pytest.mark.long
def test_one_writer_one_gate_and_one_log(begin: Callable[..., Command], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "accelerate.yaml").write_text(CONFIG)
    options = ("--report-to", "tensorboard", "--accelerate-config", "accelerate.yaml")
    command = begin("--epochs", "3", "-o", "min_steps", "0", "--json", *options)
    code, words, errors = command.end()
    assert code == 0, errors
    report = json.loads(words)
    assert errors.count("Gate passed") == 1
    assert "reducer.cpp" not in errors
    assert [path.name for path in command.adapters.iterdir()] == ["mine"]
    assert {path.name for path in (command.adapters / "mine").iterdir()} >= {"nlptasks.json", PEFT_WEIGHTS}
    assert not [path for path in tmp_path.rglob("*") if "tmp" in path.name or "checkpoint" in path.name]
    assert report["steps"] == 27
    accumulators = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    [file] = (command.run / "runs").rglob("events.out.tfevents.*")
    logged = accumulators.EventAccumulator(str(file))
    logged.Reload()
    assert [point.step for point in logged.Scalars("train/loss")] == [10, 20]
    assert len(logged.Scalars("eval/accuracy")) == len(report["history"])


def opinions(count: int) -> list[tuple[str, str]]:
    """Sentences of a few patterns; an eighth have the other label, so that no training is right about all."""
    chance = random.Random(4)
    words = {
        "positive": ["warm and lovely", "a real joy", "better than I had hoped", "friendly from start to end"],
        "negative": ["cold and dull", "a waste of an evening", "worse than I had feared", "rude from start to end"],
    }
    made = []
    for number in range(count):
        label, other = chance.sample(sorted(words), 2)
        thing = chance.choice(["soup", "room", "film", "lesson", "concert", "garden", "service"])
        text = (
            f"They promised {chance.choice(words[other])}; the {thing} was {chance.choice(words[label])}. Day {number}."
        )
        made.append((text, other if chance.random() < 1 / 8 else label))
    return made


@pytest.mark.full
@pytest.mark.long
@pytest.mark.embedded
def test_the_metric_of_two_processes_is_that_of_one(embedded_settings: Settings, tmp_path: Path) -> None:
    rows = opinions(480)
    # The recipe of the task, with as many steps as its data would have.
    recipe = {"per_device_train_batch_size": 8, "num_train_epochs": 2, "evals_per_epoch": 1, "min_steps": 0}
    one, two = (
        finetune("sentiment", rows[:360], validation=rows[360:], name=f"mine-{count}", recipe=recipe, device="cpu",
                 num_processes=count, settings=embedded_settings)
        for count in (1, 2)
    )  # fmt: skip
    assert one.metrics["accuracy"] > 0.75
    # Two standard deviations of 120 rows of which seven in eight are right.
    assert two.metrics["accuracy"] == pytest.approx(one.metrics["accuracy"], abs=0.06)
    assert two.gate < 1e-3
    assert two.steps == one.steps == 90
