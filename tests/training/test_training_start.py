"""Training that goes on from an adapter: where it begins, what it refuses, how it is stopped and told of."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from nlptasks import Recipe
from nlptasks.cli import cli
from nlptasks.errors import AdapterError, AdapterMismatchError, CancelledError, TrainingError, UnknownNameError
from nlptasks.model import CancelToken
from nlptasks.settings import Settings
from nlptasks.store.adapters import MANIFEST, PEFT_CONFIG, PEFT_WEIGHTS, open_adapter
from nlptasks.training import DataOptions, Event, TrainReport, finetune
from nlptasks.training.loop.checkpoints import RunFolder
from tests.sample_tasks import Title
from tests.tiny_adapters import classifier_adapter, tagger_adapter
from tests.training_rows import QUICK, Feeling, bases, rows, train, write_csv  # noqa: F401 - fixtures

STILL = QUICK.replace(learning_rate=1e-9, num_train_epochs=1, init_from="first")
"""A training that goes on from "first" and leaves it as it is."""


def weights(report: TrainReport) -> dict[str, Any]:
    return load_file(report.path / PEFT_WEIGHTS)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return set(one) == set(other) and all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


@pytest.mark.long
@pytest.mark.parametrize(
    ("architecture", "changes"),
    [pytest.param("bert", {}, marks=pytest.mark.full), ("gpt2", {}), ("bert", {"use_dora": True, "ema_decay": 0.5})],
)
def test_a_run_begins_at_the_answers_of_the_adapter(
    train: Callable[..., TrainReport], architecture: str, changes: dict[str, Any]
) -> None:
    first = train("first", QUICK.replace(learning_rate=1e-2, **changes), architecture)
    fresh = train("fresh", STILL.replace(init_from=None, **changes), architecture)
    further = train("further", STILL.replace(**changes), architecture)
    best = next(entry["metrics"] for entry in reversed(first.history) if entry["best"])
    assert further.history[0]["metrics"] == pytest.approx(best, abs=1e-4)
    assert fresh.history[0]["metrics"]["loss"] > best["loss"] + 0.1
    assert same(weights(further), weights(first))
    assert not same(weights(fresh), weights(first))


@pytest.mark.long
def test_a_language_model_goes_on_too(
    settings: Settings, tmp_path: Path, bases: Callable[[str], Path], train: Callable[..., TrainReport]
) -> None:
    data = tmp_path / "titles.jsonl"
    lines = [{"text": f"a note of number {n}", "title": f"note {n % 3}"} for n in range(30)]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def write(name: str, start: str | None, lr: float) -> TrainReport:
        recipe = QUICK.replace(
            base=str(bases("t5")), learning_rate=lr, init_from=start, metric_for_best_model="loss", max_length=64
        )
        return finetune(Title(), str(data), name=name, recipe=recipe, settings=settings, device="cpu")

    first, fresh = write("first", None, 2e-2), write("fresh", None, 1e-9)
    further = write("further", "first", 1e-9)
    assert further.metrics["loss"] == pytest.approx(first.metrics["loss"], abs=1e-4)
    assert fresh.metrics["loss"] > first.metrics["loss"] + 0.1


@pytest.mark.full
@pytest.mark.long
def test_a_folder_and_the_shipped_adapter_are_starts(
    train: Callable[..., TrainReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train("first", QUICK.replace(learning_rate=1e-2))
    folder = shutil.copytree(first.path, tmp_path / "elsewhere" / "copy")
    shutil.rmtree(first.path)
    monkeypatch.setattr(Feeling, "adapter", folder)
    digest = hashlib.sha256((folder / PEFT_WEIGHTS).read_bytes()).hexdigest()
    for start, name in ((str(folder), "copy"), ("shipped", "shipped")):
        further = train(f"from-{name}", STILL.replace(init_from=start))
        assert further.metrics["loss"] == pytest.approx(first.metrics["loss"], abs=1e-4)
        manifest = open_adapter(further.path).manifest
        assert manifest is not None
        assert manifest.data["start"] == {"name": "first", "sha256": digest}
        assert manifest.recipe["init_from"] == name
        card = (further.path / "README.md").read_text()
        assert f"- training started from the adapter `first`, SHA-256 `{digest}`" in card
        assert f"-o init_from {name}" in card
        assert str(folder) not in card


@pytest.mark.long
def test_a_folder_of_plain_peft_is_a_start(
    train: Callable[..., TrainReport], tmp_path: Path, bases: Callable[[str], Path]
) -> None:
    targets = ("query", "key", "value", "dense")
    plain, _ = classifier_adapter(bases("bert"), tmp_path / "plain", labels=("sad", "glad"), manifest=False)
    recipe = STILL.replace(init_from=str(plain), target_modules=targets, r=4, lora_alpha=16)
    assert same(weights(train("further", recipe)), load_file(plain / PEFT_WEIGHTS))
    three, _ = classifier_adapter(bases("bert"), tmp_path / "three", labels=("a", "b", "c"), manifest=False)
    with pytest.raises(TrainingError, match="expected the layers that this run trains, found others in 'three'"):
        train("other", recipe.replace(init_from=str(three)))
    config = json.loads((plain / PEFT_CONFIG).read_text())
    (plain / PEFT_CONFIG).write_text(json.dumps(config | {"alpha_pattern": {"query": 8}}))
    with pytest.raises(TrainingError, match="one rank and one alpha for all layers, found alpha_pattern in 'plain'"):
        train("other", recipe)


@pytest.mark.long
def test_an_adapter_goes_on_from_itself_and_is_replaced(train: Callable[..., TrainReport]) -> None:
    first = train("first", QUICK.replace(num_train_epochs=1))
    before = weights(first)
    with pytest.raises(TrainingError, match="'first' for feeling exists: give another --name, or --replace it"):
        train("first", STILL.replace(learning_rate=1e-2))
    further = train("first", STILL.replace(learning_rate=1e-2), replace=True)
    assert further.path == first.path
    assert further.history[0]["metrics"]["loss"] < first.history[-1]["metrics"]["loss"]
    assert not same(weights(further), before)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"method": "full"},
        TrainingError,
        "init_from: expected an adapter to be trained, found method 'full': give --method",
    ),
    ({"init_from": "frist"}, UnknownNameError, r"Unknown adapter 'frist'\. Did you mean 'first'\?"),
    ({"init_from": "shipped"}, AdapterError, "init_from: expected an adapter that ships with feeling, found none"),
    ({"r": 8}, TrainingError, r"init_from: expected the settings of 'first', found r 8: give -o r 16\."),
    (
        {"r": 4, "lora_alpha": 4, "use_dora": True},
        TrainingError,
        r"found r 4, lora_alpha 4, use_dora True: give -o r 16 -o lora_alpha 32 -o use_dora false\.",
    ),
    ({"use_rslora": True}, TrainingError, r"found use_rslora True: give -o use_rslora false\."),
    (
        {"target_modules": ("query",)},
        TrainingError,
        r"init_from: expected the layers that this run trains, found others in 'first' \(base_model.*lora_A.weight\): ",
    ),
]


@pytest.mark.long
def test_what_does_not_fit_is_refused(train: Callable[..., TrainReport], subtests: pytest.Subtests) -> None:
    train("first", QUICK.replace(num_train_epochs=1))
    for changes, error, words in REFUSED:
        with subtests.test(changes=changes), pytest.raises(error, match=words):
            train("further", STILL.replace(**changes))


@pytest.mark.long
def test_another_base_other_labels_and_another_verb_are_refused(
    train: Callable[..., TrainReport], tmp_path: Path, bases: Callable[[str], Path]
) -> None:
    train("first", QUICK.replace(num_train_epochs=1))
    with pytest.raises(AdapterMismatchError, match=r"'first' was trained on .*bert.*, the loaded base is .*gpt2"):
        train("further", STILL, "gpt2")
    data = write_csv(tmp_path / "moods.csv", [(f"text {n}", ("glum", "gay", "sad")[n % 3]) for n in range(60)])
    options = DataOptions(labels=("glum", "gay", "sad"))
    with pytest.raises(
        TrainingError, match="init_from: expected the labels of 'first', sad, glad, found glum, gay, sad: "
    ):
        train("further", STILL, data=data, options=options)
    tagger, _ = tagger_adapter(bases("bert"), tmp_path / "tagger")
    with pytest.raises(TrainingError, match="init_from: expected an adapter for classify, found 'tagger' for tag"):
        train("further", STILL.replace(init_from=str(tagger)))


def stop_at(step: int) -> dict[str, Any]:
    token = CancelToken()

    def listen(event: Event) -> None:
        if event.kind == "step" and event.values["step"] == step:
            token.cancel()

    return {"cancel": token, "on_event": listen}


@pytest.mark.long
def test_a_stopped_run_goes_on_unless_its_start_has_changed(
    train: Callable[..., TrainReport], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nlptasks.training.loop.events.Events.__init__.__defaults__", (0.0,))
    first = train("first", QUICK.replace(num_train_epochs=1))
    recipe = STILL.replace(learning_rate=1e-3, num_train_epochs=2)
    whole = train("whole", recipe)
    with pytest.raises(CancelledError, match="Stopped at step 5 of 18, with a checkpoint"):
        train("parts", recipe, **stop_at(5))
    plan = json.loads((RunFolder(settings, "feeling", "parts").path / "run.json").read_text())
    digest = hashlib.sha256((first.path / PEFT_WEIGHTS).read_bytes()).hexdigest()
    assert (plan["recipe.init_from"], plan["start"]) == ("first", f"first {digest[:16]}")
    with pytest.raises(
        TrainingError, match=r'recipe\.init_from was "first", now null; start was "first \w+", now null'
    ):
        train("parts", recipe.replace(init_from=None), resume=True)
    saved = shutil.copytree(first.path, first.path.parent / ".kept")
    train("first", QUICK.replace(num_train_epochs=1, seed=5), replace=True)
    with pytest.raises(TrainingError, match=r'Different: start was "first \w{16}", now "first \w{16}"\. Give'):
        train("parts", recipe, resume=True)
    shutil.rmtree(first.path)
    saved.rename(first.path)
    assert same(weights(train("parts", recipe, resume=True)), weights(whole))


@pytest.mark.long
def test_the_command_takes_a_start(
    train: Callable[..., TrainReport],
    tmp_path: Path,
    settings: Settings,
    bases: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("CACHE", settings.cache), ("DATA", settings.data)):
        monkeypatch.setenv(f"NLPTASKS_{name}", str(value))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    sentiment = [(text, {"sad": "negative", "glad": "positive"}[label]) for text, label in rows()]
    data = write_csv(tmp_path / "reviews.csv", sentiment)
    command = ["train", "sentiment", data, "-m", str(bases("bert")), "--epochs", "1", "--max-length", "48",
               "--dtype", "float32", "--json"]  # fmt: skip
    result = CliRunner().invoke(cli, [*command, "--name", "one", "--lr", "1e-2"])
    assert result.exit_code == 0, result.output
    more = CliRunner().invoke(cli, [*command, "--name", "two", "--lr", "1e-9", "--init-from", "one"])
    assert more.exit_code == 0, more.output
    one, two = json.loads(result.stdout), json.loads(more.stdout)
    assert two["metrics"]["loss"] == pytest.approx(one["metrics"]["loss"], abs=1e-4)
    manifest = json.loads((Path(two["path"]) / MANIFEST).read_text())
    assert manifest["recipe"]["init_from"] == manifest["data"]["start"]["name"] == "one"


def test_the_start_of_a_recipe_can_be_taken_away() -> None:
    from nlptasks.training.recipes import override

    assert override(Recipe(init_from="shipped"), {"init_from": None}) == Recipe()
