"""The option `explain`: weights of words by leaving them out, for labels, entities and answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nlptasks import Explanation, TextClassification, TokenClassification
from nlptasks.families import explanation
from nlptasks.surfaces import render
from nlptasks.testing import FakeModel
from nlptasks_plugins import Qa


class Mood(TextClassification):
    """Whether a note is glad or sad."""

    name = "mood"
    labels = ("sad", "glad")


class Places(TokenClassification):
    """Places in a text."""

    name = "places"
    labels = ("LOC",)


WEIGHTS = {"good": 2.0, "fine": 1.0, "bad": -3.0}


def scores(text: str) -> list[float]:
    return [0.0, sum(WEIGHTS.get(word, 0.0) for word in text.split())]


def explain(task: Any, model: FakeModel, inputs: Sequence[Any], **options: Any) -> list[Any]:
    values, inputs = task.validate_options({"explain": True, **options}), task.validate(inputs)
    return task.explain(inputs, task.run(inputs, values, model), values, model)


def weights(one: Explanation) -> dict[str, float]:
    return {word.text: round(word.weight, 6) for word in one.words}


def test_a_word_weighs_what_the_log_odds_lose_without_it() -> None:
    model = FakeModel(labels=Mood.labels, scores=scores)
    [result] = explain(Mood(), model, ["a good but bad day"])
    by_label = {one.target: weights(one) for one in result.explanations}
    assert by_label["glad"] == {"a": 0, "good": 2.0, "but": 0, "bad": -3.0, "day": 0}
    assert by_label["sad"] == {"a": 0, "good": -2.0, "but": 0, "bad": 3.0, "day": 0}
    assert result.explanations[0].target == result.label
    assert {one.method for one in result.explanations} == {"leave-one-out"}


def test_windows_are_added_up_by_their_share() -> None:
    text = " ".join(["good", *["so"] * 40, "bad", *["so"] * 20])
    [result] = explain(Mood(), FakeModel(labels=Mood.labels, scores=scores, max_tokens=40), [text])
    glad = next(one for one in result.explanations if one.target == "glad")
    assert result.windows == 2
    assert "".join(text[word.start : word.end] for word in glad.words) == text.replace(" ", "")
    heavy = {word.text: word.weight for word in glad.words if abs(word.weight) > 0.1}
    # One word in each window: their shares add up to the whole.
    assert set(heavy) == {"good", "bad"}
    assert heavy["good"] / 2.0 + heavy["bad"] / -3.0 == pytest.approx(1.0)


@given(st.text(max_size=60).filter(str.strip))
@hypothesis_settings(max_examples=40)
def test_words_stand_where_they_say(text: str) -> None:
    model = FakeModel(labels=Mood.labels, scores=scores)
    if not text.isprintable():
        return
    [result] = explain(Mood(), model, [text])
    for one in result.explanations:
        assert all(text[word.start : word.end] == word.text for word in one.words)


def test_many_words_are_left_out_several_at_a_time() -> None:
    model = FakeModel(labels=Mood.labels, scores=scores, max_tokens=512)
    [result] = explain(Mood(), model, [" ".join(["so"] * 300)])
    assert 300 / 4 <= explanation.MAX_PARTS < 300 / 3
    assert len(result.explanations[0].words) == 75
    assert result.explanations[0].words[0].text == "so so so so"


def test_an_entity_leans_on_its_words() -> None:
    def tags(text: str) -> list[str]:
        words = text.split()
        return ["B-LOC" if word == "Bergen" and "in" in words else "O" for word in words]

    model = FakeModel(labels=Places.tags(), tags=tags)
    [result] = explain(Places(), model, ["We met in Bergen today"])
    [one] = result.explanations
    assert (one.target, one.start, one.end) == ("LOC", 10, 16)
    strong = {word.text for word in one.words if word.weight > 5}
    assert strong == {"in", "Bergen"}
    assert explain(Places(), model, ["Nothing here"])[0].explanations == ()


def test_an_answer_leans_on_question_and_context() -> None:
    def answers(question: str, context: str) -> tuple[int, int] | None:
        at = context.find("noon")
        return (at, at + 4) if "When" in question and at >= 0 else None

    [result] = explain(Qa(), FakeModel(answers=answers), [("When does it go ?", "The train leaves at noon today")])
    [one] = result.explanations
    assert one.target == "noon"
    strong = {(word.field, word.text) for word in one.words if word.weight > 2}
    assert strong == {("question", "When"), ("context", "noon")}


def test_the_option_alone_changes_no_answer_and_costs_nothing_else() -> None:
    model = FakeModel(labels=Mood.labels, scores=scores)
    task = Mood()
    inputs = task.validate(["a good day"])
    plain = task.run(inputs, task.validate_options({}), model)[0]
    [explained] = explain(task, model, ["a good day"])
    assert explained.model_copy(update={"explanations": ()}) == plain
    assert "explanations" not in plain.model_dump()
    assert "explanations" in explained.model_dump()


def test_people_see_the_words() -> None:
    [result] = explain(Mood(), FakeModel(labels=Mood.labels, scores=scores), ["a good but bad day"])
    assert render(result, "a good but bad day").splitlines()[1] == "  why sad: bad +3.00, good -2.00"
    coloured = render(result, "a good but bad day", colour=True).splitlines()[1]
    assert "\x1b[38;5;34m\x1b[1mbad" in coloured
    assert "\x1b[38;5;160m\x1b[1mgood" in coloured
