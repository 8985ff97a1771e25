"""Labels that a caller names: what reaches the model, what comes back, and a sentence for every fault."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from nlptasks import Classification, Engine, InvalidInputError, Settings, TextInput, ZeroShotClassification
from nlptasks.families.zero_shot_classification import CACHED_SETS, OTHER, label_text
from nlptasks.testing import FakeBackend, FakeModel, check_task
from nlptasks_plugins import Classify

NAMES = {"billing": "payments and refunds", "bug": "it does not work", "praise": "thanks"}


class Route(ZeroShotClassification):
    """Which team should answer."""

    name = "route"
    examples = ("I was charged twice.",)
    example_options = MappingProxyType({"labels": NAMES})
    instructions = "What is it about?"


def run(task: Any, model: Any, *texts: str, **options: Any) -> list[Classification]:
    results: list[Classification] = task.run(
        [TextInput(text=text) for text in texts], task.validate_options(options), model
    )
    return results


def refused(task: Any, **options: Any) -> str:
    with pytest.raises(InvalidInputError) as caught:
        task.validate_options(options)
    [problem] = caught.value.problems
    return problem


def test_the_contract_holds() -> None:
    check_task(Route())
    check_task(Classify())


def test_text_and_labels_are_embedded_by_one_model() -> None:
    model = FakeModel()
    [result] = run(Route(), model, "I was charged twice.", labels=NAMES)
    assert model.calls == [
        (
            "embed",
            [
                "What is it about? billing: payments and refunds",
                "What is it about? bug: it does not work",
                "What is it about? praise: thanks",
            ],
        ),
        ("embed", ["I was charged twice."]),
    ]
    assert {score.label for score in result.scores} == set(NAMES)
    assert sum(score.score for score in result.scores) == pytest.approx(1)
    assert result.label == result.scores[0].label
    assert result.num_tokens == 6


def test_the_caller_s_instructions_take_the_place_of_the_task_s() -> None:
    model = FakeModel()
    run(Route(), model, "text", labels="a, b_c", instructions="Is it late?")
    assert model.calls[0][1] == ["Is it late? a", "Is it late? b c"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("billing",), "billing"),
        (("not_billing", "no payments"), "not billing: no payments"),
        (("bug", "it breaks", "What is it?"), "What is it? bug: it breaks"),
        (("bug", "", " What is it? "), "What is it? bug"),
    ],
)
def test_what_stands_for_a_label(arguments: Any, text: str) -> None:
    assert label_text(*arguments) == text


def test_labels_are_embedded_once_for_a_model() -> None:
    task, model = Route(), FakeModel(version="1")
    for order in (["bug", "billing"], ["billing", "bug"]):
        run(task, model, "one", "two", labels=order)
    assert [len(texts) for _, texts in model.calls] == [2, 2, 2]
    other = FakeModel(version="2")
    run(task, other, "one", labels=["bug", "billing"])
    assert len(other.calls) == 2
    nameless = FakeModel()
    for _ in range(2):
        run(task, nameless, "one", labels=["bug", "billing"])
    assert len(nameless.calls) == 4


def test_the_oldest_set_of_labels_is_forgotten() -> None:
    task, model = Route(), FakeModel(version="1")
    for number in range(CACHED_SETS + 1):
        run(task, model, "one", labels=["a", f"b{number}"])
    count = len(model.calls)
    run(task, model, "one", labels=["a", "b1"])
    assert len(model.calls) == count + 1
    run(task, model, "one", labels=["a", "b0"])
    assert len(model.calls) == count + 3


def test_the_order_of_the_labels_decides_nothing() -> None:
    chance = random.Random(0)
    names = [f"label {number}" for number in range(40)]
    expected = run(Route(), FakeModel(), "some text", labels=names)
    for _ in range(20):
        assert run(Route(), FakeModel(), "some text", labels=chance.sample(names, len(names))) == expected


def test_equal_scores_are_in_alphabetical_order() -> None:
    [result] = run(Route(), FakeModel(kind="causal", likelihoods=lambda *_: -1.0), "text", labels=["b", "c", "a"])
    assert [score.label for score in result.scores] == ["a", "b", "c"]


def test_several_labels_are_scored_each_on_its_own() -> None:
    model = FakeModel(bias=-1.5, temperature=0.5)
    [result] = run(Route(), model, "text", labels=NAMES, multi_label=True)
    assert len(result.labels) == 3
    assert all(score.score > 0.7 for score in result.scores)
    [alone] = run(Route(), model, "text", labels={"bug": NAMES["bug"]}, multi_label=True)
    assert alone.score == pytest.approx(next(s.score for s in result.scores if s.label == "bug"))
    [none] = run(Route(), FakeModel(bias=1.5, temperature=0.1), "text", labels=NAMES, multi_label=True)
    assert (none.label, none.labels, len(none.scores)) == (None, (), 3)


@pytest.mark.parametrize(("bias", "label"), [(1.5, OTHER), (-1.5, None)])
def test_none_of_the_labels_is_an_answer(bias: float, label: str | None) -> None:
    [result] = run(Route(), FakeModel(bias=bias, temperature=0.1), "text", labels=NAMES, other=True)
    assert len(result.scores) == 4
    assert sum(score.score for score in result.scores) == pytest.approx(1)
    assert (result.label == OTHER) is (label == OTHER)
    assert (result.scores[-1].label == OTHER) is (label is None)


def test_under_the_threshold_there_is_no_label() -> None:
    [result] = run(Route(), FakeModel(bias=0.0, temperature=100.0), "text", labels=NAMES, threshold=0.5)
    assert (result.label, result.labels, len(result.scores)) == (None, (), 3)


def test_a_long_text_is_read_in_windows() -> None:
    model = FakeModel(max_tokens=40)
    words = [f"word{number}" for number in range(100)]
    [result] = run(Route(), model, " ".join(words), labels=NAMES)
    windows = model.calls[-1][1]
    assert result.windows == len(windows) > 2
    assert "".join(windows).split() == words
    assert not result.truncated


def test_a_label_that_the_model_cannot_read_at_once_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="'long' has more than the 16 tokens that the model reads: shorten"):
        run(Route(), FakeModel(max_tokens=16), "text", labels={"short": "fine", "long": "word " * 30})


def test_a_language_model_is_asked_for_the_label() -> None:
    model = FakeModel(
        kind="causal",
        likelihoods=lambda prompt, choice: -1.0 if "Great!" in prompt and choice == " praise" else -3.0,
    )
    [result] = run(Route(), model, "Great!", labels=["praise", "bug"], other=True)
    assert [score.label for score in result.scores] == ["praise", "bug", OTHER]
    assert result.scores[1].score == pytest.approx(result.scores[2].score)
    assert [verb for verb, _ in model.calls if verb not in ("offsets", "choose")] == []


def test_an_adapter_with_labels_of_its_own_answers_with_them() -> None:
    model = FakeModel(labels=("late", "lost"), scores=lambda _: (3.0, 0.0))
    [result] = run(Route(), model, "text")
    assert (result.label, len(result.scores)) == ("late", 2)
    with pytest.raises(InvalidInputError, match=r"the adapter answers with its own \(late, lost\); leave labels out"):
        run(Route(), model, "text", labels=NAMES)


def test_emoji_are_read_by_their_names() -> None:
    model = FakeModel(reads_emoji=False)
    run(Route(), model, "text", labels=["👍", "bug"])
    assert model.calls[0][1] == ["What is it about? bug", "What is it about?  thumbs up "]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"labels": ["bug"]}, "option: expected 2 labels or more, or 1 with multi_label or other, found"),
        ({"labels": []}, "option 'labels': expected 1 to 255 names, counted 0"),
        ({"labels": ["bug", "bug"]}, "option 'labels': expected names once, not 'bug' and 'bug'"),
        ({"labels": ["bug", "Bug"]}, "option 'labels': expected names that differ in more than letter case"),
        ({"labels": [str(i) for i in range(300)]}, "option 'labels': expected 1 to 255 names, counted 300"),
        ({"labels": {"a": "", "b": "x"}}, "option 'labels': expected a description of 'a', not an empty text"),
        ({"labels": ["a", "b"], "instructions": " "}, "option 'instructions': expected a text with at least one char"),
        ({"instructions": "Is it late?"}, "option: expected labels to go with instructions"),
        ({"other": True}, "option: expected labels to go with other"),
        ({"labels": ["a", "Other"], "other": True}, "option: expected no label 'other' beside other=True"),
        (
            {"labels": ["a", "b"], "other": True, "multi_label": True},
            "option: expected other without multi_label, where a text may have no label anyway",
        ),
    ],
)
def test_a_fault_of_the_options_is_one_sentence(options: dict[str, Any], sentence: str) -> None:
    assert refused(Route(), **options).startswith(sentence)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, r'labels: expected names, as in labels=\["billing", "bug"\] or .*, found none'),
        ({"labels": ["счёт", "ошибка"]}, "expected English names or descriptions, .* found 'счёт'; name another model"),
    ],
)
def test_a_fault_that_the_adapter_decides_is_told_before_a_model_is_loaded(
    settings: Settings, options: dict[str, Any], sentence: str
) -> None:
    backend = FakeBackend()
    with Engine(settings=settings, backend=backend) as engine:
        with pytest.raises(InvalidInputError, match=sentence):
            engine.run("classify", "text", **options)
        assert backend.models == []
        assert engine.run("classify", "text", labels={"счёт": "an invoice", "ошибка": "a bug"}).label
        assert engine.run("classify", "text", labels=["счёт", "ошибка"], adapter="none", model="any").label


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def engine(request: Any, embedded_settings: Settings) -> Iterator[Engine]:
    with Engine(settings=embedded_settings, dtype=request.param) as made:
        yield made


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("You took the money for my order two times.", "billing"),
        ("The window closes by itself whenever I press save.", "bug"),
        ("Your support team was so kind, thank you all!", "praise"),
    ],
)
def test_the_shipped_adapter_reads_labels_it_never_saw(engine: Engine, text: str, label: str) -> None:
    result = engine.run("classify", text, labels=NAMES)
    assert (result.label, result.model, result.adapter) == (label, "minilm", "classify")


@pytest.mark.embedded
def test_the_order_of_labels_decides_nothing_with_real_weights(engine: Engine) -> None:
    names = [*NAMES, "delivery", "returns", "careers", "press", "weather", "a question about opening hours"]
    chance = random.Random(1)
    texts = ["My parcel never came.", "Are you open on Sundays?"]
    first: list[dict[str, float]] = []
    for _ in range(25):
        results = engine.run("classify", texts, labels=chance.sample(names, len(names)))
        scores = [{score.label: score.score for score in result.scores} for result in results]
        first = first or scores
        assert all(abs(a[n] - b[n]) <= 1e-5 for a, b in zip(first, scores, strict=True) for n in names)


@pytest.mark.embedded
def test_the_shipped_adapter_says_what_it_was_fitted_to(engine: Engine) -> None:
    from nlptasks.store.adapters import open_adapter

    manifest = open_adapter(Path(str(Classify.adapter))).manifest
    assert manifest
    assert (manifest.verb, manifest.labels) == ("embed", None)
    assert manifest.bias is not None
    with engine.bind(Classify()) as model:
        assert (model.info.bias, model.info.temperature) == (manifest.bias, manifest.temperature)
