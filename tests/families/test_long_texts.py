"""Books, with the embedded weights: the answer in the last of 30,000 words is found, and where it stands."""

from __future__ import annotations

import time

import pytest

from nlptasks import Engine
from nlptasks.settings import Settings

pytestmark = pytest.mark.embedded

FILLER = (
    "The ferry left the harbour late because the engine had to be cleaned twice.",
    "Most of the passengers slept below, and nobody looked at the coast.",
    "In the afternoon the wind turned, so the cook served soup instead of fish.",
    "A crate of oranges broke open and the children gathered the fruit from the deck.",
    "The first mate wrote the weather into the log and went to bed without a word.",
)
ANSWER = "Henrietta Voss"
LAST = f"The lighthouse on the island of Norderoog was designed by {ANSWER} while she lived in Bergen."
QUESTION = "Who designed the lighthouse on the island of Norderoog?"


def book(words: int) -> str:
    """Paragraphs of filler until there are so many words."""
    paragraph = " ".join(FILLER)
    return "\n\n".join([paragraph] * (words // len(paragraph.split())))


@pytest.mark.full
@pytest.mark.long
def test_an_answer_in_the_last_paragraph_of_a_book_is_found_within_a_minute(embedded_settings: Settings) -> None:
    context = f"{book(30_000)}\n\n{LAST}"
    with Engine(settings=embedded_settings) as engine:
        engine.run("qa", question=QUESTION, context=LAST)
        started = time.monotonic()
        result = engine.run("qa", question=QUESTION, context=context)
        taken = time.monotonic() - started
    assert len(context.split()) > 29_900
    assert result.windows > 50
    assert not result.truncated
    assert result.text == ANSWER
    assert (result.start, result.end) == (context.index(ANSWER), context.index(ANSWER) + len(ANSWER))
    assert result.answerable
    assert taken < 60, f"{taken:.0f} s on two cores"
