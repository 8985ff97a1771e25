"""Few rows: steps and batches scale, baselines are measured, and the report says what decided."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from nlptasks import CancelToken, Recipe, Settings
from nlptasks.cli import cli
from nlptasks.data.splits import folds
from nlptasks.errors import CancelledError, DataError, InvalidInputError
from nlptasks.store.adapters import open_adapter
from nlptasks.testing import tiny_model
from nlptasks.training import Event, Feature, TrainReport, family_trainer
from nlptasks.training.baselines import shortfall
from nlptasks.training.loop.checkpoints import FOLDS
from nlptasks.training.recipes import num_steps, scaled
from tests.training_rows import QUICK, Feeling, bases, rows, serve_here, train, write_csv  # noqa: F401 - fixtures

SENTIMENT = Recipe(num_train_epochs=3, per_device_train_batch_size=64, evals_per_epoch=3)


@pytest.mark.parametrize("count", [1, 5, 60, 270, 1000, 4000])
def test_few_rows_get_a_floor_of_steps(count: int) -> None:
    recipe = scaled(SENTIMENT, count)
    assert num_steps(recipe, count) >= min(200, 40 * -(-count // 8))
    assert num_steps(recipe, count) < 2 * 200 + count / 8
    assert recipe.per_device_train_batch_size >= 8
    assert recipe.num_train_epochs <= 40


def test_enough_rows_change_nothing_and_the_callers_settings_stay() -> None:
    assert scaled(SENTIMENT, 18_000) == SENTIMENT
    assert scaled(SENTIMENT.replace(min_steps=0), 50) == SENTIMENT.replace(min_steps=0)
    both = {"num_train_epochs", "per_device_train_batch_size"}
    assert scaled(SENTIMENT, 50, both) == SENTIMENT
    assert scaled(SENTIMENT, 50, {"num_train_epochs"}) == SENTIMENT.replace(per_device_train_batch_size=8)
    assert scaled(SENTIMENT, 640, {"per_device_train_batch_size"}).per_device_train_batch_size == 64


def test_every_row_is_held_out_in_one_fold_and_no_text_is_on_both_sides() -> None:
    made = [(f"row {index % 50}", index % 2) for index in range(60)]
    parts = folds(made, 4, 1, text=lambda row: row[0], label=lambda row: row[1])
    assert sorted(row for _, held in parts for row in held) == sorted(made)
    for training, held in parts:
        assert sorted(training + held) == sorted(made)
        assert not {text for text, _ in training} & {text for text, _ in held}
        assert {label for _, label in held} == {0, 1}


def test_only_a_result_above_every_baseline_is_ready() -> None:
    beaten = {"majority_class": {"accuracy": 0.5}, "frozen_vectors": {"accuracy": 0.8}}
    assert not shortfall("accuracy", {"accuracy": 0.825}, beaten)
    for value in (0.735, 0.8):
        expected = f"Not ready: accuracy {value:.4f} is no better than 0.8000, which is a logistic regression"
        assert shortfall("accuracy", {"accuracy": value}, beaten).startswith(expected)
    assert not shortfall("accuracy", {"accuracy": 1.0}, {"frozen_vectors": {"accuracy": 1.0}})
    assert "finding no entity" in shortfall("f1", {"f1": 0.0}, {"no_entities": {"f1": 0.0}})
    assert not shortfall("loss", {"loss": 3.0}, {})


@pytest.mark.long
def test_small_data_in_training(train: Callable[..., TrainReport], tmp_path: Path) -> None:
    data = write_csv(tmp_path / "few.csv", rows(40))
    events: list[Event] = []
    # The task's recipe has batches of 32 and 3 epochs.
    few = train(recipe=Recipe(learning_rate=5e-3, max_length=48, min_steps=30), data=data, on_event=events.append)
    assert few.steps == 30
    notes = [event.values["text"] for event in events if event.kind == "note"]
    assert (
        "few rows: num_train_epochs 6 (not 3), per_device_train_batch_size 8 (not 32), for 30 steps instead of 6; "
        "-o min_steps 0 leaves the recipe as it is"
    ) in notes
    assert few.warnings[0] == (
        "only 4 held-out rows: they decide little; use --folds 5, or give more rows with --validation"
    )
    assert set(few.baseline) == {"majority_class", "frozen_vectors"}
    assert few.baseline["majority_class"]["accuracy"] == 0.5
    best = next(entry for entry in few.history if entry["step"] == few.best_step)
    assert best["best"]
    assert best["epoch"] == few.best_epoch


@pytest.mark.long
def test_a_model_that_learnt_nothing_is_not_ready(train: Callable[..., TrainReport]) -> None:
    report = train(recipe=QUICK.replace(learning_rate=1e-9, num_train_epochs=1), folds=2)
    assert not report.ready
    assert report.warnings[-1].startswith("Not ready: accuracy ")
    assert len(report.folds) == 2
    manifest = open_adapter(report.path).manifest
    assert manifest is not None
    assert manifest.data["baseline"] == report.baseline
    assert "accuracy of baseline frozen_vectors" in (report.path / "README.md").read_text(encoding="utf-8")
    with pytest.raises(DataError, match="--folds: expected at most one fold a row"):
        train("other", folds=500)


@pytest.mark.long
def test_folds_that_are_finished_are_not_trained_again(train: Callable[..., TrainReport], settings: Settings) -> None:
    cancel = CancelToken()

    def stop_after_the_first(event: Event) -> None:
        if event.values.get("text", "").startswith("fold 1 of 3"):
            cancel.cancel()

    recipe = QUICK.replace(num_train_epochs=1)
    with pytest.raises(CancelledError, match=r"^Stopped in fold 2 of 3\.$"):
        train(recipe=recipe, folds=3, cancel=cancel, on_event=stop_after_the_first)
    [kept] = settings.data.glob(f"runs/*/*/{FOLDS}")
    count, [first] = json.loads(kept.read_text(encoding="utf-8"))
    kept.write_text(json.dumps([count, [{**first, "accuracy": 0.125}]]), encoding="utf-8")
    report = train(recipe=recipe, folds=3, resume=True)
    assert [len(report.folds), report.folds[0]["accuracy"]] == [3, 0.125]
    assert not kept.exists()


@pytest.mark.long
def test_the_command_says_that_it_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPTASKS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    serve_here(monkeypatch)
    names = {"sad": "negative", "glad": "positive"}
    data = write_csv(tmp_path / "few.csv", [(text, names[label]) for text, label in rows(60)])
    base = tiny_model(tmp_path / "bert", architecture="bert")
    options = ["--lr", "1e-9", "--epochs", "1", "-o", "ema_decay", "0", "--max-length", "48", "--folds", "2"]
    result = CliRunner().invoke(cli, ["train", "sentiment", data, "--name", "few", "-m", str(base), *options])
    assert result.exit_code == 0, result.output
    assert re.search(r"the weights of epoch [\d.]+, step \d+, the best of 3 evaluations", result.stdout)
    assert "2 folds: accuracy 0." in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Not ready: accuracy ")
    assert "accuracy to beat on the held-out rows: 0.5000 (always giving the most frequent answer)" in result.stderr


@pytest.mark.parametrize(("chosen", "expected"), [("balanced", [2.0, 2 / 3]), ({"glad": 3}, [1.0, 3.0]), (None, None)])
def test_class_weights_are_in_the_loss(chosen: Any, expected: list[float] | None) -> None:
    family = family_trainer(Feeling())
    features = [Feature({"input_ids": [1]}, target, "x") for target in (0, 1, 1, 1)]
    family.before_training(features, ("sad", "glad"), Recipe(extra={"class_weights": chosen}))
    assert family.class_weights == (expected and pytest.approx(expected))
    logits, targets = torch.tensor([[1.0, -1.0], [0.5, 0.0]]), torch.tensor([0, 1])
    weights = torch.tensor(expected or [1.0, 1.0])
    each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    assert torch.isclose(family.loss(logits, targets, 0.0), (each * weights).sum() / weights.sum())
    with pytest.raises(InvalidInputError, match="expected labels of sad, glad, found 'happy'"):
        family.before_training(features, ("sad", "glad"), Recipe(extra={"class_weights": {"happy": 1}}))
