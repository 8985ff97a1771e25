"""Measured ranges fix int8's scales: what they hold, how they become steps, what is computed with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from nlptasks.cli import cli
from nlptasks.data.labelled_texts import DataOptions
from nlptasks.errors import AdapterError, NlptasksError, UnsupportedModelError
from nlptasks.plugins import default_plugins
from nlptasks.runtime.compiled import graph, quantization
from nlptasks.runtime.compiled.graph import Graph
from nlptasks.runtime.compiled.normalization import fold_norms
from nlptasks.runtime.compiled.quantization import grid, layer_of, shrink
from nlptasks.runtime.compiled.ranges import Ranges, observing, read_ranges, rename, save_ranges
from nlptasks.runtime.loading.devices import int8_obstacle
from nlptasks.runtime.resident import ResidentModel
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import AdapterStore
from nlptasks.store.adapters import open_adapter
from nlptasks.store.exchange import find_adapter
from nlptasks.store.weights import RANGES, fingerprint
from nlptasks.training import TrainReport
from nlptasks.training.families.base import family_trainer
from nlptasks.training.publishing import observing as observing_module
from nlptasks.training.publishing.observing import measure_ranges
from tests.runtime.test_compiled import answers, ask, batch_of, folder_of, task_model
from tests.tiny_adapters import classifier_adapter
from tests.training_rows import QUICK, Feeling, bases, rows, train, write_csv  # noqa: F401 - fixtures

needs_int8 = pytest.mark.skipif(bool(int8_obstacle()), reason=str(int8_obstacle()))


def ranges_of(model: Any, batch: dict[str, torch.Tensor]) -> Ranges:
    with observing(model) as ranges, torch.inference_mode():
        model(**batch)
    return ranges


# What is measured and kept.


def test_the_lowest_and_the_highest_of_every_channel_are_seen() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 4))
    seen = [torch.randn(2, 5, 3), torch.randn(1, 4, 3) * 9]
    with observing(layers) as ranges, torch.inference_mode():
        for given_ in seen:
            layers(given_)
    tokens = torch.cat([given_.flatten(0, 1) for given_ in seen])
    hidden = torch.relu(layers[0](tokens)).detach()
    assert sorted(ranges) == ["0", "2"]
    np.testing.assert_array_equal(ranges["0"], torch.stack([tokens.amin(0), tokens.amax(0)]))
    np.testing.assert_allclose(ranges["2"], torch.stack([hidden.amin(0), hidden.amax(0)]), rtol=1e-5)
    before = ranges["0"].copy()
    layers(torch.full((1, 3), 100.0))
    np.testing.assert_array_equal(ranges["0"], before)


def test_they_are_kept_beside_the_weights(tmp_path: Path) -> None:
    assert read_ranges(tmp_path) == {}
    for highest in (2.0, 3.0):
        save_ranges({"a.b": np.array([[-1, 0], [1, highest]], np.float32)}, tmp_path)
        np.testing.assert_array_equal(read_ranges(tmp_path)["a.b"], [[-1, 0], [1, highest]])
    assert [path.name for path in tmp_path.iterdir()] == [RANGES]


def test_a_file_of_something_else_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / RANGES).write_bytes(b"not tensors")
    with pytest.raises(
        AdapterError, match=r"ranges\.safetensors: expected a whole safetensors file, found .*: copy or"
    ):
        read_ranges(tmp_path)
    save_ranges({"a.b": np.zeros((3, 2), np.float32)}, tmp_path)
    with pytest.raises(
        AdapterError, match=r"channel of a\.b, F32 of shape \(2, channels\), found F32 of \(3, 2\): measure"
    ):
        read_ranges(tmp_path)


# How a range becomes steps.


@given(st.floats(-1e3, 1e3, width=32), st.floats(0, 1e3, width=32))
def test_a_grid_holds_its_range_and_zero_and_is_hardly_wider(low: float, width: float) -> None:
    high = low + max(width, 0.01)
    first, last = grid(low, high)
    step = (last - first) / 255
    below, above = min(low, 0), max(high, 0)
    assert first <= below + 1e-6 * step
    assert last >= above - 1e-6 * step
    assert last - first <= 1.04 * (above - below)
    zero = -first / step
    assert zero == pytest.approx(round(zero), abs=1e-6)
    # OpenVINO would take signed bytes.
    assert not 124.5 < zero < 131.5


# What is computed with them.


@needs_int8
@pytest.mark.parametrize("model_type", ["albert", "bert", "deberta-v2"])
def test_with_ranges_the_answers_stay_near(model_type: str) -> None:
    model = task_model(model_type, "classify")
    # As many tokens as a measurement sees.
    ranges = ranges_of(model, batch_of(300, 20))
    head = Graph.translate(model, batch_of(2, 4), "int8", ranges).compile(1)
    for shape in ((16, 20), (2, 5)):
        batch = batch_of(*shape)
        with torch.inference_mode():
            expected = model(**batch).logits
        torch.testing.assert_close(
            ask(head, batch)["logits"], expected, rtol=0, atol=0.08 * float(expected.abs().max())
        )


def roundings(model: Any) -> list[Any]:
    return [op for op in model.get_ops() if op.get_type_name() == "FakeQuantize"]


@needs_int8
def test_products_of_one_input_share_their_steps_and_a_layer_without_ranges_keeps_its_own() -> None:
    model = task_model("bert", "classify")
    ranges = ranges_of(model, batch_of(8, 10))
    first = "bert.encoder.layer.0"
    missing = f"{first}.attention.output.dense"
    translated = graph._translate(model, batch_of(2, 4), "int8")
    shrink(translated, {name: found for name, found in ranges.items() if name != missing})
    # Of four inputs in each of two layers one has no ranges; the pooler reads one row a text.
    assert len(roundings(translated)) == 7
    by_layer = {layer_of(op): op for op in translated.get_ops() if op.get_type_name() == "MatMul"}
    given_ = {name: op.input_value(0).get_node() for name, op in by_layer.items()}
    assert given_[f"{first}.attention.self.query"] == given_[f"{first}.attention.self.value"]
    assert given_[f"{first}.attention.self.query"].get_type_name() == "FakeQuantize"
    assert given_[missing].get_type_name() != "FakeQuantize"
    assert given_["bert.pooler.dense"].get_type_name() != "FakeQuantize"


@needs_int8
def test_a_channel_far_above_the_others_does_not_take_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(64, 64)).eval()
    given_ = torch.randn(4, 10, 64)
    given_[..., 3] *= 30
    with torch.no_grad():
        layers[0].weight[:, 3] /= 30
        expected = layers(given_).numpy()
    with observing(layers) as ranges:
        layers(given_)

    def distance() -> float:
        model = graph.import_openvino().convert_model(layers, example_input=given_, verbose=False)
        shrink(model, ranges)
        assert len(roundings(model)) == 1
        return float(np.abs(graph._compile(model, 64, 1, 1)(given_.numpy())[0] - expected).mean())

    divided = distance()
    monkeypatch.setattr(quantization, "LEAST_SPREAD", 1.0)
    assert divided < distance() / 3


@needs_int8
@pytest.mark.parametrize(("model_type", "folded"), [("bert", 4), ("deberta-v2", 3)])
def test_a_norm_s_scale_and_shift_move_into_what_reads_them(model_type: str, folded: int) -> None:
    model = task_model(model_type, "classify")
    with torch.no_grad():
        # OpenVINO drops scales of one and shifts and biases of zero, which new models have.
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.copy_(torch.randn_like(weight) / 2 + 0.5)
    batch = batch_of(8, 10)
    ranges = ranges_of(model, batch)
    translated = graph._translate(model, batch_of(2, 4), "int8")
    known = fold_norms(translated, ranges)
    whole = graph._compile(translated, 0, 1, 1)
    inputs = {name: batch[name].numpy() for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(whole(inputs)[0]), model(**batch).logits, atol=1e-3, rtol=1e-3)
    products = [op for op in translated.get_ops() if op.get_type_name() == "MatMul"]
    given_ = {layer_of(op): op.input_value(0).get_node() for op in products}
    sources = {name: node.input_value(0).get_node() for name, node in given_.items() if node.get_input_size()}
    read = {name: given_[name] for name, source in sources.items() if source.get_type_name() == "MVN" and name in known}
    assert len({sources[name].get_friendly_name() for name in read}) == folded
    # The ranges are those of what is read now.
    for name, node in read.items():
        translated.add_outputs(node.output(0))
        values = graph._compile(translated, 0, 1, 1)(inputs)[len(translated.outputs) - 1].reshape(-1, 32)
        np.testing.assert_allclose(known[name], [values.min(0), values.max(0)], atol=1e-3)


@needs_int8
def test_with_ranges_a_text_s_answer_does_not_depend_on_the_texts_beside_it() -> None:
    model = task_model("bert", "classify")
    head = Graph.translate(model, batch_of(2, 4), "int8", ranges_of(model, batch_of(8, 10))).compile(1)
    ids = torch.randint(5, 60, (9, 12))
    together = ask(head, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})["logits"]
    alone = [
        ask(head, {"input_ids": row[None], "attention_mask": torch.ones_like(row[None])})["logits"][0] for row in ids
    ]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=1e-4)


TEXTS = ["Ada met Bob", "no", "a longer text for the other rows", "a bright day", "nothing but rain"]


@needs_int8
def test_an_adapter_is_served_with_the_ranges_in_its_folder(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = classifier_adapter(tiny_encoder, tmp_path / "mine", seed=1)
    plain = ResidentModel(folder_of(tiny_encoder), "cpu", "float32")
    expected = answers(plain, path, "classify", TEXTS)
    with observing(plain.load().backbone) as ranges:
        answers(plain, path, "classify", TEXTS)
    plain.close()
    save_ranges(ranges, path)
    known: list[set[str]] = []
    monkeypatch.setattr(graph, "shrink", lambda model, found: known.append(set(found)) or shrink(model, found))
    small = ResidentModel(folder_of(tiny_encoder), "cpu", "int8")
    for found, right in zip(answers(small, path, "classify", TEXTS), expected, strict=True):
        torch.testing.assert_close(found, right, atol=0.1, rtol=0.1)
    small.close()
    # Under the task model's names; the last layer is another one, which computes the first token only.
    assert known == [{f"bert.{name.replace('layer.1.', 'layer.1.layer.')}" for name in ranges}]


def test_another_base_s_ranges_are_not_taken() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    head = torch.nn.ModuleDict({"body": layers})
    ranges = {"0": np.zeros((2, 4), np.float32), "1": np.zeros((2, 9), np.float32), "7": np.zeros((2, 4), np.float32)}
    assert list(rename(ranges, layers, head)) == ["body.0"]


# Measuring an adapter's.


@pytest.fixture
def notes(tmp_path: Path) -> str:
    return write_csv(tmp_path / "notes.csv", rows(40))


@pytest.mark.long
def test_they_are_what_the_task_reads_its_rows_with(tmp_path: Path, tiny_encoder: Path, notes: str) -> None:
    path, _ = classifier_adapter(tiny_encoder, tmp_path / "mine", labels=Feeling.labels)
    family = family_trainer(Feeling())
    read = family.read([notes], DataOptions()).rows
    found = measure_ranges(family, folder_of(tiny_encoder), open_adapter(path), read)
    plain = ResidentModel(folder_of(tiny_encoder), "cpu", "float32")
    backbone = plain.load().backbone
    plain.reading.threads = None
    with observing(backbone) as seen:
        for row in read:
            answers(plain, path, "classify", [row.text])
    plain.close()
    assert set(found) == set(seen)
    for name, bounds in found.items():
        np.testing.assert_allclose(bounds, seen[name], atol=1e-5)
    few = measure_ranges(family, folder_of(tiny_encoder), open_adapter(path), read, 2)
    assert all((few[name][1] <= found[name][1]).all() for name in found)
    assert any((few[name][1] < found[name][1]).any() for name in found)


def test_a_decoder_has_none(tiny_causal: Path, notes: str) -> None:
    family = family_trainer(Feeling())
    read = family.read([notes], DataOptions()).rows
    with pytest.raises(
        UnsupportedModelError,
        match=r"dtype 'int8' is for encoders, and .* is a causal model: it has no use for ranges\.",
    ):
        measure_ranges(family, folder_of(tiny_causal), None, read)


@pytest.mark.long
def test_a_training_measures_them(train: Callable[..., TrainReport], monkeypatch: pytest.MonkeyPatch) -> None:
    once = QUICK.replace(num_train_epochs=1)
    for method in ("lora", "full"):
        report = train(recipe=once.replace(method=method))
        assert "encoder.layer.0.intermediate.dense" in read_ranges(report.path), method
    # They are no weights: a base is the same without them.
    before = fingerprint(report.path)
    (report.path / RANGES).unlink()
    assert fingerprint(report.path) == before

    def refuse(*_: Any, **__: Any) -> Ranges:
        raise NlptasksError("No.")

    monkeypatch.setattr(observing_module, "measure_ranges", refuse)
    told: list[str] = []
    report = train(recipe=once, replace=True, on_event=lambda event: told.append(str(event.values.get("text"))))
    assert read_ranges(report.path) == {}
    assert "the activation ranges that make dtype int8 faster could not be measured: No." in told


@pytest.mark.long
def test_the_command(
    tmp_path: Path, settings: Settings, tiny_encoder: Path, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NLPTASKS_CACHE", str(settings.cache))
    monkeypatch.setenv("NLPTASKS_DATA", str(settings.data))
    path, _ = classifier_adapter(
        tiny_encoder, AdapterStore(settings).folder("sentiment", "mine"), labels=("sad", "glad")
    )
    command = ["adapters", "ranges", "sentiment", notes, "-a", "mine", "-m", str(tiny_encoder)]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert (done.stdout, done.exit_code) == (f"{path / RANGES}: the ranges of 13 layers\n", 0)
    assert len(read_ranges(path)) == 13

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(observing_module, "save_ranges", refuse)
    with pytest.raises(
        AdapterError, match=r"mine cannot be written to \(Permission denied\): copy it with `nlptasks ad"
    ):
        CliRunner().invoke(cli, command, catch_exceptions=False)


@pytest.mark.embedded
def test_the_adapters_that_ship_have_them_where_they_are_worth_it() -> None:
    found = {
        task: read_ranges(find_adapter(default_plugins().task(task), None, Settings.from_env()).path)
        for task in ("sentiment", "ner", "qa")
    }
    assert {ends.shape for ends in found["sentiment"].values()} == {(2, 384), (2, 1536)}
    assert found["ner"] == found["qa"] == {}
