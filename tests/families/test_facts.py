"""Which numbers and names of a summary its text does not have."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlptasks.families.summaries.facts import Facts
from tests.families.test_summarization import ARTICLE, run, writer

TALK = (
    "Maya: Did you book the train for Saturday?\nTom: Not yet, the early one is already full. Then take the one at "
    "9:40, it costs 2,000 euros. The World Health Organization met in Canada, where many dockworkers were on strike."
)
GERMAN = (
    "Der Hafen von Marrow schloss am Dienstag seinen letzten Pier nach langen Jahren. Der Pier belud einst vierzig "
    "Schiffe in der Woche, aber im letzten Jahr kamen nur sechs Schiffe an. Die Stadt versprach eine Ausbildung."
)


@pytest.mark.parametrize(
    ("sentence", "missing"),
    [
        ("Maya and Tom take the train at 9:40.", []),
        ("Tom's train is the 9.40.", []),
        ("It costs 2000 euros, says the WHO.", []),
        ("It costs 3 euros or 9,40.", ["3"]),
        ("They go on Sunday with Ben.", ["Sunday", "Ben"]),
        ("Somebody else goes.", []),
        ("He said: “Go now.” Then I left.", []),
        ("The dockworker is a Canadian.", []),
        ("Line 12 leaves at 9:45.", ["12", "945"]),
    ],
)
def test_what_a_text_does_not_have(sentence: str, missing: list[str]) -> None:
    assert Facts(TALK).missing(sentence) == missing


def test_capitals_of_nouns_are_no_names() -> None:
    assert Facts(GERMAN).missing("Die Gemeinde bezahlt eine Schule für 5 Arbeiter.") == ["5"]


@given(st.text(max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_a_part_of_a_text_that_ends_with_words_misses_nothing(text: str, start: int, end: int) -> None:
    words = text.split()
    part = " ".join(words[start : start + end])
    assert Facts(" ".join(words)).missing(part) == []


def test_long_texts_take_no_time() -> None:
    text = f"{ARTICLE} " * 200
    started = time.process_time()
    assert Facts(text).missing(text) == []
    assert time.process_time() - started < 5


def test_a_sentence_with_what_the_text_does_not_have_is_left_out() -> None:
    wrong = "Marrow Point closes its pier. It will cost 99 dollars. Mayor Brown is glad. A ferry will use the site."
    [result] = run(writer(lambda _: wrong), ARTICLE)
    assert result.summary == "Marrow Point closes its pier. A ferry will use the site."
    assert result.note == "2 sentences were left out, with a number or a name that the text does not have"
    [result] = run(writer(lambda _: wrong), ARTICLE, check_facts=False)
    assert (result.summary, result.note) == (wrong, None)
    [result] = run(writer(lambda _: "Mayor Brown is glad."), ARTICLE, length="short")
    assert ARTICLE.startswith(result.summary)
    assert result.note == (
        "the model wrote no whole sentence: these are the text's first ones; "
        "1 sentence was left out, with a number or a name that the text does not have"
    )


def test_parts_are_checked_against_the_whole_text() -> None:
    text = f"{ARTICLE} " * 12
    [result] = run(writer(lambda _: "Ellen Whitcombe spoke. Jane Doe too."), text)
    assert result.windows > 1
    assert "Doe" not in result.summary
    assert "left out" in (result.note or "")
