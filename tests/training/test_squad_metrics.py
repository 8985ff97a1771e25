"""SQuAD's metrics: the official script's definitions, and the laws of the null threshold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlptasks.training.metrics.squad import Answered, Answers, exact_match, f1, normalise, per_kind

WORDS = st.lists(st.sampled_from(["the", "an", "red", "Red!", "old", "ship", "1,000"]), max_size=5).map(" ".join)
ROWS = st.lists(
    st.builds(
        Answered,
        text=WORDS,
        raw=st.lists(st.floats(-9, 9), min_size=1, max_size=3).map(lambda raw: tuple(sorted(raw, reverse=True))),
        null=st.floats(-9, 9),
        references=st.lists(WORDS, max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Grand-Hotel, in a town", "grandhotel in town"),
        ("An apple a day", "apple day"),
        ("theatre", "theatre"),
        ("  \n ", ""),
        ("«Über»", "«über»"),
    ],
)
def test_case_articles_and_ascii_punctuation_do_not_count(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_exact_match_and_f1_of_known_answers() -> None:
    assert exact_match("the blue whale.", ["Blue whale", "whale"]) == 1
    assert exact_match("blue whales", ["Blue whale"]) == 0
    assert f1("the big blue whale", ["blue whale"]) == pytest.approx(0.8)
    assert f1("whale whale", ["whale"]) == pytest.approx(2 / 3)
    assert f1("a shark", ["whale", "white shark"]) == pytest.approx(2 / 3)
    assert f1("shark", ["whale"]) == 0


def test_no_answer_is_right_only_where_there_is_none() -> None:
    assert (exact_match("", []), f1("", [])) == (1, 1)
    assert (exact_match("whale", []), f1("whale", [])) == (0, 0)
    assert (exact_match("", ["whale"]), f1("", ["whale"])) == (0, 0)


@given(WORDS, st.lists(WORDS, max_size=3))
def test_an_exact_match_shares_all_words(actual: str, gold: list[str]) -> None:
    assert 0 <= exact_match(actual, gold) <= f1(actual, gold) <= 1


@pytest.mark.long
@given(ROWS, st.floats(-20, 20))
def test_no_threshold_is_better_than_the_best(rows: list[Answered], threshold: float) -> None:
    answers = Answers(rows)
    best, value = answers.best_threshold()
    assert answers.measure(best)["f1"] == pytest.approx(value)
    assert answers.measure(threshold)["f1"] <= value + 1e-9
    assert answers.measure(threshold)["best_f1"] == value


def test_the_threshold_lies_between_the_margins_that_it_parts() -> None:
    rows = [
        Answered("ship", (4.0,), 1.0, ("ship",)),  # Margin -3: right if answered.
        Answered("ship", (1.0,), 2.0, ()),  # Margin 1: right if not answered.
    ]
    assert Answers(rows).best_threshold() == (-1.0, 1.0)
    assert Answers(rows).measure(-1.0)["exact_match"] == 1
    assert Answers(rows).measure(1.0)["exact_match"] == 0.5


def test_scores_are_those_of_serving() -> None:
    row = Answered("ship", (2.0, 1.0), 0.0, ("ship",))
    total = 2.718281828**2 + 2.718281828 + 1
    assert Answers([row]).scores(0.0, 1.0) == pytest.approx([2.718281828**2 / total])
    shifted = 2.718281828**2 + 2.718281828 + 2.718281828**3
    assert Answers([row]).scores(-3.0, 1.0) == pytest.approx([2.718281828**3 / shifted])


def test_nothing_that_could_answer_is_no_answer() -> None:
    answers = Answers([Answered("", (), 3.0, ()), Answered("", (), 3.0, ("ship",))])
    assert answers.measure(100.0)["f1"] == 0.5
    assert answers.scores(100.0, 1.0) == [1.0, 1.0]


def test_each_kind_of_question_has_its_row() -> None:
    table = per_kind(["without", "with answer", "without"], [1.0, 0.0, 0.0], [1.0, 0.5, 0.0])
    assert table == [
        {"label": "with answer", "exact_match": 0.0, "f1": 0.5, "rows": 1},
        {"label": "without", "exact_match": 0.5, "f1": 0.5, "rows": 2},
    ]
