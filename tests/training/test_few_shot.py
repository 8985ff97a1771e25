"""A classifier from few examples: in memory in one call, and as an adapter like any other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlptasks import Engine, Plugins, Settings, TextClassification, TokenClassification, few_shot, hookimpl
from nlptasks.errors import DataError, InvalidInputError, NlptasksError, TrainingError, UnsupportedModelError
from nlptasks.store.adapters import open_adapter
from nlptasks.store.exchange import export_adapter, import_adapter
from nlptasks.training import FewShotTask, TrainReport, evaluate, finetune, merge, plan
from nlptasks.training.families.few_shot import folds_of
from nlptasks.training.metrics.linear import fit_layer
from tests.training_rows import QUICK, bases, serve_here  # noqa: F401 - a fixture


class Topic(TextClassification):
    """What a text is about."""

    name = "topic"
    open_labels = True
    recipe = QUICK
    examples = ("A text.",)


EXAMPLES = {
    "lower": ["abc abc ab", "cab cab abc", "bca ab ab", "ab abc bca", "cb ca ab", "acb bac"],
    "digits": ["123 321 12", "213 12 3213", "12 12 33", "3 21 123", "132 22", "31 312 1"],
    "signs": ["?! ?? !!", "!? !! ??!", "?? ?! !", "! ?!? !!", "??! !!?", "!!! ?"],
}
NEW = {"cba ba": "lower", "1321 23": "digits", "!?! ??": "signs"}


@pytest.fixture
def engine(settings: Settings, bases: Callable[[str], Path]) -> Iterator[Engine]:
    topic = type("Topic", (Topic,), {"recipe": QUICK.replace(base=str(bases("bert"))), "__doc__": Topic.__doc__})

    class Plugin:
        @hookimpl
        def register_tasks(self, register: Callable[[Any], None]) -> None:
            register(topic())

    plugins = Plugins()
    plugins.register(Plugin(), "topics")
    with Engine(plugins=plugins, settings=settings, device="cpu", dtype="float32") as made:
        yield made


def pairs(examples: dict[str, list[str]] = EXAMPLES) -> list[tuple[str, str]]:
    return [(text, label) for label, texts in examples.items() for text in texts]


def few(engine: Engine, data: Any = None, name: str = "mine", task: str = "topic", **options: Any) -> TrainReport:
    return finetune(
        task, data or pairs(), name=name, few_shot=True, settings=engine.settings, plugins=engine.plugins,
        device="cpu", **options,
    )  # fmt: skip


def test_a_task_of_examples_answers_at_once_and_is_saved_under_a_name(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_here(monkeypatch)
    task = few_shot(EXAMPLES, engine=engine)
    assert isinstance(task, FewShotTask)
    answers = task(list(NEW))
    assert [answer.label for answer in answers] == list(NEW.values())
    assert task("cba ba") == engine.run(task, "cba ba")
    assert task("cba ba", explain=True).explanations
    assert sum(score.score for score in answers[0].scores) == pytest.approx(1)
    assert 0.9 < task.metrics["accuracy"] <= 1
    folder = task.save("mine")
    assert folder == engine.settings.adapters / "topic" / "mine"
    saved = engine.run("topic", list(NEW), adapter="mine")
    for one, other in zip(answers, saved, strict=True):
        assert other.adapter == "mine"
        assert [score.label for score in one.scores] == [score.label for score in other.scores]
        assert [s.score for s in one.scores] == pytest.approx([s.score for s in other.scores], abs=2e-3)
    with pytest.raises(TrainingError, match="An adapter 'mine' for topic exists"):
        task.save("mine")


def test_long_texts_are_read_in_windows(engine: Engine) -> None:
    task = few_shot(EXAMPLES, engine=engine)
    answer = task("abc ab cab " * 60)
    assert (answer.label, answer.truncated) == ("lower", False)
    assert answer.windows > 1


@pytest.mark.parametrize(
    ("examples", "sentence"),
    [
        ([], "expected texts by label, as in {'bug': ['It crashes.']}, found list."),
        ({}, "expected two labels or more, found none."),
        ({"bug": ["It crashes."]}, "expected two labels or more, found 'bug'."),
        ({"bug": [], "other": ["Fine."]}, "bug: expected a list of texts, found none."),
        ({"bug": "It crashes.", "other": ["Fine."]}, "bug: expected a list of texts, found one text."),
        ({"bug": ["a", " "], "other": ["b"]}, "bug, text 2: expected a text with a visible character, found ' '."),
        (
            {"bug": ["a"], "other": ["a"]},
            "'a': expected one label, found bug and other; multi_label=True allows several.",
        ),
        ({"bug": ["a"], "Bug": ["b"]}, "labels: expected names that differ in more than letter case"),
    ],
)
def test_faulty_examples_are_refused_before_a_model_is_loaded(engine: Engine, examples: Any, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        few_shot(examples, engine=engine)
    assert sentence in str(refused.value)
    assert engine.resident() == []


def test_without_an_open_task_nothing_can_be_saved(settings: Settings, bases: Callable[[str], Path]) -> None:
    with Engine(plugins=Plugins(), settings=settings, device="cpu", dtype="float32") as engine:
        task = few_shot(EXAMPLES, engine=engine, base=str(bases("bert")))
        assert task("cba ba").label == "lower"
        with pytest.raises(NlptasksError, match="No installed task takes its labels from the data"):
            task.save("mine")


def test_an_adapter_of_few_rows_is_a_head_on_the_base_as_it_is(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_here(monkeypatch)
    report = few(engine)
    assert (report.train_rows, report.held_out_rows, report.steps) == (18, 18, 0)
    assert report.labels == ("digits", "lower", "signs")
    assert report.gate < 1e-4
    assert report.metrics["accuracy"] > 0.9
    adapter = open_adapter(report.path)
    assert (adapter.verb, adapter.labels) == ("classify_mean", report.labels)
    card = (report.path / "README.md").read_text()
    assert "On 18 rows, each left out once (cross-validation), in float32" in card
    assert "-o few_shot True" in card
    measured = evaluate("topic", pairs({label: [text] for text, label in NEW.items()}), adapter="mine", engine=engine)
    assert measured.metrics["accuracy"] == 1
    archive = export_adapter(adapter, tmp_path / "mine.zip")
    copy = import_adapter(archive, engine.settings, engine.plugins, name="copy").adapter
    first, second = (engine.run("topic", list(NEW), adapter=name) for name in ("mine", copy.name))
    assert [answer.scores for answer in first] == [answer.scores for answer in second]
    task = engine.plugins.task("topic")
    with pytest.raises(UnsupportedModelError, match="mine has a head that is no class of transformers"):
        merge(task, adapter, tmp_path / "merged", engine.settings, engine.plugins)
    with pytest.raises(TrainingError, match="init_from: expected an adapter for classify, found 'mine'"):
        finetune("topic", pairs(), name="more", init_from="mine", settings=engine.settings, plugins=engine.plugins)


@pytest.mark.long
def test_contrastive_steps_train_lora_and_a_run_is_repeatable(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_here(monkeypatch)
    first = few(engine, contrastive_epochs=4)
    again = few(engine, name="again", contrastive_epochs=4)
    assert (first.steps, first.gate < 1e-4) == (4, True)
    assert "LoRA on" in first.trained
    assert first.metrics == again.metrics
    assert [engine.run("topic", text, adapter="mine").label for text in NEW] == list(NEW.values())


def test_several_labels_a_text(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_here(monkeypatch)
    both = {**EXAMPLES, "signs": [*EXAMPLES["signs"], *EXAMPLES["digits"]]}
    task = few_shot(both, multi_label=True, engine=engine)
    assert set(task("231 12 2").labels) == {"digits", "signs"}
    assert task("cab bac").labels == ("lower",)
    data = [{"text": text, "label": [label for label in both if text in both[label]]} for _, text in
            [(label, text) for label, texts in EXAMPLES.items() for text in texts]]  # fmt: skip
    report = few(engine, data, extra={"multi_label": True})
    assert set(engine.run("topic", "231 12 2", adapter="mine").labels) == {"digits", "signs"}
    assert open_adapter(report.path).manifest.multi_label  # type: ignore[union-attr]


def test_a_text_with_two_labels_is_refused(engine: Engine) -> None:
    with pytest.raises(DataError, match="A text has two labels"):
        few(engine, [*pairs(), ("ABC abc, ab", "digits")])


def test_what_few_shot_does_not_fit_is_one_sentence(engine: Engine) -> None:
    with pytest.raises(InvalidInputError, match="contrastive_epochs: expected few_shot = true"):
        finetune("topic", pairs(), name="mine", contrastive_epochs=5, plugins=engine.plugins, settings=engine.settings)
    with pytest.raises(InvalidInputError, match="few_shot: expected method lora"):
        few(engine, method="full")


def test_few_rows_are_told_of_few_shot(engine: Engine) -> None:
    notes = plan("topic", pairs(), plugins=engine.plugins, settings=engine.settings).notes
    assert "fewer than 200 rows: --few-shot takes seconds and is often better with so few" in notes


def test_a_labels_only_text_is_never_left_out() -> None:
    folds = folds_of(["a", "b", "b!", "c", "d"], [0, 1, 1, 1, 1], 5, 13)
    assert sorted(i for _, others in folds for i in others) == [1, 2, 3, 4]
    assert all(0 in inside for inside, _ in folds)
    assert all((1 in others) == (2 in others) for _, others in folds)


def test_temperature_and_strength_come_from_rows_that_were_left_out() -> None:
    chance = np.random.default_rng(0)
    right = np.arange(200) % 2
    vectors = chance.normal(size=(200, 30))
    vectors[:, 0] += np.where(right, 0.8, -0.8)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    folds = folds_of([str(i) for i in range(200)], right.tolist(), 5, 13)
    layer = fit_layer(vectors, np.eye(2)[right], folds)
    assert layer.weights.shape == (2, 30)
    assert layer.metrics["ece"] < 0.1
    assert 0.6 < layer.metrics["accuracy"] < 1


class Parts(TokenClassification):
    """Parts in a repair note."""

    name = "parts"
    open_labels = True


def test_labels_and_types_come_from_the_data(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "notes.conll"
    file.write_text("The O\nvalve B-part\nleaks O\n\nBosch B-maker\npump B-part\n\nFine O\n\nThe O\nvalve B-part\n")
    assert plan(Parts(), str(file), settings=settings).labels == ("O", "B-part", "I-part", "B-maker", "I-maker")
    assert plan(Topic(), pairs(), settings=settings).labels == ("digits", "lower", "signs")
    several = plan(Topic(), [("a b", "x|y"), ("a", "x"), ("b", "y"), ("c", "x")], settings=settings,
                   extra={"multi_label": True})  # fmt: skip
    assert several.labels == ("x", "y")
    assert (several.training + several.held_out)[0].label == (0, 1)


TICKETS = {
    "billing": [
        "I was charged twice for the same order.",
        "The invoice of May has the wrong amount.",
        "My card was declined although there is money on it.",
        "When will I get the refund for my cancelled plan?",
        "Please send the receipt to our accounts department.",
        "Why did the monthly fee go up?",
        "I paid by bank transfer and the order still says unpaid.",
        "The discount code was not taken off the total.",
    ],
    "bug": [
        "The app closes itself when I open the camera.",
        "I get an error message after every login.",
        "Search finds nothing since the last update.",
        "The page stays white in my browser.",
        "Uploads stop at ninety percent.",
        "The sound is gone after I lock the screen.",
        "Buttons do not react on my tablet.",
        "The export file is empty.",
    ],
    "delivery": [
        "My parcel should have been here on Monday.",
        "The courier left the box in the rain.",
        "Can I change the address of a shipment on its way?",
        "Tracking has shown the same city for a week.",
        "Only one of the two packages arrived.",
        "Do you ship to islands?",
        "The driver did not ring the bell.",
        "I need the goods before the weekend.",
    ],
}
TICKETS_OF_OTHERS = {
    "You took the money from my account two times.": "billing",
    "Could I get an invoice with the tax number?": "billing",
    "It crashes as soon as I press save.": "bug",
    "The settings page shows an error.": "bug",
    "Where is my package?": "delivery",
    "The mailman gave it to the wrong house.": "delivery",
}


@pytest.mark.embedded
def test_eight_rows_a_label_are_enough_for_the_embedded_base(embedded_settings: Settings) -> None:
    with Engine(settings=embedded_settings) as engine:
        started = time.monotonic()
        task = few_shot(TICKETS, base="minilm", engine=engine)
        answers = task(list(TICKETS_OF_OTHERS))
        assert time.monotonic() - started < 10
    assert [answer.label for answer in answers] == list(TICKETS_OF_OTHERS.values())
    assert task.metrics["accuracy"] > 0.75
    # Calibrated: the best label of a clear text is no coin toss, and no score is certain after eight rows.
    assert 0.5 < sum(answer.score for answer in answers) / len(answers) < 0.98
