"""Which texts a classification reads whole: as many as possible without counting first, with the same answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlptasks.errors import OverflowRefusedError
from nlptasks.families import text_classification
from nlptasks.families.text_classification import ClassificationOptions
from nlptasks.results import Classification
from nlptasks.task import TextInput
from nlptasks.testing import FakeModel
from tests.sample_tasks import Mood

LIMIT = 20
TEXTS = st.lists(st.text(alphabet="ab \N{PARTY POPPER}", min_size=1, max_size=160).filter(str.strip), max_size=6)


def read(texts: list[str], on_overflow: str = "window") -> tuple[list[Classification], list[tuple[str, list[str]]]]:
    """The answers, and what the model was asked; a word is a token."""
    model = FakeModel(labels=Mood.labels, max_tokens=LIMIT)
    options = ClassificationOptions(on_overflow=on_overflow)
    return Mood().run([TextInput(text=text) for text in texts], options, model), model.calls


def test_tokens_are_counted_of_doubtful_texts_only() -> None:
    fits, many, long = "extraordinary " * 3, "a b " * 12, "a b " * 40
    results, calls = read([fits, many, long])
    # The long one is counted first; of the others the head says how long they were.
    assert [(verb, len(texts)) for verb, texts in calls] == [
        ("offsets", 1), ("classify", 9), ("offsets", 1), ("classify", 2),
    ]  # fmt: skip
    assert (calls[0][1], calls[2][1]) == ([long], [many])
    assert [result.windows for result in results] == [1, 2, 7]
    assert "".join(calls[3][1]) == many


@pytest.mark.long
@pytest.mark.parametrize("on_overflow", ["window", "truncate"])
def test_the_answers_are_those_of_counting_every_text(on_overflow: str) -> None:
    @given(TEXTS)
    def holds(texts: list[str]) -> None:
        results, _ = read(texts, on_overflow)
        with pytest.MonkeyPatch.context() as patch:
            for width in (0, 1000):
                patch.setattr(text_classification, "BYTES_A_TOKEN", width)
                assert read(texts, on_overflow)[0] == results

    holds()


def test_a_text_that_turns_out_too_long_is_refused_if_asked() -> None:
    with pytest.raises(OverflowRefusedError, match=r"reads 12 tokens at a time, input 1 has 24 tokens: shorten"):
        read(["fine", "a b " * 12], "error")
