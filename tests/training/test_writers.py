"""Every writing architecture learns: five steps of LoRA, and a fresh process gives the same log-probabilities."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nlptasks import Engine, Plugins, Recipe, hookimpl
from nlptasks.model import GENERATE
from nlptasks.settings import Settings
from nlptasks.store.adapters import PEFT_WEIGHTS
from nlptasks.testing import tiny_model
from nlptasks.training.publishing import gate
from tests.examples import marked
from tests.runtime.matrix import Outcome, serve_all, train_noting
from tests.sample_tasks import Title, TitleResult

ARCHITECTURES = ("marian", "m2m_100", "mbart", "t5", "bart", "pegasus", "gpt2", "llama", "qwen2", "gemma3_text")
IN_SUITE = ("marian", "m2m_100", "t5", "llama")
"""One of each kind; all others are in `make full`."""

RECIPE = Recipe(
    num_train_epochs=1,
    learning_rate=1e-2,
    per_device_train_batch_size=4,
    max_length=200,
    dtype="float32",
    metric_for_best_model="loss",
)
WORDS = ("rain", "snow", "wind", "fog")


class Plain(Title):
    """A title for a text, whatever the model writes."""

    name = "plain"

    def parse(self, inputs, completion):  # type: ignore[no-untyped-def]
        return TitleResult(title=completion)


def data(folder: Path) -> tuple[str, str]:
    """Twenty rows to train on, which are five batches, and eight held out."""
    rows = [{"text": f"A text about {WORDS[i % 4]}, number {i}.", "title": WORDS[i % 4]} for i in range(28)]
    files = []
    for name, part in (("train", rows[:20]), ("held", rows[20:])):
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
        files.append(str(file))
    return files[0], files[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("home")
    return Settings(cache=root / "cache", data=root / "data", offline=True)


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, home: Settings, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome]:
    """All architectures that the selected tests ask for, trained here and served elsewhere."""
    scratch = tmp_path_factory.mktemp("matrix")
    train, held = data(scratch)
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    names = dict.fromkeys(item.callspec.params["architecture"] for item in items if item.path == Path(__file__))
    trained = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            base = tiny_model(scratch / name, architecture=name)
            recipe = RECIPE.replace(base=str(base), use_rslora=name == "qwen2", use_dora=name == "gpt2")
            trained[name] = train_noting(Plain(), recipe, train, held, name, home, patch)
    serve_all([outcome for outcome in trained.values() if not outcome.failure], scratch)
    return trained


@pytest.fixture(scope="module")
def engine(home: Settings) -> Iterator[Engine]:
    class Plugin:
        @hookimpl
        def register_tasks(self, register):  # type: ignore[no-untyped-def]
            register(Plain())

    plugins = Plugins(home)
    plugins.register(Plugin(), "test")
    with Engine(settings=home, plugins=plugins, device="cpu", dtype="float32") as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize("architecture", marked(ARCHITECTURES, IN_SUITE))
def test_what_is_trained_is_saved_and_served(outcomes: dict[str, Outcome], engine: Engine, architecture: str) -> None:
    outcome = outcomes[architecture]
    report = outcome.trained
    assert report.steps == 5
    state = load_file(report.path / PEFT_WEIGHTS)
    factors = {name: tensor for name, tensor in state.items() if ".lora_B." in name}
    assert len(factors) >= 8
    assert not any("lm_head" in name or "embed" in name for name in state)
    assert [name for name, tensor in factors.items() if not torch.any(tensor)] == []
    assert len(outcome.request["requests"]) >= 8
    assert not isinstance(outcome.served, str), outcome.served
    assert gate.compare(outcome.expected, outcome.served) < GENERATE.tolerance
    assert report.metrics["perplexity"] == pytest.approx(2.718281828 ** report.metrics["loss"])
    answer = engine.run("plain", "A text about rain.", adapter=architecture, max_new_tokens=5)
    assert (type(answer), answer.adapter) == (TitleResult, architecture)
