"""Windows cover the whole text, keep their size and prefer to end between words."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from nlptasks import TextClassification
from nlptasks.families.windows import cut, may_overflow, offsets
from nlptasks.testing import FakeModel
from tests.examples import examples

TEXTS = st.text(alphabet=st.sampled_from("abc  \n é🙂语ا́"), max_size=400)


def tokens(text: str) -> list[tuple[int, int]]:
    """Every character that is no space is a token: the hardest case for word borders."""
    return [match.span() for match in re.finditer(r"\S", text)]


@examples(500)
@given(TEXTS, st.integers(2, 40), st.integers(0, 10))
def test_windows_cover_the_text_without_a_gap(text: str, size: int, overlap: int) -> None:
    spans = tokens(text)
    windows = cut(spans, len(text), size, min(overlap, size - 1))
    assert windows[0][0] == 0
    assert windows[-1][1] == len(text)
    for before, after in pairwise(windows):
        assert after[0] <= before[1]
        assert before[0] < after[0], "every window moves on"
    for start, end in windows:
        assert sum(start <= a and b <= end for a, b in spans) <= size


def test_without_overlap_the_windows_are_the_text() -> None:
    text = "one two three four five six seven eight nine ten " * 5
    spans = [match.span() for match in re.finditer(r"\w+", text)]
    windows = cut(spans, len(text), 7)
    assert "".join(text[a:b] for a, b in windows) == text
    assert all(text[a:b].strip() == text[a:b].strip(" ") for a, b in windows)
    assert len(windows) == 8


def test_a_window_ends_between_words() -> None:
    text = "alpha beta gamma delta"
    windows = cut(tokens(text), len(text), 12)
    assert [text[a:b] for a, b in windows] == ["alpha beta ", "gamma delta"]


@given(st.text(max_size=60), st.integers(20, 60))
def test_a_text_that_is_not_counted_fits_with_its_special_tokens(tiny_encoder: Path, text: str, limit: int) -> None:
    # A byte tokenizer makes the most tokens that a text can have.
    if not may_overflow(text, limit):
        assert len(tokenizer(tiny_encoder)(text)["input_ids"]) <= limit


@cache
def tokenizer(path: Path) -> Any:
    return AutoTokenizer.from_pretrained(path)


class Mood(TextClassification):
    """How a text feels."""

    name = "mood"
    labels = ("calm", "upset")


@examples(200)
@given(TEXTS)
def test_estimated_tokens_are_the_text_without_its_spaces(text: str) -> None:
    [estimate] = offsets(FakeModel(has_offsets=False), [text])
    assert "".join(text[start:end] for start, end in estimate.spans) == re.sub(r"\s", "", text)
    assert all(end - start <= 3 for start, end in estimate.spans)


@settings(max_examples=100, deadline=None)
@given(TEXTS.filter(str.strip))
def test_a_model_without_offsets_still_reads_every_character(text: str) -> None:
    model = FakeModel(labels=Mood.labels, max_tokens=24, has_offsets=False)
    task = Mood()
    [result] = task.run(task.validate([text]), task.validate_options({}), model)
    read = [piece for verb, pieces in model.calls if verb == "classify" for piece in pieces]
    assert "".join(read[-result.windows :]) == text
    assert not result.truncated
