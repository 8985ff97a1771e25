"""Three learning rates from one start; training goes on as if the best had been asked for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nlptasks.errors import CancelledError, TrainingError
from nlptasks.model import CancelToken
from nlptasks.settings import Settings
from nlptasks.store.adapters import open_adapter
from nlptasks.training import TrainReport
from nlptasks.training.loop.events import Event
from nlptasks.training.loop.rates import Rates
from nlptasks.training.loop.trainer import rates
from tests.training_rows import QUICK, base_finder, quick_training


@pytest.fixture
def train(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TrainReport]:
    monkeypatch.setattr(rates, "FEWEST", 8)
    return quick_training(settings, tmp_path, base_finder(tmp_path / "bases"), monkeypatch)


@pytest.mark.parametrize(
    ("losses", "chosen"),
    [
        ((0.9, 0.7, 0.8), 2.0),
        ((0.9, 0.7, 0.7069), 3.0),
        ((0.9, 0.7, 0.7071), 2.0),
        ((0.5, None, None), 1.0),
        ((None, 0.6, 0.5), 3.0),
    ],
)
def test_the_lowest_loss_is_chosen_and_of_equal_ones_the_highest_rate(losses: Any, chosen: float) -> None:
    assert Rates(20, dict(zip((1.0, 2.0, 3.0), losses, strict=True))).chosen == chosen


def test_three_diverged_runs_are_an_error() -> None:
    with pytest.raises(TrainingError, match=r"at every learning rate that was tried \(1, 2, 3\): use a lower lr"):
        _ = Rates(20, {1.0: None, 2.0: None, 3.0: None}).chosen


def test_the_table_shows_all_three() -> None:
    assert Rates(40, {1e-4: 0.69314, 3e-4: 0.5, 9e-4: None}).table.splitlines() == [
        "learning rates, 40 steps each from the same start:",
        "        lr  held-out loss",
        "    0.0001         0.6931",
        "    0.0003         0.5000  chosen",
        "    0.0009       diverged",
    ]
    last = Rates(40, {1e-4: 0.7, 3e-4: 0.6, 9e-4: 0.5}).table.splitlines()[-1]
    assert last == "the highest was chosen: a still higher lr may be better"


def test_a_probed_training_is_the_training_with_the_chosen_rate(train: Callable[..., TrainReport]) -> None:
    heard: list[Event] = []
    recipe = dataclasses.replace(QUICK, epochs=1, lr=1e-4, probe_lr=True)
    probed = train(name="probed", recipe=recipe, on_event=heard.append)
    [event] = [event for event in heard if event.kind == "rates"]
    assert event.values["steps"] == 8
    assert set(event.values["losses"]) == {"3.33333e-05", "0.0001", "0.0003"}
    chosen = event.values["chosen"]
    assert chosen == pytest.approx(3e-4), "a rate that is far too low: the highest of the three learns most"
    assert min(event.values["losses"].values()) == event.values["losses"][f"{chosen:g}"]
    plain = train(name="plain", recipe=dataclasses.replace(recipe, lr=chosen, probe_lr=False))
    assert probed.history == plain.history
    manifest = open_adapter(probed.path).manifest
    assert manifest
    assert (manifest.recipe["lr"], manifest.recipe["probe_lr"]) == (chosen, True)
    assert "-o probe_lr True" in (probed.path / "README.md").read_text()


def test_a_resumed_run_keeps_its_rate(train: Callable[..., TrainReport], settings: Settings) -> None:
    recipe = dataclasses.replace(QUICK, epochs=2, lr=1e-4, probe_lr=True)
    token = CancelToken()

    def stop(event: Event) -> None:
        if event.kind == "checkpoint":
            token.cancel()

    with pytest.raises(CancelledError, match="with a checkpoint"):
        train(recipe=recipe, cancel=token, on_event=stop)
    file = settings.data / "runs" / "feeling" / "mine" / "rate.json"
    assert json.loads(file.read_text()) == pytest.approx(3e-4)
    heard: list[Event] = []
    train(recipe=recipe, resume=True, on_event=heard.append)
    assert not [event for event in heard if event.kind == "rates"]
    last = [event for event in heard if event.kind == "step"][-1]
    assert 0 < last.values["lr"] < 3e-4


def test_a_stop_while_rates_are_tried_says_so(train: Callable[..., TrainReport], settings: Settings) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(CancelledError, match="Stopped while learning rates were tried; nothing was trained yet"):
        train(recipe=dataclasses.replace(QUICK, probe_lr=True), cancel=token)
    assert not (settings.data / "runs" / "feeling" / "mine" / "rates").exists()
