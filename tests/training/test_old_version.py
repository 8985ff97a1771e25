"""What version 0.1 wrote is read by this one: an adapter, a recipe file, a run that was stopped on the way."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from nlptasks import Engine, Recipe, default_plugins
from nlptasks.errors import TrainingError
from nlptasks.settings import Settings
from nlptasks.store import AdapterStore
from nlptasks.task import RENAMED_SETTINGS, current_settings
from nlptasks.testing import tiny_model
from nlptasks.training import RunFolder, finetune, load_recipe, override, read_events
from nlptasks.training.loop.checkpoints import ADDED_SETTINGS
from tests.training_rows import Feeling

pytestmark = pytest.mark.long

WRITTEN = Path(__file__).parents[1] / "old_version"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "base", "encoder")


@pytest.fixture
def old(settings: Settings, base: Path) -> Settings:
    """The data folder as version 0.1 left it, on this machine's paths."""
    shutil.copytree(WRITTEN, settings.data)
    for file in settings.data.rglob("*"):
        if file.suffix in {".json", ".jsonl", ".toml", ".md"}:
            text = file.read_text(encoding="utf-8").replace("@BASE@", str(base)).replace("@DATA@", str(settings.data))
            file.write_text(text, encoding="utf-8")
    return settings


def test_its_adapter_is_listed_opened_and_served(old: Settings) -> None:
    store = AdapterStore(old)
    assert store.names("feeling") == ["notes"]
    manifest = store.find("feeling", "notes").manifest
    assert manifest is not None
    assert manifest.labels == ("sad", "glad")
    with Engine(settings=old, device="cpu") as engine:
        results = engine.run(Feeling(), ["qn good nmq", "pmoq bad popo"], adapter="notes")
    assert [(result.label, result.adapter) for result in results] == [("glad", "notes"), ("sad", "notes")]


def test_its_recipes_are_read_with_a_warning_for_each_old_name(
    old: Settings, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = load_recipe(old.data / "feeling.toml")
    assert recipe == Recipe(
        base=str(base),
        learning_rate=5e-3,
        num_train_epochs=3,
        per_device_train_batch_size=16,
        max_length=48,
        ema_decay=0.5,
        early_stopping_patience=2,
        dtype="float32",
    )
    assert [message.split()[3] for message in caplog.messages] == [
        name for name in RENAMED_SETTINGS if name not in {"start", "targets"}
    ]
    manifest = AdapterStore(old).find("feeling", "notes").manifest
    assert manifest is not None
    caplog.clear()
    assert override(Recipe(), manifest.recipe) == recipe
    assert len(caplog.messages) == len(RENAMED_SETTINGS) + 1
    assert caplog.messages[0].startswith("The recipe setting probe_lr was removed and is ignored")


def test_each_setting_that_it_did_not_have_is_listed() -> None:
    plan = json.loads((WRITTEN / "runs" / "feeling" / "half" / "run.json").read_text(encoding="utf-8"))
    settings = {name.removeprefix("recipe."): value for name, value in plan.items() if name.startswith("recipe.")}
    assert {*Recipe.model_fields} - {*current_settings(settings)[0]} == {*ADDED_SETTINGS}


def test_its_run_goes_on_with_its_own_epochs_and_batches(old: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlptasks.training.run.Job.train", lambda job: job)

    def resume(**changes: Any) -> Any:
        return finetune(
            Feeling(), str(old.data / "notes.csv"), name="half", recipe=load_recipe(old.data / "feeling.toml"),
            settings=old, device="cpu", resume=True, plugins=default_plugins(), **changes,
        )  # fmt: skip

    for changes, differing in (
        ({"min_steps": 100}, "Different: recipe.min_steps was 0, now 100; recipe.num_train_epochs was 3.0, now 12.0."),
        ({"few_shot": True}, "; recipe.few_shot was false, now true."),
    ):
        with pytest.raises(TrainingError, match=re.escape(f"{differing} Give the same again, or start over")):
            resume(**changes)
    job = resume()
    assert job.checkpoint.name == "checkpoint-9"
    recipe = job.recipe
    assert (recipe.min_steps, recipe.num_train_epochs, recipe.per_device_train_batch_size) == (0, 3.0, 16)


@pytest.mark.full
def test_its_run_is_resumed_to_the_end_and_passes_the_gate(old: Settings) -> None:
    run = RunFolder(old, "feeling", "half")
    assert json.loads((run.path / "run.json").read_text())["recipe.probe_lr"] is False
    recipe = load_recipe(old.data / "feeling.toml")
    report = finetune(
        Feeling(), str(old.data / "notes.csv"), name="half", recipe=recipe, settings=old, device="cpu", resume=True,
        plugins=default_plugins(),
    )  # fmt: skip
    events, _ = read_events(run.events)
    assert [event.values["done"] for event in events if event.kind == "start"] == [0, 9]
    assert report.history[0]["step"] == 9
    assert report.gate <= 1e-3
    assert run.checkpoints == []
    assert AdapterStore(old).names("feeling") == ["half", "notes"]
