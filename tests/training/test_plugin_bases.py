"""A base that ships with one plugin may be trained on, and measured, for the tasks of all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nlptasks import Plugins
from nlptasks.settings import Settings
from nlptasks.store.adapters import open_adapter
from nlptasks.testing import tiny_model
from nlptasks.training import DataOptions, finetune
from nlptasks.training.probe import probe
from tests.training_rows import QUICK, Feeling, rows, serve_here, write_csv

pytestmark = pytest.mark.long

PAIRS = (("The tide is", "out again."), ("The lamp is", "lit now."), ("The boat is", "blue."), ("The pier is", "shut."))


@pytest.fixture
def plugins() -> Plugins:
    made = Plugins()
    made.load_entry_points()
    return made


def test_a_task_is_trained_on_the_base_of_another_plugin(
    settings: Settings, tmp_path: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_here(monkeypatch)
    generation = plugins.task("generation")
    assert "translator" in plugins.bases.keys() - generation.bases.keys()
    data = tmp_path / "pairs.jsonl"
    lines = [json.dumps({"prompt": prompt, "completion": f" {rest}"}) for prompt, rest in PAIRS]
    data.write_text("\n".join(lines), encoding="utf-8")
    recipe = generation.recipe.replace(base="translator", num_train_epochs=1, max_length=16, dtype="float32")
    options = DataOptions(held_out=0.25)
    report = finetune(
        "generation", str(data), name="tides", recipe=recipe, options=options, settings=settings, device="cpu"
    )
    manifest = open_adapter(report.path).manifest
    assert manifest is not None
    assert (manifest.task, manifest.base.id) == ("generation", "translator")


def test_the_plugins_of_the_caller_count_and_those_of_the_task(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_here(monkeypatch)
    folder = tiny_model(tmp_path / "little")

    class Shipping(Feeling):
        """Whether a note is glad or sad, with a base of its own."""

        bases = {"little": folder}  # noqa: RUF012

    data = write_csv(tmp_path / "notes.csv", rows(40))
    recipe = QUICK.replace(base="little", num_train_epochs=1)
    report = finetune(Shipping(), data, name="own", recipe=recipe, settings=settings, device="cpu", plugins=Plugins())
    assert report.base == "little"
    assert probe(Shipping(), [data], recipe=recipe, settings=settings, device="cpu").steps == report.steps
