"""Which model answers when none is named: profiles, and bases that ship with a plugin."""

from __future__ import annotations

import dataclasses
import logging
import time
from pathlib import Path

import pytest

from nlptasks import Engine, Plugins, Result, Task, TaskOptions, TextInput, hookimpl
from nlptasks.errors import OfflineError, UnsafeWeightsError
from nlptasks.settings import Settings
from nlptasks.store.download import find_base
from nlptasks.testing import tiny_model
from nlptasks_plugins import languages
from nlptasks_plugins.translation.task import EMBEDDED, TranslationInput, TranslationTask
from tests.hub_server import PULL_COMMIT, Site
from tests.tiny_base import (  # noqa: F401 - fixtures
    CLOSED,
    WEIGHTS,
    settings,
    site,
)
from tests.tiny_translators import SENTENCES, tiny_translator

# --- profiles --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def on_hub(site: Site, tiny: Path) -> Site:
    site.repos["org/large"] = {path.name: path.read_bytes() for path in tiny.iterdir()}
    return site


def engine_with(settings: Settings, tiny: Path, first: bool, profile: str) -> Engine:
    class Counted(Result):
        """A number of tokens."""

    class Count(Task[TextInput, TaskOptions, Counted]):
        """Counts tokens."""

        name = "count"
        result_type = Counted
        untrained_base = "little"
        bases = {"little": tiny}  # noqa: RUF012
        hub_base = "org/large"
        hub_first = first

        def hub_model(self, inputs: TextInput) -> str | None:
            return None if inputs.text == "here" else self.hub_base

        def run(self, inputs, options, model):  # type: ignore[no-untyped-def]
            return [Counted(num_tokens=len(found.spans)) for found in model.offsets([item.text for item in inputs])]

    class Plugin:
        @hookimpl
        def register_tasks(self, register):  # type: ignore[no-untyped-def]
            register(Count())

    plugins = Plugins(settings)
    plugins.register(Plugin(), "test")
    assert not plugins.failures
    return Engine(settings=dataclasses.replace(settings, profile=profile), plugins=plugins, dtype="float32")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("profile", "first", "model"),
    [
        ("embedded", True, "little"),
        ("auto", False, "little"),
        ("auto", True, "org/large"),
        ("hub", False, "org/large"),
    ],
)
def test_the_profile_chooses(
    on_hub: Site, settings: Settings, tiny: Path, profile: str, first: bool, model: str
) -> None:
    with engine_with(settings, tiny, first, profile) as engine:
        assert engine.run("count", "there").model == model
        assert bool(on_hub.requests) == (model == "org/large")
        assert engine.run("count", "there", model="little").model == "little", "a named model goes before the profile"


def test_the_inputs_of_a_list_may_get_different_models_and_keep_their_order(
    on_hub: Site, settings: Settings, tiny: Path
) -> None:
    with engine_with(settings, tiny, True, "auto") as engine:
        found = engine.run("count", ["there", "here", "over there"])
    assert [result.model for result in found] == ["org/large", "little", "org/large"]
    assert found[0].num_tokens < found[2].num_tokens


def test_auto_takes_the_embedded_model_and_says_so_once_when_the_hub_is_gone(
    on_hub: Site, settings: Settings, tiny: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", CLOSED)
    with caplog.at_level(logging.WARNING), engine_with(settings, tiny, True, "auto") as engine:
        assert [engine.run("count", "there").model for _ in range(3)] == ["little"] * 3
    assert caplog.messages == ["count: little answers, because org/large is not available."]
    with engine_with(settings, tiny, True, "hub") as engine, pytest.raises(OfflineError, match="org/large"):
        engine.run("count", "there")


@pytest.mark.long
def test_auto_waits_two_seconds_for_a_hub_that_does_not_answer(on_hub: Site, settings: Settings, tiny: Path) -> None:
    on_hub.delay = 6.0
    with engine_with(settings, tiny, True, "auto") as engine:
        engine.run("count", "there", model="little")
        began = time.monotonic()
        assert engine.run("count", "there").model == "little"
        assert time.monotonic() - began < 4


def test_translation_names_opus_mt_by_the_pair_of_languages() -> None:
    task = TranslationTask()

    def named(text: str, target: str, source: str | None = None) -> str | None:
        return task.hub_model(TranslationInput(text=text, target_language=target, source_language=source))

    assert named("Good morning.", "fr", "en-GB") == "Helsinki-NLP/opus-mt-en-fr"
    assert named("Guten Morgen, wie geht es Ihnen heute?", "es") == "Helsinki-NLP/opus-mt-de-es"
    assert named("Good morning.", "en", "en") is None
    assert named("42", "fr") is None
    assert task.recipe.base == EMBEDDED


def test_a_text_s_language_is_told_once(
    site: Site, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tiny_translator("marian", tmp_path / "marian").iterdir()
    site.repos["Helsinki-NLP/opus-mt-en-fr"] = {path.name: path.read_bytes() for path in files}
    told: list[str] = []
    detect = languages.detect
    monkeypatch.setattr(languages, "detect", lambda text: told.append(text) or detect(text))
    texts = [SENTENCES[0], f"{SENTENCES[3]} {SENTENCES[6]}"]
    with Engine(settings=dataclasses.replace(settings, profile="auto"), dtype="float32") as engine:
        found = engine.run("translation", texts, target_language="fr", max_new_tokens=4)
        assert told == texts
        list(engine.stream("translation", texts[1], target_language="fr", max_new_tokens=4))
        assert told == [*texts, texts[1]]
    assert [(one.model, one.source_language) for one in found] == [("Helsinki-NLP/opus-mt-en-fr", "en")] * 2
    assert [len(one.segments) for one in found] == [1, 2]


# --- the Hub's own conversion of pickled weights ---------------------------------------------------------------


def test_safetensors_are_taken_from_the_converter_s_pull_request(site: Site, settings: Settings) -> None:
    site.repos["org/old"] = {"config.json": b"{}", "tokenizer.json": b"{}", "pytorch_model.bin": b"pickle"}
    site.pulls["org/old"] = {"model.safetensors": WEIGHTS}
    found = find_base("org/old", settings)
    assert (found.revision, (found.path / "model.safetensors").read_bytes()) == (PULL_COMMIT, WEIGHTS)
    assert not site.asked("pytorch_model.bin")
    assert find_base("org/old", dataclasses.replace(settings, offline=True)) == found


def test_no_other_account_s_weights_are_taken(site: Site, settings: Settings) -> None:
    site.repos["org/old"] = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    site.pulls["org/old"] = {"model.safetensors": WEIGHTS}
    site.author = "somebody"
    with pytest.raises(UnsafeWeightsError, match=r"only as pytorch_model\.bin"):
        find_base("org/old", settings)


# --- bases that ship with a plugin -----------------------------------------------------------------------------


def test_a_shipped_base_is_found_by_its_name(settings: Settings, tiny: Path) -> None:
    found = find_base("little", settings, shipped={"little": tiny})
    assert (found.id, found.revision, found.path, found.source) == ("little", None, tiny, "plugin")
