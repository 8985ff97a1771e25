"""Training: it learns, what is saved is what is served, a stopped run goes on, nothing half-written is taken."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nlptasks import CLASSIFY, Recipe
from nlptasks.errors import DataError, GateError, OfflineError, TrainingError, UnsupportedModelError
from nlptasks.runtime.resident import ResidentModel
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import AdapterStore
from nlptasks.store.adapters import PEFT_WEIGHTS, AdapterSettings, open_adapter
from nlptasks.store.download import BaseFolder
from nlptasks.training import DataOptions, Event, TrainReport, finetune
from nlptasks.training.loop import trainer as loop
from nlptasks.training.loop.checkpoints import AVERAGE, WEIGHTS, RunFolder
from nlptasks.training.publishing import gate, publish
from tests.training_rows import QUICK, Feeling, bases, rows, train, write_csv  # noqa: F401 - fixtures

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_it_learns_from_chance_to_perfect(train: Callable[..., TrainReport], architecture: str) -> None:
    started = train("start", QUICK.replace(learning_rate=1e-9, num_train_epochs=1), architecture)
    assert started.metrics["accuracy"] <= 0.7
    report = train(recipe=QUICK.replace(learning_rate=1e-2, num_train_epochs=10), base=architecture)
    assert report.metrics["accuracy"] == 1.0
    assert [entry["epoch"] for entry in report.history] == list(range(1, 11))
    assert report.history[-1]["train_loss"] < report.history[0]["train_loss"]


@pytest.mark.long
@pytest.mark.usefixtures("cold_subprocesses")
def test_the_gate_is_a_process_of_its_own(settings: Settings, tmp_path: Path, bases: Callable[[str], Path]) -> None:
    data = write_csv(tmp_path / "notes.csv", rows(22))
    recipe = QUICK.replace(base=str(bases("bert")), num_train_epochs=1, per_device_train_batch_size=4)
    report = finetune(Feeling(), data, name="five", recipe=recipe, settings=settings, device="cpu")
    assert report.steps == 5
    assert report.gate <= 1e-4


@pytest.mark.long
def test_the_adapter_works_in_plain_peft(train: Callable[..., TrainReport], bases: Callable[[str], Path]) -> None:
    import peft
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    report = train()
    base = BaseFolder(str(bases("bert")), None, bases("bert"), "test")
    plain = AutoModelForSequenceClassification.from_pretrained(base.path, num_labels=2)
    model = peft.PeftModel.from_pretrained(plain, report.path).eval()
    batch = AutoTokenizer.from_pretrained(base.path)("a good note", return_tensors="pt")
    resident = ResidentModel(base, "cpu", "float32")
    served = resident.bind(open_adapter(report.path)).classify(["a good note"])[0].values
    resident.close()
    torch.testing.assert_close(model(**batch).logits[0].tolist(), list(served), atol=1e-5, rtol=1e-5)


@pytest.mark.long
def test_full_fine_tuning_gives_a_model_folder(train: Callable[..., TrainReport], settings: Settings) -> None:
    report = train(recipe=QUICK.replace(method="full", learning_rate=2e-3, num_train_epochs=2))
    assert report.path == settings.data / "models" / "feeling" / "mine"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.name for file in report.path.iterdir()}
    config = json.loads((report.path / "config.json").read_text())
    assert config["id2label"] == {"0": "sad", "1": "glad"}
    assert AdapterStore(settings).names("feeling") == []


@pytest.mark.long
def test_the_folder_says_everything(train: Callable[..., TrainReport], tmp_path: Path) -> None:
    report = train(licence="CC0-1.0", base="gpt2", options=DataOptions(held_out=0.2))
    manifest = open_adapter(report.path).manifest
    assert manifest is not None
    assert manifest.labels == ("sad", "glad")
    assert manifest.settings == AdapterSettings(), "the tiny GPT-2 names its padding token itself"
    assert manifest.data["train"][0]["name"] == "notes.csv"
    assert (manifest.data["train_rows"], manifest.data["held_out_rows"]) == (128, 32)
    assert manifest.recipe["seed"] == QUICK.seed
    assert set(manifest.versions) == {"python", "nlptasks", "torch", "transformers", "peft"}
    assert set(manifest.metrics) == {"accuracy", "macro_f1", "mcc", "ece", "loss"}
    card = (report.path / "README.md").read_text()
    for part in ("license: CC0-1.0", "notes.csv", "--held-out 0.2", "## Limits", manifest.data["train"][0]["sha256"]):
        assert part in card
    assert str(tmp_path) not in card.replace(manifest.base.id, "")
    peft = json.loads((report.path / "adapter_config.json").read_text())
    assert peft["modules_to_save"] == ["score"]
    assert all(file.stat().st_mode & 0o044 == 0o044 for file in report.path.iterdir())


def test_a_base_without_padding_token_is_served_with_the_trained_one(
    train: Callable[..., TrainReport], tmp_path: Path, bases: Callable[[str], Path]
) -> None:
    import shutil

    base = shutil.copytree(bases("gpt2"), tmp_path / "unpadded")
    for file, key in (("config.json", "pad_token_id"), ("tokenizer_config.json", "pad_token")):
        values = json.loads((base / file).read_text())
        values.pop(key, None)
        (base / file).write_text(json.dumps(values))
    recipe = QUICK.replace(num_train_epochs=1, base=str(base))
    report = finetune(Feeling(), write_csv(tmp_path / "n.csv", rows(40)), name="p", recipe=recipe,
                      settings=Settings(tmp_path / "c", tmp_path / "d", offline=True), device="cpu")  # fmt: skip
    manifest = open_adapter(report.path).manifest
    assert manifest is not None
    assert isinstance(manifest.settings.config.pad_token_id, int)


@pytest.mark.long
def test_changed_weights_do_not_pass_the_gate(
    train: Callable[..., TrainReport], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = publish.save

    def save(trainable: Any, folder: Path, *rest: Any) -> None:
        real(trainable, folder, *rest)
        tensors = load_file(folder / PEFT_WEIGHTS)
        name = next(name for name in tensors if name.endswith("layer.1.output.dense.lora_B.weight"))
        save_file({**tensors, name: tensors[name] * 1.5}, folder / PEFT_WEIGHTS)

    monkeypatch.setattr(publish, "save", save)
    with pytest.raises(GateError, match="does not give the logits that training gave"):
        train()
    assert AdapterStore(settings).names("feeling") == []
    assert not (settings.adapters / "feeling" / "mine").exists()
    monkeypatch.setattr(publish, "save", real)
    assert train(resume=True).metrics["accuracy"] == 1.0, "the run's last checkpoint still stands"


@pytest.mark.long
def test_the_gate_reports_a_folder_that_cannot_be_served(tmp_path: Path) -> None:
    base = BaseFolder("gone", None, tmp_path / "gone", "test")
    with pytest.raises(GateError, match=r"cannot be served: .*gone"):
        gate.serve_again(base, None, CLASSIFY, ["a"], device="cpu")
    with pytest.raises(GateError, match="1 rows of"):
        gate.compare([[1.0, 2.0]], [[1.0]])
    with pytest.raises(GateError):
        gate.compare([[1.0, 2.0]], [[float("nan"), 2.0]])
    assert gate.compare([[1.0, -200.0]], [[1.1, -200.0]]) == pytest.approx(0.0005)


@pytest.mark.long
def test_what_is_evaluated_and_saved_is_the_average(
    train: Callable[..., TrainReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: dict[str, Any] = {}
    real = RunFolder.clear

    def clear(run: RunFolder) -> None:
        if run.last:
            stored["weights"], stored["average"] = load_file(run.last / WEIGHTS), load_file(run.last / AVERAGE)
        real(run)

    monkeypatch.setattr(RunFolder, "clear", clear)
    report = train(recipe=QUICK.replace(ema_decay=0.95, num_train_epochs=4))
    assert report.history[-1]["best"]
    saved = load_file(report.path / PEFT_WEIGHTS)["base_model.model.classifier.weight"]
    name = "base_model.model.classifier.modules_to_save.default.weight"
    torch.testing.assert_close(saved, stored["average"][name])
    assert not torch.equal(saved, stored["weights"][name])
    assert report.metrics["loss"] == pytest.approx(report.history[-1]["metrics"]["loss"], abs=1e-4)


@pytest.mark.long
def test_it_stops_early_and_keeps_the_best(train: Callable[..., TrainReport], monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.6, 0.8, 0.7, 0.75, 0.9])

    def measure(self: Any, answers: Any) -> dict[str, float]:
        return {"accuracy": next(scores), "macro_f1": 0.0, "mcc": 0.0, "ece": 0.0, "loss": 0.5}

    monkeypatch.setattr(loop.Loop, "_measure", measure)
    report = train(recipe=QUICK.replace(num_train_epochs=5, early_stopping_patience=2))
    assert report.stopped_early
    assert [entry["metrics"]["accuracy"] for entry in report.history] == [0.6, 0.8, 0.7, 0.75]
    assert [entry["best"] for entry in report.history] == [True, True, False, False]


@pytest.mark.long
def test_accumulated_batches_are_one_step(train: Callable[..., TrainReport]) -> None:
    report = train(
        recipe=QUICK.replace(
            per_device_train_batch_size=8, gradient_accumulation_steps=4, num_train_epochs=2, evals_per_epoch=2
        )
    )
    assert report.steps == 10
    assert [entry["step"] for entry in report.history] == [2, 5, 7, 10]


@pytest.mark.full
@pytest.mark.long
def test_bfloat16_and_float32_in_one_process(train: Callable[..., TrainReport]) -> None:
    kinds = []

    def listen(event: Event) -> None:
        if event.kind == "model":
            kinds.append(event.values["text"].split(":")[0].rpartition(" ")[2])

    for name, dtype in (("a", "bfloat16"), ("b", "float32")):
        recipe = QUICK.replace(num_train_epochs=1, dtype=dtype)
        assert train(name, recipe, on_event=listen).gate <= 1e-4
    assert kinds == ["bfloat16", "float32"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "The loss became nan at step 1"),
        (0.0, "exactly 0 for 20 steps"),
        (0.75, "exactly 0.75 for 20 steps"),
    ],
)
def test_a_hopeless_loss_ends_the_training(
    train: Callable[..., TrainReport], settings: Settings, monkeypatch: pytest.MonkeyPatch, value: float, words: str
) -> None:
    from nlptasks.training.families.text_classification import TextClassificationTrainer

    monkeypatch.setattr(TextClassificationTrainer, "loss", lambda self, logits, *_: logits.sum() * 0 + value)
    with pytest.raises(TrainingError, match=words) as caught:
        train(recipe=QUICK.replace(per_device_train_batch_size=4))
    assert "lower learning_rate" in str(caught.value)
    assert AdapterStore(settings).names("feeling") == []


@pytest.mark.long
def test_excluded_texts_are_not_trained_on(train: Callable[..., TrainReport], tmp_path: Path) -> None:
    test_file = write_csv(tmp_path / "test.csv", [(text.upper() + "!", label) for text, label in rows()[:30]])
    notes: list[str] = []
    report = train(
        recipe=QUICK.replace(num_train_epochs=1),
        exclude=[test_file],
        on_event=lambda event: notes.append(str(event.values.get("text"))),
    )
    assert report.train_rows + report.held_out_rows == 130
    assert any(note.startswith("30 training rows were excluded") for note in notes)
    assert json.loads((report.path / "nlptasks.json").read_text())["data"]["exclude"][0]["rows_excluded"] == 30


@pytest.mark.long
def test_validation_data_of_its_own(train: Callable[..., TrainReport], tmp_path: Path) -> None:
    held = write_csv(tmp_path / "held.csv", rows(40, seed=1) + rows()[:3])
    report = train(recipe=QUICK.replace(num_train_epochs=1), validation=[held], options=DataOptions(max_rows=100))
    assert (report.train_rows, report.held_out_rows) == (100, 43)
    assert "training rows have a text of the validation data: --exclude" in report.warnings[0]


def test_data_that_teaches_nothing_is_refused_before_a_model_loads(
    train: Callable[..., TrainReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nlptasks.store.download.find_base", lambda *_: pytest.fail("a model was looked for"))
    one = write_csv(tmp_path / "one.csv", [("a", "sad"), ("b", "sad"), ("c", "sad")])
    with pytest.raises(DataError, match="at least two different labels, found 1"):
        train(data=one)
    few = write_csv(tmp_path / "few.csv", [("a", "sad"), ("b", "glad")])
    with pytest.raises(
        DataError, match=r"Held-out rows: expected at least one, found none among 2 rows, since .*--vali"
    ):
        train(data=few)
    with pytest.raises(DataError, match="bad row"):
        train(data=write_csv(tmp_path / "bad.csv", [("a", "sda")]))


def test_old_hub_names_find_their_repository(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_csv(tmp_path / "notes.csv", rows())
    with pytest.raises(OfflineError, match="openai-community/gpt2"):
        finetune(Feeling(), data, name="mine", recipe=Recipe(base="gpt2"), settings=settings)
    (tmp_path / "gpt2").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsupportedModelError, match="no base model"):
        finetune(Feeling(), data, name="mine", recipe=Recipe(base="gpt2"), settings=settings)


@pytest.mark.long
def test_nothing_touches_the_network(train: Callable[..., TrainReport], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    train(recipe=QUICK.replace(num_train_epochs=1))


@pytest.mark.long
def test_events_are_lines_of_json(train: Callable[..., TrainReport], settings: Settings) -> None:
    train(recipe=QUICK.replace(num_train_epochs=1))
    lines = RunFolder(settings, "feeling", "mine").events.read_text().splitlines()
    kinds = [json.loads(line)["event"] for line in lines]
    assert [kind for kind in dict.fromkeys(kinds) if kind != "step"] == [
        "note", "warning", "model", "start", "evaluation", "checkpoint", "phase", "gate", "published",
    ]  # fmt: skip
