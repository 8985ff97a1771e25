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


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("The pier closed after ninety-one years, for eleven million.", ["91", "11", "11,000,000"], ["92", "12"]),
        ("Two of the forty ships were lost.", ["2", "40"], ["42"]),
        ("Le port a fermé après quatre-vingt-onze ans.", ["91"], ["81"]),
        ("Nach einundneunzig Jahren schloss der Hafen.", ["91"], ["19"]),
        ("El muelle cerró después de noventa y un años.", ["91"], ["19"]),
    ],
)
def test_a_number_may_stand_in_words_in_the_text(text: str, right: list[str], wrong: list[str]) -> None:
    facts = Facts(text)
    assert [number for number in right + wrong if facts.missing(f"It is {number}.")] == wrong


EVERYDAY = {
    "table": (
        "| Line | Stops | Fare |\n|---|---|---|\n| 14 | Harbour, Market, Clinic | 2.40 EUR |\n"
        "| 27 | Harbour, Airport | 6.10 EUR |",
        ["Line 14 stops at Harbour, Market and Clinic for 2.40 EUR.", "Line 27 goes to the Airport and costs 6.10."],
        [("Line 14 costs 6.40.", "640"), ("Line 41 has no stop.", "41"), ("They meet at Central.", "Central")],
    ),
    "chat": (
        "[18:02] Noor: can you bring the keys to Elm Street?\n[18:05] Piet: sure, after 7pm\n"
        "[18:06] noor: perfect, flat 12b",
        ["Piet brings Noor the keys to Elm Street after 7.", "Noor's flat is 12b."],
        [("Piet brings the keys at 9.", "9"), ("The keys go to Oak Street.", "Oak"), ("He told Anna.", "Anna")],
    ),
    "ticket": (
        "TICKET #48213\nReporter: Osei, Abena\nVersion: 3.2.1\nThe export to PDF fails with E-1042 since 04/11/2025."
        "\nDECISION: roll back to 3.1.9.",
        ["Since 04/11/2025 the export to PDF fails with E-1042 in 3.2.1.", "Ticket 48213: they roll back to 3.1.9."],
        [("They roll back to 3.4.9.", "34"), ("Ticket 48231 is closed.", "48231"), ("It fails with Excel.", "Excel")],
    ),
    "list": (
        "To buy:\n- 2 kg flour\n- 12 eggs (from Hanna's)\n1. Ring Tomasz before noon\n2. Pay the 85,50 for the hall",
        ["Buy 2 kg of flour and 12 eggs from Hanna.", "Ring Tomasz and pay 85.50 for the hall."],
        [("Buy 20 eggs.", "20"), ("Pay 58.50 for the hall.", "5850"), ("Ring Thomas.", "Thomas")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", EVERYDAY)
def test_facts_of_what_is_no_prose(kind: str) -> None:
    text, right, wrong = EVERYDAY[kind]
    facts = Facts(text)
    assert [facts.missing(sentence) for sentence in right] == [[]] * len(right)
    assert [facts.missing(sentence) for sentence, _ in wrong] == [[what] for _, what in wrong]


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
