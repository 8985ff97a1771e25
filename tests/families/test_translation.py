"""Translation: directions, what is kept, doubtful sentences, streams, and what each kind of checkpoint is given."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from nlptasks import Completion, Engine, Message, Stream
from nlptasks.errors import InvalidInputError, UnsupportedModelError
from nlptasks.settings import Settings
from nlptasks.surfaces import render
from nlptasks.testing import FakeModel, check_task, tiny_model
from nlptasks.training import finetune
from nlptasks_plugins import languages
from nlptasks_plugins.translation.parallel import pairs
from nlptasks_plugins.translation.task import EMBEDDED, Translation, TranslationInput, TranslationTask
from tests.training_rows import serve_here

TASK = TranslationTask()
TAGS = {"source_language": "en", "target_language": "fr"}
TEXT = "Shopping list:\r\n- Two apples\n- Bread 🎉\n\n12.50\nSee you soon. Bye!"


class Upper(FakeModel):
    """Writes in capitals what it is asked to translate, and is sure of it."""

    def __init__(self, **info: Any) -> None:
        super().__init__(**{"kind": "seq2seq", **info}, completions=lambda prompt: prompt.splitlines()[-1].upper())

    def generate(self, prompts, decoding):  # type: ignore[no-untyped-def]
        return [dataclasses.replace(completion, logprobs=()) for completion in super().generate(prompts, decoding)]


def translate(text: Any, model: Any, target: str = "fr", source: str | None = "en", **options: Any) -> Any:
    many = isinstance(text, list)
    inputs = [
        TranslationInput(text=t, target_language=target, source_language=source) for t in (text if many else [text])
    ]
    results = TASK.run(inputs, TASK.options_type(**options), model)
    return results if many else results[0]


def test_the_task_keeps_the_contract() -> None:
    check_task(TASK, rows=[({"text": "Good day.", **TAGS}, {"translation": "Bonjour.", **TAGS})])


def test_everything_between_the_sentences_is_kept() -> None:
    result = translate(TEXT, Upper())
    assert result.translation == "SHOPPING LIST:\r\n- TWO APPLES\n- BREAD 🎉\n\n12.50\nSEE YOU SOON. BYE!"
    for segment in result.segments:
        assert TEXT[segment.start : segment.end] == segment.source
        assert result.translation[segment.target_start : segment.target_end] == segment.text
    assert (result.source_language, result.target_language, result.confidence) == ("en", "fr", 1.0)
    assert result.to_hf() == [{"translation_text": result.translation}]


def test_the_sentences_of_all_inputs_share_one_call_a_direction() -> None:
    model = Upper(languages=("de", "en", "fr"))
    inputs = [
        TranslationInput(text="One. Two.", target_language="fr", source_language="en"),
        TranslationInput(text="Three.", target_language="fr", source_language="en"),
        TranslationInput(text="Four.", target_language="de", source_language="en"),
    ]
    results = TASK.run(inputs, TASK.options_type(), model)
    assert [result.translation for result in results] == ["ONE. TWO.", "THREE.", "FOUR."]
    prompts = [(decoding.source_language, decoding.target_language) for decoding in model.decodings]
    assert prompts == [("en", "fr"), ("en", "de")]


def test_a_text_that_is_already_in_the_language_comes_back_with_a_note() -> None:
    model = Upper()
    result = translate("Good day.", model, target="en-GB")
    assert (result.translation, result.note) == (
        "Good day.",
        "the text is already in English: choose another target_language",
    )
    result = translate("12 🎉", model)
    assert (result.translation, result.note) == ("12 🎉", "there is no word to translate")
    assert model.calls == []


@pytest.mark.long
def test_languages_are_checked_before_anything_is_written() -> None:
    with pytest.raises(InvalidInputError, match=r"expected a BCP 47 tag such as en, fr or pt-BR, found 'klingon!'"):
        TASK.validate([{"text": "Hello.", "target_language": "klingon!"}])
    model = Upper(direction=("en", "de"), name="marian-en-de")
    with pytest.raises(InvalidInputError, match="input: marian-en-de writes de, found target_language 'fr'"):
        translate("Hello.", model)
    for tag in ("xx", "auto"):
        with pytest.raises(InvalidInputError, match=f"expected a BCP 47 tag such as en, fr or pt-BR, found '{tag}'"):
            TASK.validate([{"text": "Hello.", "target_language": tag}])
    assert TASK.validate([{"text": "Hello.", "source_language": "auto"}])[0].source_language is None
    with pytest.raises(InvalidInputError, match="input: marian-en-de reads en, found source_language 'fr'"):
        translate("Bonjour.", model, target="de", source="fr")
    with pytest.raises(InvalidInputError, match="its language could not be told: give source_language"):
        translate("Xq zz", Upper(languages=("en", "fr")), source=None)
    assert model.calls == []


def test_what_each_kind_of_checkpoint_is_given() -> None:
    item, options = TranslationInput(text="Hello.", target_language="fr", source_language="en"), TASK.options_type()
    t5 = Upper(prefixes={"translation_en_to_fr": "translate English to French: "}).info
    assert TASK.ask(item, options, t5) == "translate English to French: Hello."
    assert TASK.decoding(item, options, t5).num_beams is None
    info = Upper(presets={"translation_en_to_fr": {"num_beams": 4, "early_stopping": True}}).info
    assert (TASK.decoding(item, options, info).num_beams, TASK.decoding(item, options, info).early_stopping) == (
        4,
        True,
    )
    assert TASK.decoding(item, TASK.options_type(num_beams=1), info).num_beams == 1
    assert TASK.decoding(item.model_copy(update={"target_language": "de"}), options, info).num_beams is None
    chat = Upper(kind="causal").info
    assert TASK.ask(item, options, chat) == [Message(role="user", content="Translate from English to French:\nHello.")]
    plain = dataclasses.replace(chat, has_chat_template=False)
    shots = str(TASK.ask(item, options, plain))
    assert shots.endswith("English: Hello.\nFrench:")
    assert shots.count("French:") == 4
    assert TASK.decoding(item, options, plain).stop == ("\n",)
    # With an adapter the prompt is the one that it was trained on.
    assert TASK.ask(item, options, dataclasses.replace(plain, adapter="mine")) == TASK.prompt(item, options)
    marian = Upper(model_type="marian", languages=("fr", "es")).info
    assert TASK.decoding(item, options, marian).source_language is None
    assert TASK.decoding(item, options, marian).target_language == "fr"


def test_a_language_model_must_have_been_trained_to_translate() -> None:
    with pytest.raises(UnsupportedModelError, match="smollm2 has not learnt to translate: leave model out"):
        translate("Hello.", Upper(name="smollm2", kind="causal"))
    assert translate("Hello.", Upper(name="smollm2", kind="causal", adapter="mine")).translation == "HELLO."


def test_the_command_line_shows_the_text_and_what_to_know_of_it() -> None:
    assert render(translate("Good day. Bye.", Upper())) == "GOOD DAY. BYE."
    doubtful = translate("Good day. Bye.", Second(Completion("", "stop", 3, 1), again=False))
    assert render(doubtful).splitlines() == [
        "Good day. Bye.",
        "  (2 of 2 sentences are doubtful)",
        "  “Good day.”: nothing was written",
        "  “Bye.”: nothing was written",
    ]
    long = render(translate(" ".join(["Good day."] * 9), Second(Completion("", "stop", 3, 1), again=False)))
    assert long.splitlines()[-2:] == ["  “Good day.”: nothing was written", "  and 5 more"]


class Second(Upper):
    """Fails at first: says nothing, too much or unlikely words, until it may search with beams."""

    def __init__(self, first: Completion, again: bool = True) -> None:
        super().__init__()
        self.first, self.again = first, again

    def generate(self, prompts, decoding):  # type: ignore[no-untyped-def]
        completions = super().generate(prompts, decoding)
        return completions if self.again and decoding.num_beams else [self.first for _ in completions]


@pytest.mark.parametrize(
    ("first", "doubt"),
    [
        (Completion("", "stop", 3, 1), "nothing was written"),
        (Completion("non " * 30, "stop", 3, 30), "it is 13.2 times as long as the sentence"),
        (Completion("oui", "length", 3, 1), "it was cut at max_new_tokens"),
        (
            Completion("oui oui", "stop", 3, 2, (math.log(0.1), math.log(0.1))),
            r"its tokens are unlikely \(0.10 on aver",
        ),
    ],
)
def test_a_doubtful_sentence_is_tried_again_alone(first: Completion, doubt: str) -> None:
    good = translate("Good day.", Second(first))
    assert (good.translation, good.segments[0].doubt) == ("GOOD DAY.", None)

    bad = translate("Good day.", Second(first, again=False))
    assert re.match(doubt, str(bad.segments[0].doubt))
    assert bad.translation == (first.text.strip() or "Good day.")


def test_alternatives_are_given_beside_the_best() -> None:
    class Many(Upper):
        def generate(self, prompts, decoding):  # type: ignore[no-untyped-def]
            others = tuple(Completion(f"other {i}", "stop", 1, 1) for i in range(decoding.num_return_sequences - 1))
            return [
                dataclasses.replace(completion, alternatives=others)
                for completion in super().generate(prompts, decoding)
            ]

    model = Many()
    result = translate("Good day.", model, alternatives=2)
    assert result.segments[0].alternatives == ("other 0", "other 1")
    assert (model.decodings[0].num_beams, model.decodings[0].num_return_sequences) == (4, 3)


def test_a_stream_gives_sentence_after_sentence_and_the_same_result() -> None:
    item = TranslationInput(text=TEXT, target_language="fr", source_language="en")
    stream = Stream(TASK.stream(item, TASK.options_type(), Upper()))
    pieces = list(stream)
    assert pieces[:2] == ["SHOPPING LIST:", "\r\n- TWO APPLES"]
    result = stream.result()
    assert isinstance(result, Translation)
    assert result == translate(TEXT, Upper())
    assert "".join(pieces) == result.translation
    unknown = Stream(TASK.stream(TranslationInput(text="Xq zz.", target_language="fr"), TASK.options_type(), Upper()))
    assert "".join(unknown) == unknown.result().translation == "Xq zz."
    assert str(unknown.result().note).startswith("the text was kept: its language is not certain")
    for _ in Stream(TASK.stream(item, TASK.options_type(), model := Upper())):
        break
    assert len(model.calls) == 1


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("The weather was lovely all week long.", "en"),
        ("Wir haben gestern lange auf den Bus gewartet.", "de"),
        ("これはペンです", "ja"),
        ("안녕하세요", "ko"),
        ("Καλημέρα", "el"),
        ("12345 🎉", "und"),
        ("Xq zz", "und"),
    ],
)
def test_languages_are_told_or_said_to_be_unknown(text: str, tag: str) -> None:
    detected = languages.detect(text)
    assert detected.tag == tag
    assert (detected.confidence >= languages.SURE) == (tag != "und")


class Marian(Upper):
    """Knows a few languages, which texts are not marked with, and writes one phrase in place of another."""

    def __init__(self, phrase: str, other: str, **info: Any) -> None:
        info = {"languages": ("de", "en", "es", "fr"), "model_type": "marian", **info}
        FakeModel.__init__(self, kind="seq2seq", completions=lambda prompt: prompt.replace(phrase, other), **info)


@pytest.mark.parametrize("info", [{}, {"languages": (), "direction": ("en", "fr")}], ids=["four", "one"])
@pytest.mark.parametrize(
    ("text", "phrase", "other"),
    [
        ("My name is Olivia Bennett.", "My name is", "Mon nom est"),
        ("The bill is $1,249.50.", "The bill is", "La note est"),
        ("Call me at +44 20 7946 0958.", "Call me at", "Appelle-moi au"),
        ("hello world", "world", "monde"),
    ],
)
def test_a_likely_language_is_translated_with_a_note(text: str, phrase: str, other: str, info: Any) -> None:
    assert languages.detect(text, ("de", "en", "es", "fr")).tag == languages.UNDETERMINED
    result = translate(text, Marian(phrase, other, **info), source=None)
    assert (result.translation, result.source_language) == (text.replace(phrase, other), "en")
    assert result.confidence < languages.SURE_AMONG_KNOWN
    assert result.note == "its language was guessed to be English: if it is another, give source_language"


def test_a_text_of_no_certain_language_is_kept_if_it_is_copied() -> None:
    copied = translate("hello world", Marian("hello world", "Hello world!"), source=None)
    assert (copied.translation, copied.source_language) == ("hello world", "und")
    assert str(copied.note).startswith("the text was kept: its language is not certain")
    # No language is likelier than all others, or the one to write is.
    for text, phrase, other in (("Hello.", "Hello", "Hillo"), ("hello world", "world", "word")):
        near = translate(text, Marian(phrase, other), target="en", source=None)
        assert (near.translation, near.source_language) == (text, "und")
    # Nothing says which languages it knows.
    near = translate("Olivia Bennett, London", Marian("London", "Londres", languages=()), source=None)
    assert (near.translation, near.source_language) == ("Olivia Bennett, Londres", "und")


def test_the_embedded_translator_names_a_larger_one_where_it_may_help() -> None:
    sure = Marian("Good day", "Guten Tag", name=EMBEDDED)
    assert translate("Good day.", sure, target="de").note is None
    note = str(translate("Good day.", Marian("Good day.", "", name=EMBEDDED), target="de").note)
    assert note == (
        "1 of 1 sentences are doubtful; translator is a small model: Helsinki-NLP/opus-mt-en-de as model may do better"
    )
    with pytest.raises(InvalidInputError) as caught:
        translate("Good day.", sure, target="he")
    assert caught.value.problems == (
        "input: translator knows de, en, es, fr, found target_language 'he' (Hebrew): name another as model, such as "
        "facebook/m2m100_418M (100 languages).",
    )


def test_rows_teach_what_their_columns_say() -> None:
    both = [("Hello.", "en", "Bonjour.", "fr"), ("Bonjour.", "fr", "Hello.", "en")]
    assert pairs({"en": "Hello.", "fr": "Bonjour."}) == both
    assert pairs({"id": 1, "translation": {"en": "Hello.", "fr": "Bonjour."}}) == both
    one = {"en": "Hello.", "fr": "Bonjour.", "text": "Bonjour.", "translation": "Hello."}
    assert pairs(one) == [("Bonjour.", "fr", "Hello.", "en")]
    assert pairs({"text": "Hi.", "translation": "Salut.", "target_language": "fr"}) == [("Hi.", None, "Salut.", "fr")]
    with pytest.raises(ValueError, match=r"expected a text and a translation, or two columns .* found en"):
        pairs({"en": "Hello."})
    with pytest.raises(ValueError, match="expected the language of the translation"):
        pairs({"text": "Hi.", "translation": "Salut."})
    [example, _] = TASK.training_examples({"en": "Hello.", "fr": "Bonjour."}, TASK.options_type())
    assert (example.inputs.target_language, example.target) == ("fr", "Bonjour.")


@pytest.mark.long
@pytest.mark.parametrize("template", [True, False])
def test_what_an_adapter_is_asked_is_what_it_learnt(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, template: bool
) -> None:
    base = tiny_model(tmp_path / "base", "causal")
    if not template:
        (base / "chat_template.jinja").unlink()
    prompts: list[Any] = []
    ask = TranslationTask.ask

    def note(*arguments: Any) -> Any:
        prompts.append(ask(*arguments))
        return prompts[-1]

    monkeypatch.setattr(TranslationTask, "ask", note)
    serve_here(monkeypatch)
    data = tmp_path / "rows.jsonl"
    rows = [{"en": f"It is {n}.", "fr": f"Il est {n}."} for n in range(12)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = TASK.recipe.replace(base=str(base), num_train_epochs=1, dtype="float32")
    finetune("translation", str(data), name="mine", recipe=recipe, settings=settings, device="cpu")
    learnt, prompts[:] = list(prompts), []
    with Engine(settings=settings, device="cpu", dtype="float32") as engine:
        engine.run("translation", "It is 4.", **TAGS, adapter="mine", max_new_tokens=4)
        assert prompts[0] in learnt
        prompts.clear()
        engine.run("translation", "It is 4.", **TAGS, model=str(base), adapter="none", max_new_tokens=4)
        assert (prompts[0] in learnt) is template, "without a chat template a bare base sees examples"
