"""Laws of segments: they point into the text, and putting anything in their places keeps the rest."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlptasks_plugins.translation.segments import joined, segments
from tests.examples import examples

PIECES = st.sampled_from(
    [
        "Hello there.",
        "How are you? Fine!",
        "- ",
        "1. ",
        "  * ",
        "\n",
        "\r\n",
        "\n\n",
        "12.50",
        "🎉",
        " 👩‍👩‍👧 ",
        "> ",
        "# ",
        "Ein Satz ohne Punkt",
        "他们来了。好。",
        "مرحبا",
        "\t",
        "[x] ",
        "e\u0301te\u0301",
        " ",
        "…",
        "\u2028",
    ]
)
TEXTS = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=14).map("".join))


@examples(500)
@given(TEXTS)
def test_segments_are_in_order_and_hold_every_letter_of_words(text: str) -> None:
    places = segments(text)
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert all(left[1] <= right[0] for left, right in pairwise(places))
    outside = joined(text, places, lambda _: "")[0]
    # Outside stand the marks of lists at most, and what has no letter.
    bare = re.sub(r"\[[xX]\]|[A-Za-z][.)]", "", outside)
    assert not [character for character in bare if unicodedata.category(character).startswith("L")]


@examples(500)
@given(TEXTS)
def test_what_stands_between_is_kept(text: str) -> None:
    places = segments(text)
    assert joined(text, places, lambda i: text[places[i][0] : places[i][1]])[0] == text
    whole, starts = joined(text, places, lambda i: f"<{i}>")
    for number, start in enumerate(starts):
        assert whole[start:].startswith(f"<{number}>")
    rest = [text[a:b] for a, b in zip([0, *(e for _, e in places)], [*(s for s, _ in places), len(text)], strict=True)]
    assert whole == "".join(part + (f"<{i}>" if i < len(places) else "") for i, part in enumerate(rest))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Shopping:\n- Two apples\n  * green ones\n\n12.50\n", ["Shopping:", "Two apples", "green ones"]),
        ("1. Wash your hands. 2) Dry them.\r\nb) Rest", ["Wash your hands.", "2) Dry them.", "Rest"]),
        ("🎉 Great news! 👩‍👩‍👧 We won.", ["Great news!", "We won."]),
        ("> # Dr. Smith left at 3.5 km. He ran.", ["Dr. Smith left at 3.5 km.", "He ran."]),
        ("- [ ] Call Ana\n---\n***", ["Call Ana"]),
        ("你好。再见！", ["你好。", "再见！"]),
        ("42 🎉 !!!", []),
    ],
)
def test_what_is_translated(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in segments(text)] == expected
