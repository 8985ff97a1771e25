"""The parts of a training: recipes, targets, metrics, calibration, averages, order."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nlptasks import Recipe
from nlptasks.errors import DataError, InvalidInputError, TrainingError, UnsupportedModelError
from nlptasks.runtime.loading.devices import Placement
from nlptasks.store.download import BaseFolder
from nlptasks.task import REMOVED_SETTINGS, RENAMED_SETTINGS
from nlptasks.testing import tiny_model
from nlptasks.training import load_recipe
from nlptasks.training.families.base import family_trainer
from nlptasks.training.loop.average import WeightAverage, decay_at
from nlptasks.training.loop.models import build
from nlptasks.training.loop.targets import choose_targets
from nlptasks.training.loop.trainer import LengthSampler
from nlptasks.training.metrics import labels as metrics
from nlptasks.training.metrics.calibration import fit_temperature, fit_threshold
from nlptasks.training.recipes import override
from tests.sample_tasks import Echo
from tests.training_rows import Feeling


def test_a_recipe_file_changes_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "gpt2"\nlearning_rate = 1e-4\ntarget_modules = ["query", "value"]\n[extra]\nweight = 2\n')
    recipe = load_recipe(file, Recipe(num_train_epochs=7, extra={"other": 1}))
    assert (recipe.base, recipe.learning_rate, recipe.num_train_epochs) == ("gpt2", 1e-4, 7)
    assert recipe.target_modules == ("query", "value")
    assert recipe.extra == {"other": 1, "weight": 2}
    assert override(Recipe(), recipe.model_dump(mode="json")) == recipe


def test_every_fault_of_a_recipe_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(
        'epoch = 3\nlearning_rate = "fast"\nmax_length = 1.5\nmethod = "qlora"\nseed = true\nextra = 1\n'
        "target_modules = []\nlearning_rates = 1\n"
    )
    with pytest.raises(InvalidInputError, match=r"The recipe bad\.toml is not valid") as caught:
        load_recipe(file)
    assert sorted(caught.value.problems) == [
        "setting 'epoch' is not known; did you mean 'num_train_epochs'?",
        "setting 'extra': input should be a valid dictionary, found 1.",
        "setting 'learning_rate': input should be a valid number, unable to parse string as a number, found 'fast'.",
        "setting 'learning_rates' is not known; did you mean 'learning_rate'?",
        "setting 'max_length': input should be a valid integer, got a number with a fractional part, found 1.5.",
        "setting 'method': input should be 'lora' or 'full', found 'qlora'.",
        "setting 'seed': expected another value than true or false, found True.",
        "setting 'target_modules': expected \"all-linear\" or names of layers, found [].",
    ]
    with pytest.raises(DataError, match="expected a recipe file, found none"):
        load_recipe(tmp_path / "gone.toml")
    file.write_text("learning_rate = = 1")
    with pytest.raises(DataError, match="expected TOML"):
        load_recipe(file)


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 0},
        {"learning_rate": math.inf},
        {"num_train_epochs": math.nan},
        {"warmup_ratio": 1},
        {"r": 0},
        {"base_dropout": 1},
        {"base": ""},
        {"max_length": 3},
        {"seed": 2**32},
        {"dtype": "float16"},
        {"use_dora": "perhaps"},
    ],
)
def test_a_value_out_of_bounds_is_refused_everywhere(changes: dict[str, Any]) -> None:
    for make in (lambda: Recipe(**changes), lambda: Recipe().replace(**changes)):
        with pytest.raises(ValidationError, match="1 validation error"):
            make()
    with pytest.raises(InvalidInputError, match=f"setting '{next(iter(changes))}': "):
        override(Recipe(), changes)


def test_old_names_are_read_with_a_warning_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for old, new in RENAMED_SETTINGS.items():
        value = Recipe().model_dump()[new]
        sentence = f"The recipe setting {old} is now {new}; the next version no longer reads {old}."
        for make in (lambda settings: Recipe(**settings), lambda settings: Recipe().replace(**settings)):
            with pytest.warns(DeprecationWarning, match=f"^{re.escape(sentence)}$") as caught:
                assert make({old: value}) == Recipe()
            # The warning points at the line that has the old name.
            assert [warning.filename for warning in caught] == [__file__]
        caplog.clear()
        assert override(Recipe(), {old.replace("_", "-"): value}) == Recipe()
        assert caplog.messages == [sentence]
    with pytest.warns(DeprecationWarning, match="lr is now learning_rate and is ignored beside it"):
        assert Recipe(**{"lr": 1e-3, "learning_rate": 1e-4}).learning_rate == 1e-4


def test_a_setting_that_was_removed_is_ignored_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "old.toml"
    file.write_text("probe_lr = true\nlearning_rate = 1e-4\n[extra]\nbidirectional = true\nweight = 2\n")
    assert load_recipe(file) == Recipe(learning_rate=1e-4, extra={"weight": 2})
    assert override(Recipe(), {"probe-lr": "True", "extra.bidirectional": "false"}) == Recipe()
    sentences = [
        f"The recipe setting {name} was removed and is ignored: {instead}."
        for name, instead in REMOVED_SETTINGS.items()
    ]
    assert caplog.messages == sentences * 2
    with pytest.warns(DeprecationWarning, match="The recipe setting probe_lr was removed and is ignored: train with"):
        assert Recipe(**{"probe_lr": True}) == Recipe()


def test_a_text_is_read_as_the_setting_s_type() -> None:
    changes = {"learning_rate": "1e-4", "per-device-train-batch-size": "8", "num_train_epochs": 2, "use_dora": "True"}
    recipe = override(Recipe(), {**changes, "target_modules": "query, value"})
    assert (recipe.learning_rate, recipe.per_device_train_batch_size, recipe.num_train_epochs) == (1e-4, 8, 2.0)
    assert (recipe.target_modules, recipe.use_dora) == (("query", "value"), True)
    assert recipe.base_dropout is None
    assert override(recipe, {"base_dropout": "0"}).base_dropout == 0.0
    assert override(override(recipe, {"base_dropout": 0}), {"base_dropout": None}) == recipe


def load(folder: Path, architecture: str) -> Any:
    from transformers import AutoModelForSequenceClassification

    base = tiny_model(folder / architecture, architecture=architecture)
    return AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)


@pytest.mark.parametrize(
    ("architecture", "layers", "whole"),
    [
        ("bert", {"query", "key", "value", "dense"}, {"classifier", "bert.pooler"}),
        ("roberta", {"query", "key", "value", "dense"}, {"classifier"}),
        ("distilbert", {"q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"}, {"pre_classifier", "classifier"}),
        ("modernbert", {"Wqkv", "Wo", "Wi"}, {"head", "classifier"}),
        ("gpt2", {"c_attn", "c_proj", "c_fc"}, {"score"}),
        ("llama", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}, {"score"}),
    ],
)
def test_targets_of_every_architecture(tmp_path: Path, architecture: str, layers: set[str], whole: set[str]) -> None:
    model = load(tmp_path, architecture)
    actual = choose_targets(model, "all-linear")
    assert {name.rpartition(".")[2] for name in actual.lora} == layers
    assert set(actual.whole) == whole
    assert all(name.startswith(f"{model.base_model_prefix}.") for name in actual.lora)
    assert not any(name.startswith(part) for name in actual.lora for part in actual.whole)


def test_named_targets_must_match(tmp_path: Path) -> None:
    model = load(tmp_path, "bert")
    assert {name.rpartition(".")[2] for name in choose_targets(model, ("query", "output.dense")).lora} == {
        "query",
        "dense",
    }
    with pytest.raises(
        TrainingError, match=r"'quary' matches no linear layer .* Did you mean 'query'\? There are: dense"
    ):
        choose_targets(model, ("query", "quary"))
    with pytest.raises(TrainingError, match="'classifier' matches no linear layer"):
        choose_targets(model, ("classifier",))


def test_layers_that_the_checkpoint_lacks_are_trained_whole(tmp_path: Path) -> None:
    model = load(tmp_path, "bert")
    actual = choose_targets(model, "all-linear", ["bert.encoder.layer.1.output.dense.bias", "classifier.weight"])
    assert "bert.encoder.layer.1.output.dense" in actual.whole
    assert "bert.encoder.layer.1.output.dense" not in actual.lora
    model.bert.encoder.extra_classifier = torch.nn.Linear(2, 2)
    with pytest.raises(UnsupportedModelError, match="PEFT would also train"):
        choose_targets(model, "all-linear")


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "modernbert", "gpt2", "llama"])
def test_the_base_s_dropout_is_set_everywhere(tmp_path: Path, architecture: str) -> None:
    base = BaseFolder("tiny", None, tiny_model(tmp_path / "base", architecture=architecture), "a test")
    placement = Placement("cpu", "", "float32", "")
    ids = torch.arange(2, 12).unsqueeze(0)
    same = {}
    for rate in (0.0, 0.5):
        recipe = Recipe(method="full", base_dropout=rate)
        model = build(base, family_trainer(Feeling()), ("a", "b"), recipe, placement).model.train()
        if architecture == "distilbert":
            model.dropout.p = 0.0  # the head's own
        first, second = model(input_ids=ids).logits, model(input_ids=ids).logits
        same[rate] = torch.equal(first, second)
    assert same == {0.0: True, 0.5: False}


def test_a_task_without_a_family_says_that_it_cannot_be_trained() -> None:
    with pytest.raises(TrainingError, match="echo belongs to the family custom, which cannot be trained"):
        family_trainer(Echo())


def test_metrics_are_scikit_learn_s() -> None:
    from sklearn.metrics import f1_score, log_loss, matthews_corrcoef

    chance = np.random.default_rng(0)
    logits, gold = chance.normal(size=(200, 3)), chance.integers(0, 3, 200)
    chances = metrics.softmax(logits)
    actual = metrics.single_label(chances, gold.tolist())
    answered = chances.argmax(1)
    assert actual["accuracy"] == pytest.approx((answered == gold).mean())
    assert actual["macro_f1"] == pytest.approx(f1_score(gold, answered, average="macro"))
    assert actual["mcc"] == pytest.approx(matthews_corrcoef(gold, answered))
    assert actual["loss"] == pytest.approx(log_loss(gold, chances))
    assert sum(map(sum, metrics.confusion(gold, answered, 3))) == 200
    assert [row["rows"] for row in metrics.per_label(gold, answered, "abc")] == np.bincount(gold).tolist()


def test_the_calibration_error_of_known_gaps() -> None:
    assert metrics.calibration_error([0.75] * 4, [1, 1, 1, 0]) == pytest.approx(0)
    assert metrics.calibration_error([1.0, 1.0], [1, 0]) == pytest.approx(0.5)
    assert metrics.calibration_error([0.9, 0.1], [1, 1]) == pytest.approx((0.1 + 0.9) / 2)


def test_metrics_of_several_labels() -> None:
    gold = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    actual = metrics.multi_label(np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.4]]), gold)
    assert actual["accuracy"] == pytest.approx(2 / 3)
    assert metrics.multi_label(gold, gold)["macro_f1"] == 1.0


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.5])
def test_the_temperature_undoes_overconfidence(factor: float) -> None:
    chance = np.random.default_rng(1)
    logits = chance.normal(size=(4000, 2)) * 2
    gold = (chance.random(4000) < metrics.softmax(logits)[:, 1]).astype(int)

    def loss(values: Any) -> float:
        return metrics.single_label(metrics.softmax(values), gold.tolist())["loss"]

    def quick(temperature: float) -> float:
        chances = metrics.softmax(logits * factor / temperature)
        return float(-np.log(chances[np.arange(4000), gold]).mean())

    temperature = fit_temperature(quick, rows=4000, errors=9)
    assert temperature == pytest.approx(factor, rel=0.1)
    assert loss(logits * factor / temperature) <= loss(logits * factor) + 1e-9


def test_the_temperature_stays_where_rows_cannot_tell() -> None:
    assert fit_temperature(lambda _: 0.0, rows=49, errors=5) == 1.0
    assert fit_temperature(lambda _: 0.0, rows=500, errors=0) == 1.0


def test_the_threshold_of_several_labels() -> None:
    gold = np.array([[1.0, 0.0], [0.0, 1.0]] * 30)
    assert fit_threshold(gold * 0.2 + 0.05, gold) == 0.25
    assert fit_threshold(gold[:10], gold[:10]) is None


def test_the_average_follows_its_formula() -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    average = WeightAverage({"p": parameter}, 0.9)
    expected = 1.0
    for step in range(1, 200):
        parameter.data = torch.tensor([float(step)])
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.values["p"].item() == pytest.approx(expected, rel=1e-5)
    with average.applied():
        assert parameter.item() == pytest.approx(expected, rel=1e-5)
    assert parameter.item() == 199
    assert math.isclose(decay_at(0, 0.999), 0.1)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=300), st.integers(1, 9), st.integers(0, 3))
def test_every_row_comes_once_an_epoch(lengths: list[int], batch_size: int, epoch: int) -> None:
    one, other = LengthSampler(lengths, batch_size, 5), LengthSampler(lengths, batch_size, 5)
    for sampler in (one, other):
        sampler.set_epoch(epoch)
    assert sorted(one) == list(range(len(lengths)))
    assert list(one) == list(other)


def test_rows_of_a_batch_have_like_lengths() -> None:
    lengths = [index % 40 + 1 for index in range(800)]
    order = [lengths[index] for index in LengthSampler(lengths, 16, 0)]
    spread = [max(order[i : i + 16]) - min(order[i : i + 16]) for i in range(0, 800, 16)]
    assert sum(spread) / len(spread) < 4


def test_the_documents_name_every_setting_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "docs" / "fine-tuning.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]*)`? \|", text, flags=re.MULTILINE))
    default = Recipe().model_dump(mode="json")
    del default["extra"]
    assert {name: str(value) for name, value in default.items()} == {name: table.get(name) for name in default}


def test_several_labels_are_trained_and_served() -> None:
    task = Feeling()
    task.__class__ = type("Feelings", (Feeling,), {"multi_label": True})
    family = family_trainer(task)
    logits = torch.tensor([[2.0, -2.0], [0.0, 0.0]])
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    assert family.loss(logits, labels, 0.0).item() == pytest.approx(expected.item())
    assert family.head_config(("sad", "glad"))["problem_type"] == "multi_label_classification"
