"""Families that plugins bring, in `examples/`: trained, saved, checked by the gate in a fresh process, and served."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nlptasks import Engine, Plugins, Recipe, TextClassification
from nlptasks.errors import AdapterError, DataError, InvalidInputError, UnknownNameError, UnsupportedModelError
from nlptasks.model import CancelToken
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import AdapterStore
from nlptasks.store.adapters import PEFT_WEIGHTS, open_adapter
from nlptasks.testing import tiny_model
from nlptasks.training import TrainReport, evaluate, finetune
from nlptasks.training.publishing.merging import merge
from tests import warm_processes

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
EXAMPLES = {"entailment": "pairs.csv", "stars": "reviews.csv"}
SHORT = {
    **{"num_train_epochs": 16, "learning_rate": 1e-2, "per_device_train_batch_size": 8},
    **{"max_length": 64, "lora_dropout": 0.0, "dtype": "float32"},
}
INPUTS: dict[str, dict[str, Any]] = {
    "entailment": {"premise": "The gate is shut at noon.", "hypothesis": "The gate is open at noon."},
    "stars": {"text": "Very good, only the coffee could be hotter."},
}


def folder(name: str) -> Path:
    return ROOT / "examples" / f"nlptasks-{name}"


def data(name: str) -> str:
    return str(folder(name) / EXAMPLES[name])


@dataclasses.dataclass
class Home:
    """Both plugins as if they were installed, with an adapter of each that was trained on a tiny encoder."""

    settings: Settings
    site: list[str]
    plugins: Plugins
    base: Path
    reports: dict[str, TrainReport]

    def recipe(self, name: str, **changes: Any) -> Recipe:
        task = self.plugins.task(name)
        return task.recipe.replace(base=str(self.base), **{**SHORT, **changes})

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`nlptasks ...` in a process of its own, which finds the plugins by their entry points."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*self.site, *filter(None, sys.path)]),
            "NLPTASKS_CACHE": str(self.settings.cache),
            "NLPTASKS_DATA": str(self.settings.data),
            "HF_HUB_OFFLINE": "1",
        }
        command = [sys.executable, "-m", "nlptasks", *arguments]
        return warm_processes.run(command, env=environment)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    root = tmp_path_factory.mktemp("home")
    site = [str(root / "site"), *(str(folder(name)) for name in EXAMPLES)]
    for name in EXAMPLES:
        info = root / "site" / f"nlptasks_{name}-0.1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: nlptasks-{name}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(f"[nlptasks]\n{name} = nlptasks_{name}\n")
    settings = Settings(cache=root / "cache", data=root / "data", offline=True)
    with pytest.MonkeyPatch.context() as patch:
        for path in site:
            patch.syspath_prepend(path)
        plugins = Plugins(settings)
        plugins.load_entry_points()
        assert plugins.failures == []
        home = Home(settings, site, plugins, tiny_model(root / "base"), {})
        for name in EXAMPLES:
            home.reports[name] = finetune(
                name, data(name), name="first", recipe=home.recipe(name), settings=settings, device="cpu",
                validation=[data(name)], plugins=plugins,
            )  # fmt: skip
        yield home


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_learns_and_a_fresh_process_serves_what_was_trained(home: Home, name: str) -> None:
    report = home.reports[name]
    assert report.gate <= 1e-4
    losses = [entry["train_loss"] for entry in report.history]
    assert losses[-1] < 0.95 * losses[0]
    manifest = open_adapter(report.path).manifest
    assert manifest is not None
    assert (manifest.task, manifest.family, manifest.verb) == {
        "entailment": ("entailment", "entailment", "classify"),
        "stars": ("stars", "rating", "rate"),
    }[name]
    assert {"README.md", "adapter_config.json", "adapter_model.safetensors", "nlptasks.json"} == {
        file.name for file in report.path.iterdir()
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_command_line_serves_it(home: Home, name: str) -> None:
    (_, text), *others = INPUTS[name].items()
    more = [word for field, value in others for word in ("-o", field, value)]
    done = home.run("run", name, text, *more, "-a", "first", "--json", "--dtype", "float32")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    assert (answer["adapter"], answer["model"], answer["truncated"]) == ("first", str(home.base), False)
    with Engine(settings=home.settings, plugins=home.plugins, device="cpu", dtype="float32") as engine:
        here = engine.run(name, INPUTS[name], adapter="first")
    field = {"entailment": "score", "stars": "stars"}[name]
    assert answer[field] == pytest.approx(getattr(here, field), abs=1e-5)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_web_app_has_a_form_for_it(home: Home, name: str) -> None:
    pytest.importorskip("gradio", reason="the web app needs pip install 'nlptasks[ui]'")
    from gradio_client import Client

    from tests.ui_browser import served

    with Engine(settings=home.settings, plugins=home.plugins, device="cpu", dtype="float32") as engine:
        here = engine.run(name, INPUTS[name], adapter="first")
        with served(engine) as url:
            client = Client(url, verbose=False, analytics_enabled=False)
            parameters = client.view_api(return_format="dict", print_info=False)["named_endpoints"][f"/{name}"]
            assert list(INPUTS[name]) == [p["parameter_name"] for p in parameters["parameters"]][: len(INPUTS[name])]
            labels = {part["props"].get("label") for part in client.config["components"]}
            assert {field.capitalize() for field in INPUTS[name]} <= labels
            answer = client.predict(**INPUTS[name], adapter="first", api_name=f"/{name}")
    assert answer["adapter"] == "first"
    field = {"entailment": "score", "stars": "stars"}[name]
    assert answer[field] == pytest.approx(getattr(here, field), abs=1e-5)


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_measured_on_rows(home: Home, name: str) -> None:
    with Engine(settings=home.settings, plugins=home.plugins, device="cpu", dtype="float32") as engine:
        report = evaluate(name, data(name), adapter="first", engine=engine)
    assert report.rows == {"entailment": 45, "stars": 40}[name]
    # One answer to all rows is right for a third of the pairs, and 1.2 stars off on average.
    assert report.metrics["accuracy"] > 0.5 if name == "entailment" else report.metrics["mae"] < 0.8


def test_the_new_head_is_batched_counted_and_cancelled(home: Home) -> None:
    texts = ["word " * n for n in (1, 9, 3, 30, 2, 17)]
    steps: list[tuple[int, int]] = []
    with Engine(settings=home.settings, plugins=home.plugins, device="cpu", dtype="float32") as engine:
        together = engine.run(
            "stars", texts, adapter="first", progress=lambda number, total: steps.append((number, total))
        )
        alone = [engine.run("stars", text, adapter="first").stars for text in texts]
        assert [result.stars for result in together] == pytest.approx(alone, abs=1e-5)
        assert steps[-1] == (6, 6)
        assert engine.run("stars", "word " * 200, adapter="first").truncated, "more than its 64 tokens"
        token = CancelToken()
        token.cancel()
        with pytest.raises(Exception, match="cancelled before it was finished"):
            engine.run("stars", texts, adapter="first", cancel=token)
        with pytest.raises(UnsupportedModelError, match="has no trained head for rate: name an adapter"):
            engine.run("stars", "fine", model=str(home.base))


@pytest.mark.parametrize("architecture", ["gpt2", "distilbert"])
def test_the_new_head_stands_on_other_architectures(home: Home, tmp_path: Path, architecture: str) -> None:
    base = tiny_model(tmp_path / architecture, architecture=architecture)
    recipe = home.recipe("stars", num_train_epochs=1).replace(base=str(base))
    with pytest.MonkeyPatch.context() as patch:
        from tests.training_rows import serve_here

        serve_here(patch)
        report = finetune(
            "stars", data("stars"), name=architecture, recipe=recipe, device="cpu", plugins=home.plugins,
            settings=dataclasses.replace(home.settings, data=tmp_path / "data"),
        )  # fmt: skip
    assert report.gate <= 1e-4


def test_what_the_new_head_cannot_do_is_refused_in_a_sentence(home: Home, tmp_path: Path) -> None:
    options: dict[str, Any] = {"settings": home.settings, "plugins": home.plugins, "device": "cpu"}
    with pytest.raises(InvalidInputError, match="method: expected lora for a head that is no class of transformers"):
        finetune("stars", data("stars"), name="whole", recipe=home.recipe("stars", method="full"), **options)
    seq2seq = home.recipe("stars").replace(base=str(tiny_model(tmp_path / "t5", "seq2seq")))
    with pytest.raises(UnsupportedModelError, match="is a seq2seq model; a rate head needs an encoder"):
        finetune("stars", data("stars"), name="t5", recipe=seq2seq, **options)
    adapter = AdapterStore(home.settings).find("stars", "first")
    with pytest.raises(UnsupportedModelError, match="first has a head that is no class of transformers"):
        merge(home.plugins.task("stars"), adapter, tmp_path / "merged", home.settings, home.plugins)
    rows = tmp_path / "rows.csv"
    rows.write_text("text,stars\nGood.,4\nGreat.,9\n,3\n")
    with pytest.raises(DataError) as caught:
        finetune("stars", str(rows), name="bad", recipe=home.recipe("stars"), **options)
    assert "rows.csv:3: expected stars from 1 to 5, found '9'." in str(caught.value)
    assert "rows.csv:4: " in str(caught.value)


def test_without_the_plugin_its_adapter_is_refused_before_a_weight_is_read(home: Home) -> None:
    """A task of the same family that another plugin brings, but no head for its verb."""

    class Stars(TextClassification):
        """How many stars, by labels."""

        name = "stars"
        labels = ("bad", "good")

    with Engine(settings=home.settings, plugins=Plugins(), device="cpu") as engine:
        expected = r"Unknown verb 'rate'\. .*Available: classify, classify_mean, embed, extract, generate, tag"
        with pytest.raises(UnknownNameError, match=expected), engine.bind(Stars(), "first"):
            pass
        assert [base.state for base in engine.resident()] == ["not loaded"]


def test_a_broken_head_is_an_error_that_names_the_layer(home: Home, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(home.reports["stars"].path, broken)
    weights = load_file(broken / PEFT_WEIGHTS)
    save_file({name: tensor for name, tensor in weights.items() if "score.bias" not in name}, broken / PEFT_WEIGHTS)
    engine = Engine(settings=home.settings, plugins=home.plugins, device="cpu")
    with engine, pytest.raises(AdapterError, match=r"fit the rate head of HeadModel: missing head\.score\.bias"):
        engine.run("stars", "fine", adapter=str(broken))
