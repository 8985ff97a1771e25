"""What version 0.1 wrote is read by this one: an adapter, a recipe file, a run that was stopped on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nlptasks import Engine, Recipe, default_plugins
from nlptasks.settings import Settings
from nlptasks.store import AdapterStore
from nlptasks.task import RENAMED_SETTINGS
from nlptasks.testing import tiny_model
from nlptasks.training import RunFolder, finetune, load_recipe, override, read_events
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
