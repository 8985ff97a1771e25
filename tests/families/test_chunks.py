"""Chunks hold every character, keep their size, and end at the best place there is."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from nlptasks.families.summaries.chunks import chunk, lead, units
from tests.examples import examples

TEXTS = st.one_of(
    st.text(max_size=300),
    st.text(alphabet=st.sampled_from("ab. \n!?:-é🙂语。ا́"), max_size=300),
    st.lists(
        st.sampled_from(["One two three.", "\n\n", "\nAna: yes", " word", "\n- item", " Dr. No", "。"]), max_size=60
    ).map("".join),
)


def by_word(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\S+", text)]


def by_byte(text: str) -> list[tuple[int, int]]:
    """Every byte of a character that is no space is a token, as in a byte-level vocabulary without merges."""
    return [(i, i + 1) for i, mark in enumerate(text) if not mark.isspace() for _ in mark.encode("utf-8", "replace")]


def holds_all(text: str, ranges: list[tuple[int, int]]) -> None:
    for (_, end), (start, _) in pairwise(ranges):
        assert end <= start
        assert not text[end:start].strip()
    assert all(text[start:end].strip() == text[start:end] != "" for start, end in ranges)
    assert "".join("".join(text[a:b].split()) for a, b in ranges) == "".join(text.split())


@examples(400)
@given(TEXTS, st.integers(1, 40))
def test_chunks_hold_every_character_in_order(text: str, size: int) -> None:
    holds_all(text, chunk(text, by_word(text), size))
    holds_all(text, chunk(text, by_byte(text), size))
    holds_all(text, units(text))


@examples(400)
@given(TEXTS, st.integers(1, 40))
def test_chunks_keep_their_size_where_a_word_fits(text: str, size: int) -> None:
    for start, end in chunk(text, by_word(text), size):
        assert len(text[start:end].split()) <= size
    for start, end in chunk(text, by_byte(text), size):
        taken = len(by_byte(text[start:end]))
        # A character of several tokens is never cut.
        assert taken <= max(size, 4)


@examples(200)
@given(TEXTS, st.integers(8, 40))
def test_words_that_fit_are_never_cut(text: str, size: int) -> None:
    words = {match.end() for match in re.finditer(r"\S+", text)}
    longest = max((len(by_byte(word)) for word in text.split()), default=0)
    if longest <= size // 2 and "。" not in text:
        stops = {end for _, end in units(text)}
        assert all(end in words | stops for _, end in chunk(text, by_byte(text), size))


def test_paragraphs_are_better_than_sentences_and_sentences_than_words() -> None:
    sentence = "This one has six words here. "
    text = sentence * 8 + "\n\n" + sentence * 9
    [first, second] = chunk(text, by_word(text), 60)
    assert text[first[0] : first[1]] == (sentence * 8).strip()
    assert text[second[0] : second[1]] == (sentence * 9).strip()
    parts = chunk(sentence * 17, by_word(sentence * 17), 60)
    assert len(parts) == 2
    assert all((sentence * 17)[a:b].endswith("here.") for a, b in parts)
    words = "word " * 100
    assert [len(words[a:b].split()) for a, b in chunk(words, by_word(words), 60)] == [60, 40]


def test_chunks_have_about_equal_length() -> None:
    text = "This one has six words here. " * 21
    sizes = [len(text[a:b].split()) for a, b in chunk(text, by_word(text), 120)]
    assert sizes == [60, 66]


def test_a_talk_is_cut_between_turns() -> None:
    turn = "Ana: well. I do not know, really\nBen Okri: Ok"
    text = "\n".join([turn] * 12)
    for start, end in chunk(text, by_word(text), 30):
        assert re.match(r"Ana:|Ben Okri:", text[start:end])
    assert len(units("Ana: hi\nBen: hello\nAna: bye")) == 3
    assert len(units("- eggs\n- milk\n2. bread")) == 3


def test_hard_wrapped_lines_are_no_borders() -> None:
    assert len(units("It was a dark\nand stormy night.\nThe rain fell.")) == 2


def test_a_lead_is_whole_sentences() -> None:
    text = "  One is here. Two is there. Three."
    assert lead(text, 100) == text.strip()
    assert lead(text, 27) == "One is here. Two is there."
    assert lead(text, 20) == "One is here."
    assert lead(text, 8) == "One is"
    assert lead("Supercalifragilistic.", 5) == "Super"


@settings(deadline=None)
@given(TEXTS, st.integers(1, 60))
def test_a_lead_is_never_longer_than_asked_nor_empty(text: str, most: int) -> None:
    first = lead(text, most)
    assert len(first) <= most
    assert bool(first) == bool(text.strip())
