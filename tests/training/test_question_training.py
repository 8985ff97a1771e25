"""Training of question answering: windows and their targets, made questions, loss, and a whole run."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nlptasks import Engine, QuestionAnswering, Recipe, hookimpl
from nlptasks.data.labelled_texts import DataOptions
from nlptasks.data.questions import QuestionRow
from nlptasks.errors import DataError, InvalidInputError
from nlptasks.plugins import Plugins
from nlptasks.runtime.loading.base import load_tokenizer
from nlptasks.settings import Settings
from nlptasks.store.adapters import open_adapter
from nlptasks.training import evaluate, finetune
from nlptasks.training.families.question_answering import IGNORED, QuestionAnsweringTrainer
from nlptasks.training.families.unanswerable import with_unanswerable
from tests.examples import examples
from tests.training_rows import serve_here


class Stock(QuestionAnswering):
    """Where a thing lies in the store."""

    name = "stock"
    recipe = Recipe(
        num_train_epochs=4,
        learning_rate=1e-2,
        per_device_train_batch_size=8,
        max_length=96,
        dtype="float32",
        metric_for_best_model="best_f1",
    )
    examples = ({"question": "Where is the saw?", "context": "The saw is in box 4."},)


THINGS = ("saw", "drill", "rope", "lamp", "paint", "glue")


def stock_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    actual = []
    for number in range(count):
        things = chance.sample(THINGS, 3)
        places = [f"{chance.choice(['box', 'rack', 'hall'])} {chance.randint(1, 99)}" for _ in things]
        context = " ".join(f"The {t} is in {p}." for t, p in zip(things, places, strict=True))
        chosen = chance.randrange(3)
        answer = {"text": [places[chosen]], "answer_start": [context.index(f"{things[chosen]} is in ")]}
        answer["answer_start"] = [context.index(places[chosen], answer["answer_start"][0])]
        row = {"id": str(number), "title": f"list {number % 4}", "context": context}
        actual.append(row | {"question": f"Where is the {things[chosen]}?", "answers": answer})
    return actual


def write(path: Path, content: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, content)) + "\n", encoding="utf-8")
    return str(path)


def row(context: str, answer: str | None, question: str = "Which?", **fields: Any) -> QuestionRow:
    answers = ((answer, context.index(answer)),) if answer else ()
    return QuestionRow("here", "1", question, context, answers, **fields)


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder: Path) -> Any:
    return load_tokenizer(tiny_encoder, trust_remote_code=False)


@given(data=st.data())
@examples(150)
def test_the_target_of_a_window_is_the_answer_or_null(tokenizer: Any, data: st.DataObject) -> None:
    words = data.draw(
        st.lists(st.sampled_from(["ab", "cde", "ß", "日本", "👩‍🚀", "f.", "\r\n"]), min_size=1, max_size=60)
    )
    context = " ".join(words)
    start = data.draw(st.integers(0, len(context) - 1))
    end = data.draw(st.integers(start + 1, min(len(context), start + 12)))
    question = QuestionRow("here", "1", "What is it?", context, ((context[start:end], start),))
    features = QuestionAnsweringTrainer(Stock()).encode([question], (), tokenizer, 48)
    for feature in features:
        window = feature.source
        place = window.place
        assert len(feature) <= 48
        assert feature.request[1] == context[window.shift : window.shift + len(feature.request[1])]
        first, last = feature.target
        if first == place.null:
            assert last == place.null
            continue
        actual = (place.spans[first - place.tokens.start][0], place.spans[last - place.tokens.start][1])
        # A token that reaches over the border is taken whole.
        assert actual[0] + window.shift <= start < end <= actual[1] + window.shift
    covered = [f for f in features if f.source.shift <= start and end <= f.source.shift + len(f.request[1])]
    assert not covered or context[start:end].isspace() or any(f.target[0] != f.source.place.null for f in covered)


def test_a_long_context_has_windows_and_the_answer_in_one_at_least(tokenizer: Any) -> None:
    context = "sand " * 60 + "gold " + "sand " * 60
    features = QuestionAnsweringTrainer(Stock()).encode([row(context, "gold")], (), tokenizer, 64)
    assert len(features) > 5
    right = [f for f in features if f.target[0] != f.source.place.null]
    assert right
    for feature in right:
        spans = feature.source.place.spans
        first, last = (index - feature.source.place.tokens.start for index in feature.target)
        assert feature.request[1][spans[first][0] : spans[last][1]].strip() == "gold"


def test_a_question_keeps_half_of_a_window(tokenizer: Any) -> None:
    [feature] = QuestionAnsweringTrainer(Stock()).encode([row("Some gold.", "gold", "why " * 50)], (), tokenizer, 64)
    assert len(feature) <= 64
    assert feature.request[0] == ("why " * 50)[: len(feature.request[0])]
    assert feature.target[0] != feature.source.place.null


def test_the_loss_is_cross_entropy_over_what_may_be_a_border(tokenizer: Any) -> None:
    family = QuestionAnsweringTrainer(Stock())
    features = family.encode([row("Some gold here.", "gold"), row("Only sand.", None)], (), tokenizer, 64)
    width = max(map(len, features)) + 3
    targets = family.targets(features, width)
    torch.manual_seed(0)
    logits = torch.randn(2, width, 2)
    expected = []
    for index, feature in enumerate(features):
        place = feature.source.place
        allowed = [place.null, *range(place.tokens.start, place.tokens.stop)]
        for side in (0, 1):
            log = logits[index, allowed, side].log_softmax(0)
            expected.append(-float(log[allowed.index(feature.target[side])]))
        assert int((targets[index, :, 0] != IGNORED).sum()) == len(allowed)
    assert float(family.loss(logits, targets, 0.0)) == pytest.approx(sum(expected) / 4, rel=1e-5)
    assert float(family.loss(logits, targets, 0.2)) > 0
    moved = logits.clone()
    moved[:, 1:3] += 100  # The question's tokens: no answer can begin there.
    assert float(family.loss(moved, targets, 0.0)) == pytest.approx(sum(expected) / 4, rel=1e-5)
    measured = family.measure(list(logits.double().numpy()), features)
    assert measured["loss"] == pytest.approx(sum(expected) / 4, rel=1e-5)


def test_windows_of_a_question_are_compared_on_raw_logits(tokenizer: Any) -> None:
    family = QuestionAnsweringTrainer(Stock())
    context = "sand " * 30 + "gold " + "sand " * 30
    features = family.encode([row(context, "gold")], (), tokenizer, 64)
    logits = []
    for number, feature in enumerate(features):
        values = np.zeros((len(feature), 2))
        # A window without the answer is as sure of its best span, but on a lower level.
        sure = 9.0 if feature.target[0] != feature.source.place.null else 5.0
        first = feature.target[0] if sure == 9.0 else feature.source.place.tokens.start + number % 3
        last = feature.target[1] if sure == 9.0 else first
        values[first, 0] = values[last, 1] = sure
        logits.append(values)
    measured = family.measure(logits, features)
    assert measured["exact_match"] == measured["f1"] == measured["has_answer_f1"] == 1


def test_an_unanswerable_question_is_asked_of_another_passage_of_its_article() -> None:
    rows = [
        row("Oslo has 3 old ports.", "3", "How many old ports has Oslo?", title="towns", source="a"),
        row("Rome has 7 old hills.", "7", "How many hills has Rome?", title="towns", source="a"),
        row("Bern has 1 bear pit.", "1", "How many pits has Bern?", title="towns", source="a"),
        row("A whale weighs 100 tons.", "100", "What does a whale weigh?", title="beasts", source="a"),
        row("Port 3 is closed.", "closed", "How is port 3?", title="towns", source="b"),
    ]
    made = with_unanswerable(rows, 0.5, seed=1)[len(rows) :]
    assert all(not one.answers and one.id == "1-unanswerable" for one in made)
    passages = {one.question: one.context for one in made}
    towns = {row.context for row in rows[:3]}
    assert len(passages) == 4, "the only passage of its file has no other"
    assert passages["How many old ports has Oslo?"] == "Rome has 7 old hills.", "it shares most words with the question"
    assert {passages[one.question] in towns - {one.context} for one in rows[:3]} == {True}
    assert passages["What does a whale weigh?"] in towns, "an article of one passage borrows from its file"


def test_no_passage_that_holds_the_answer_is_asked_and_the_seed_decides_all() -> None:
    rows = [row(f"In {year} there was gold.", str(year), f"When was gold {year}?") for year in range(1900, 1960)]
    one, other = (with_unanswerable(rows, 1 / 3, seed)[60:] for seed in (1, 2))
    assert with_unanswerable(rows, 1 / 3, 1)[60:] == one != other
    assert all(made.question[-5:-1] not in made.context for made in one)
    same = [row(f"Gold {number}.", "Gold") for number in range(9)]
    assert with_unanswerable(same, 1 / 3, 1) == same


@pytest.mark.parametrize("share", [0.0, 0.2, 1 / 3, 0.6])
def test_the_share_of_unanswerable_questions_is_reached(tmp_path: Path, share: float) -> None:
    path = write(tmp_path / "stock.jsonl", stock_rows(60))
    family = QuestionAnsweringTrainer(Stock())
    rows = family.read([path], DataOptions()).rows
    recipe = Stock.recipe.replace(extra={"unanswerable": share})
    actual = family.augment(rows, recipe)
    assert actual[:60] == rows
    assert sum(not r.answers for r in actual) / len(actual) == pytest.approx(min(share, 0.5), abs=0.01)
    assert actual == family.augment(rows, recipe)
    if share <= 0.5:
        assert family.augment(actual, recipe) == actual  # The share is reached already.


def test_a_context_gives_so_many_questions_at_most() -> None:
    rows = [dataclasses.replace(row("Some gold.", "gold", f"Which of {n}?"), id=str(n)) for n in range(9)]
    rows += [row("Other gold.", "gold")]
    recipe = Stock.recipe.replace(extra={"unanswerable": 0, "questions_per_context": 4})
    actual = QuestionAnsweringTrainer(Stock()).augment(rows, recipe)
    assert len(actual) == 5
    assert [r for r in rows if r in actual] == actual


def test_no_context_stands_on_both_sides(tmp_path: Path, tiny_encoder: Path) -> None:
    family = QuestionAnsweringTrainer(Stock())
    assert family.row_text(row("Some gold.", "gold")) == "Some gold."
    with pytest.raises(DataError, match="expected at least one question with an answer, found none in 1 row"):
        family.check_training([row("Some gold.", None)])


@pytest.mark.parametrize(
    ("extra", "fault"),
    [
        ({"unanswerable": 1.0}, "extra.unanswerable: expected a number from 0 to below 1, found 1.0."),
        ({"unanswerable": "much"}, "extra.unanswerable: expected a number from 0 to below 1, found 'much'."),
        ({"questions_per_context": 1.5}, "extra.questions_per_context: expected a whole number, 0 or more, found 1.5."),
        (
            {"unanswered": 1},
            "extra: expected settings of unanswerable, questions_per_context, found 'unanswered'.",
        ),
    ],
)
def test_a_wrong_extra_setting_is_named(extra: dict[str, Any], fault: str, tmp_path: Path) -> None:
    path = write(tmp_path / "stock.jsonl", stock_rows(4))
    with pytest.raises(InvalidInputError) as caught:
        finetune(Stock(), path, name="x", recipe=Stock.recipe.replace(extra=extra))
    assert fault in str(caught.value)


@pytest.mark.full
@pytest.mark.long
def test_a_run_from_rows_to_a_served_adapter(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_here(monkeypatch)
    home = Settings(data=tmp_path / "data", cache=tmp_path / "cache", offline=True)
    train, test = write(tmp_path / "train.jsonl", stock_rows(120)), write(tmp_path / "test.jsonl", stock_rows(20, 9))
    recipe = Stock.recipe.replace(base=str(tiny_encoder), extra={"unanswerable": 0.25})
    report = finetune(Stock(), train, name="mine", recipe=recipe, settings=home)
    assert report.labels == ()
    assert report.headline == "best_f1"
    assert report.gate < 1e-3
    assert report.history[-1]["metrics"]["loss"] < report.history[0]["metrics"]["loss"]
    manifest = open_adapter(report.path).manifest
    assert manifest is not None
    assert (manifest.verb, manifest.labels, manifest.recipe["extra"]) == ("extract", None, {"unanswerable": 0.25})
    assert manifest.threshold is None  # 12 held-out contexts are too few to move it.
    card = (report.path / "README.md").read_text()
    assert "-o extra.unanswerable 0.25" in card
    assert "## Labels" not in card
    assert "nlptasks run stock -a mine 'Where is the saw?' -o context 'The saw is in box 4.'" in card

    class Plugin:
        @hookimpl
        def register_tasks(self, register):  # type: ignore[no-untyped-def]
            register(Stock())

    plugins = Plugins(home)
    plugins.register(Plugin(), "test")
    with Engine(settings=home, plugins=plugins, device="cpu", dtype="float32") as engine:
        measured = evaluate(Stock(), test, adapter=str(report.path), engine=engine, allow_no_answer=False)
    assert measured.rows == 20
    assert {"f1", "exact_match", "best_f1", "best_threshold", "has_answer_f1", "ece"} == set(measured.metrics)
    assert measured.metrics["f1"] == pytest.approx(measured.metrics["has_answer_f1"])
    assert [entry["label"] for entry in measured.table] == ["with answer"]
    assert measured.serving == {"allow_no_answer": False}
