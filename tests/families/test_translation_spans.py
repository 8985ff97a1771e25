"""What a translation must keep: the spans and their stand-ins, whatever the model does to them."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlptasks import Completion
from nlptasks.testing import FakeModel
from nlptasks_plugins.translation.spans import IN_PARTS, differences, protected, reading
from nlptasks_plugins.translation.task import TranslationInput, TranslationTask

TASK = TranslationTask()

SPANS = {
    "addresses": ["https://shop.example.net/p/48213?a=1&b=%20#top", "www.example.org/a_b-c/d.e", "example.com"],
    "mail": ["sales+eu@example.co.uk", "admin@localhost"],
    "placeholders": ["{name}", "{{user.name}}", "${firstName}", "%s", "%(count)d", "%1$s", "__count__", "[[name]]",
                     "$name", ":name", "{count, number}", "@name"],
    "numbers": ["+1 555 010 9999", "0049 221 5550 1234", "978-3-16-148410-0", "12.345.678,90", "BA2490", "v3.11.7",
                "2024-11-05T09:30:00Z", "48°51′24″N", "20260305-000417", "20 km/h"],
    "paths and code": ["/etc/app/app.conf", "C:\\Users\\Ana\\report.docx", "`pip install x`", "getName()", "--dry-run",
                       "my_file_v2.tar.gz", "config.yaml", "firstName", "notes/plans/may.md",
                       "D:\\My Files\\a b\\c.txt", "\\\\server\\My Files\\c.txt", "a.b().c", 'shop.find("x", 2)',
                       "DELETE FROM pets WHERE age > 2;", "SELECT name, age FROM pets;", "git commit --amend -v"],
    "signs": ["€9", "5 < 7", "x²", "H₂O", "½", "±3", "§ 4", "#12", "50 %", "20°C", "©", "→", "№ 5", "C++"],
    "tags": ["<b>", "</s>", "<unk>", "<|im_start|>", ">>fra<<", "<br/>"],
    "other letters": ["привет", "東京", "Łódź", "Ångström", "مرحبا"],
}  # fmt: skip


class Translator(FakeModel):
    """Writes what a function makes of each text, sure of every token."""

    def __init__(self, translate: Callable[[str], str], **info: Any) -> None:
        super().__init__(**{"kind": "seq2seq", **info}, completions=translate)

    def generate(self, prompts, decoding):  # type: ignore[no-untyped-def]
        return [dataclasses.replace(completion, logprobs=()) for completion in super().generate(prompts, decoding)]


def translate(text: str, model: FakeModel, target: str = "fr", source: str | None = "en", **options: Any) -> Any:
    inputs = TranslationInput(text=text, target_language=target, source_language=source)
    return TASK.run([inputs], TASK.options_type(**options), model)[0]


@pytest.mark.parametrize("span", [span for spans in SPANS.values() for span in spans])
def test_a_span_stays_as_it_is(span: str) -> None:
    text = f"Please look at {span} today."
    [(start, end)] = protected(text)
    assert span.startswith(text[start:end])
    # Signs turn into others, as in a model that has never seen them; stand-ins are copied.
    spoiling = Translator(lambda words: re.sub(r"[^A-Za-z0-9#. ]", "¤", words).replace("Please look", "Regarde"))
    result = translate(text, spoiling)
    assert result.translation == f"Regarde at {span} today."
    assert result.segments[0].doubt is None


@pytest.mark.parametrize("span", [span for spans in SPANS.values() for span in spans])
def test_a_model_that_loses_stand_ins_translates_the_words_around_the_span(span: str) -> None:
    deaf = Translator(lambda words: re.sub(r"[^A-Za-z ]|X\d", "", words).upper())
    result = translate(f"Please look at {span} today.", deaf)
    assert result.translation == f"PLEASE LOOK AT {span} TODAY"
    assert result.segments[0].doubt == "its words were translated in parts, around what must stay"


@pytest.mark.parametrize(
    "text", ["He and/or she.", "The file(s) are here.", "It ends.Next(see below) he left.", "We git along; pip is fun.",
             "Please select one from the list; then go."],
)  # fmt: skip
def test_prose_is_no_code(text: str) -> None:
    assert protected(text) == ()


def test_the_model_inflects_plain_numbers_and_gets_a_stand_in_for_those_that_it_changes() -> None:
    model = Translator(lambda words: words.replace("She has", "Elle a"))
    assert translate("She has 12 cats.", model).translation == "Elle a 12 cats."
    assert [prompts for _, prompts in model.calls] == [["She has 12 cats."]]
    wrong = Translator(lambda words: words.replace("12", "21").replace("She has", "Elle a"))
    result = translate("She has 12 cats.", wrong)
    assert result.translation == "Elle a 12 cats."
    assert [prompts for _, prompts in wrong.calls] == [["She has 12 cats."], ["She has #1 cats."]]


def test_stand_ins_may_change_places_and_tags_may_not() -> None:
    swap = Translator(lambda words: " ".join(reversed(words.split())))
    result = translate("from a@example.com to b@example.com", swap)
    assert result.translation == "b@example.com to a@example.com from"
    assert translate("so <b>very</b> good", swap).translation == "so <b>very</b> good"


def test_a_stand_in_that_the_text_holds_itself_is_another() -> None:
    assert reading("See X1 and a@example.com.", 0).texts == ["See X2 and X3."]


def test_tags_at_the_ends_are_not_read_and_touch_the_words_they_touched() -> None:
    read = reading("<p><b>He is <i>very</i> tired.</b></p>", 0)
    assert read.texts == ["He is X1 very X2 tired."]
    assert read.joined(["Il est X1 très X2 fatigué."]) == "<p><b>Il est <i>très</i> fatigué.</b></p>"
    assert read.joined(["Il est très X2 fatigué."]) is None


def test_capitals_are_lowered_for_the_model_and_come_back() -> None:
    model = Translator({"Where is the station at X1?": "Où est la gare à X1 ?"}.__getitem__)
    result = translate("WHERE IS THE STATION AT EXAMPLE_CO?", model)
    assert result.translation == "OÙ EST LA GARE À EXAMPLE_CO ?"
    # An abbreviation is no line in capitals.
    assert reading("NATO", 0).texts == ["NATO"]


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(
                [*(s for spans in SPANS.values() for s in spans), " ", "a dog", "Ein Haus", ", ", "7", "."]
            ),
            max_size=10,
        ).map("".join),
    ),
    st.integers(0, IN_PARTS),
)
def test_a_model_that_copies_gives_every_text_back(text: str, attempt: int) -> None:
    read = reading(text, attempt)
    copy = read.joined(read.texts)
    assert copy is not None
    expected, written = ("".join(part.split()).casefold() for part in (text, copy))
    assert written == expected or read.capitals
    assert differences(text, text) is None


@pytest.mark.parametrize("part", ["_", "{", "`", "€", "1 ", "<a ", "a_", "A1", "x", "a@", "a-", "--a", "aB", "(", "a."])
def test_no_text_takes_long_to_read(part: str) -> None:
    text = part * (8000 // len(part))
    began = time.process_time()
    assert reading(text, 1).joined(reading(text, 1).texts) is not None
    assert differences(text, text) is None
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("written", "doubt"),
    [
        ("Elle a 13 chats.", None),
        ("Elle a douze chats \ufffd.", "it holds a character that was not read or written whole (U+FFFD)"),
        ("Elle a a a a 12 chats.", "it repeats 'a'"),
        ("Elle a 12 chats en 1987.", "it adds the number 1987"),
        ("She has 12 cats.", "it equals its source"),
    ],
)
def test_what_the_text_itself_says_against_a_translation(written: str, doubt: str | None) -> None:
    result = translate("She has 12 cats.", Translator(lambda words: written if "12" in words else written + " #1"))
    if doubt is None:
        assert result.translation == "Elle a 13 chats. 12"
    else:
        assert result.segments[0].doubt == doubt


def test_what_was_lost_in_the_source_is_doubtful_too() -> None:
    result = translate("She has 12 c\ufffdts.", Translator(lambda words: "Elle a 12 ch\ufffdts."))
    assert [each.doubt for each in result.segments] == [
        "it holds a character that was not read or written whole (U+FFFD)"
    ]


def test_a_sentence_longer_than_the_model_reads_is_translated_in_halves() -> None:
    class Short(Translator):
        def generate(self, prompts, decoding):  # type: ignore[no-untyped-def]
            return [Completion(prompt[:20].upper(), "stop", 20, 20, truncated=len(prompt) > 20) for prompt in prompts]

    text = "no full stop stands in this sentence that goes on and on " + "a" * 50
    result = translate(text, Short(str.upper))
    assert re.sub(r"\s", "", result.translation) == re.sub(r"\s", "", text.upper())
    assert not result.truncated
