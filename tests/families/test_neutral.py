"""Sentiment's third outcome, by the option `neutral`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nlptasks import Classification, Engine
from nlptasks.settings import Settings
from nlptasks.surfaces import render
from nlptasks.testing import FakeModel
from nlptasks_plugins import Sentiment

ODDS = (-9.0, -4.0, 0.0, 4.0, 9.0)
"""Log-odds of positive against negative, of texts that are named by their places."""

BOTH = ("negative", "positive")


def answers(labels: Sequence[str] = BOTH, **options: object) -> list[Classification]:
    task = Sentiment()
    model = FakeModel(labels=labels, scores=lambda text: (0.0, ODDS[int(text)], *([0.0] * (len(labels) - 2))))
    inputs = [task.input_type(text=str(place)) for place in range(len(ODDS))]
    return task.run(inputs, task.options_type(**options), model)


def test_a_text_that_is_half_one_half_the_other_is_neutral() -> None:
    results = answers(neutral=True)
    assert [one.label for one in results] == ["negative", "negative", "neutral", "positive", "positive"]
    for one in results:
        assert one.labels == (one.label,)
        assert (one.scores[0].label, one.scores[0].score) == (one.label, one.score)
        assert sum(each.score for each in one.scores) == pytest.approx(1)
        assert one.to_hf() == [{"label": one.label, "score": one.score}]
    assert render(results[2]) == f"neutral {results[2].score:.3f}"


def test_the_more_likely_positive_is_the_less_likely_negative_is() -> None:
    by_label = [{each.label: each.score for each in one.scores} for one in answers(neutral=True)]
    assert [one["positive"] for one in by_label] == sorted(one["positive"] for one in by_label)
    assert [one["negative"] for one in by_label] == sorted((one["negative"] for one in by_label), reverse=True)
    assert max(by_label, key=lambda one: one["neutral"]) is by_label[2]


def test_without_the_option_there_are_two_labels() -> None:
    for one in answers():
        assert {each.label for each in one.scores} == set(BOTH)


def test_a_threshold_is_the_least_score_of_the_other_labels() -> None:
    plain, strict = answers(neutral=True), answers(neutral=True, threshold=0.9999)
    assert [one.label for one in strict] == ["neutral"] * 5
    for before, after in zip(plain, strict, strict=True):
        assert after.scores == before.scores
        assert after.score == next(each.score for each in after.scores if each.label == "neutral")


@pytest.mark.parametrize(
    "labels", [("negative", "positive", "neutral"), ("1 star", "2 stars"), ("bad", "fair", "good")]
)
def test_an_adapter_with_other_labels_answers_as_without_the_option(labels: tuple[str, ...]) -> None:
    assert answers(labels, neutral=True, threshold=0.9) == answers(labels, threshold=0.9)


@pytest.mark.embedded
def test_the_shipped_adapter_knows_what_judges_nothing(embedded_settings: Settings) -> None:
    texts = {
        "The shop is on Main Street, the film starts at ten.": "neutral",
        "Could you tell me when the library opens?": "neutral",
        "I loved every minute of it.": "positive",
        "This kettle is far better than my old one.": "positive",
        "This kettle is far worse than my old one.": "negative",
    }
    with Engine(settings=embedded_settings, device="cpu", dtype="float32") as engine:
        results = engine.run(Sentiment, list(texts), neutral=True)
    assert [one.label for one in results] == list(texts.values())
