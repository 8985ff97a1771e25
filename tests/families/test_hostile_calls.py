"""Texts and options that nobody expects, for all six tasks: an answer that keeps the laws, or an error of nlptasks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlptasks import Answer, Engine, Entities, GeneratedText, InvalidInputError, NlptasksError, Settings, Summary
from nlptasks.testing import tiny_model
from nlptasks_plugins import Translation
from tests.tiny_adapters import classifier_adapter, extractor_adapter, tagger_adapter

TASKS = ("sentiment", "ner", "qa", "generation", "summarization", "translation")
WRITERS = ("generation", "summarization", "translation")
NUMBERS = (
    *(math.nan, math.inf, -math.inf, 1e308, 1e-40, 5e-324, -1e-40, 0.0, 0.01, 0.5, 1.0, 5.0, -1, 0, 1, 2, 7, 2**31),
    *(2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**70, -(2**63), 10**400, Decimal("NaN"), 1j, True),
)
OTHERS = (
    *(None, "", " ", "x", "\ud800", "\x00", "window", "truncate", "error", b"x"),
    *([], [""], ["\n"], ["\ud800"], {}, {1: 2}),
)
VALUES = st.sampled_from((*NUMBERS, *OTHERS)) | st.floats() | st.integers() | st.builds(object)
ODD = (
    # Half of a surrogate pair, one character of 18 letters, tokens of templates, marks, no width, right to left, null.
    *("\ud83d", "\ufdfa", "<|im_start|>", "</s>", "<s>", ">>fra<<", "\u0301", "\u200d", "\u200b", "\u202e", "\x00"),
    *("\ufeff", "\u2028", "🇳🇴", "👩\u200d👩\u200d👧", "ß", "ﬁ", "日", "क्ष", "\r\n", ". ", "\t"),
)
TEXTS = st.lists(st.sampled_from(ODD) | st.text(max_size=8), max_size=12).map("".join)
SLOW = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@dataclass(frozen=True)
class Bench:
    """An engine, and what each task runs on."""

    engine: Engine
    models: dict[str, dict[str, Any]]

    def run(self, task: str, text: str, **options: Any) -> Any:
        inputs: Any = {
            "qa": {"question": "Who?", "context": text},
            "generation": {"prompt": text},
            "translation": {"text": text, "source_language": "en", "target_language": "fr"},
        }.get(task, text)
        return self.engine.run(
            task, inputs, **self.models[task], **{**({"max_new_tokens": 3} if task in WRITERS else {}), **options}
        )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder: Path = tmp_path_factory.mktemp("bench")
    encoder, causal = tiny_model(folder / "encoder"), tiny_model(folder / "causal", "causal")
    adapters = {
        "sentiment": classifier_adapter(encoder, folder / "classifier"),
        "ner": tagger_adapter(encoder, folder / "tagger", task="ner"),
        "qa": extractor_adapter(encoder, folder / "extractor", task="qa"),
    }
    models = {task: {"adapter": str(path)} for task, (path, _) in adapters.items()}
    models |= {task: {"model": str(causal)} for task in WRITERS[:2]}
    models["translation"] = {"model": str(tiny_model(folder / "marian", architecture="marian"))}
    with Engine(dtype="float32", settings=Settings(folder / "cache", folder / "data", offline=True)) as engine:
        yield Bench(engine, models)


def assert_laws(text: str, result: Any) -> None:
    match result:
        case Entities():
            assert all(entity.text == text[entity.start : entity.end] for entity in result.entities)
        case Answer():
            assert result.text == text[result.start : result.end]
        case GeneratedText():
            assert result.prompt == text
        case Summary():
            assert result.coverage == 1.0 or result.truncated
        case Translation():
            assert all(part.source == text[part.start : part.end] for part in result.segments)
            rest = [text[a.end : b.start] for a, b in zip(result.segments, result.segments[1:], strict=False)]
            assert all(between in result.translation for between in rest)


def assert_answers(bench: Bench, task: str, text: str, **options: Any) -> None:
    try:
        result = bench.run(task, text, **options)
    except NlptasksError as error:
        str(error).encode()
    else:
        assert_laws(text, result)
        result.model_dump_json()


def options_of(bench: Bench, task: str) -> st.SearchStrategy[dict[str, Any]]:
    names = sorted(bench.engine.plugins.task(task).options_type.model_fields)
    return st.dictionaries(st.sampled_from(names), VALUES, min_size=1, max_size=2)


def assert_options(bench: Bench, task: str, times: int) -> None:
    text = "Anna left Oslo. She took a train. It was late. Nobody waited. She went home. " * 2

    @settings(max_examples=times, **SLOW)
    @given(options_of(bench, task))
    def check(options: dict[str, Any]) -> None:
        assert_answers(bench, task, text, **options)

    check()


def assert_texts(bench: Bench, task: str, times: int) -> None:
    @settings(max_examples=times, **SLOW)
    @given(TEXTS)
    def check(text: str) -> None:
        assert_answers(bench, task, text)

    check()


@pytest.mark.long
@pytest.mark.parametrize("task", TASKS)
def test_some_texts_and_options(bench: Bench, task: str) -> None:
    assert_options(bench, task, 25)
    assert_texts(bench, task, 25)


@pytest.mark.full
@pytest.mark.parametrize("task", TASKS)
def test_two_thousand_options_and_five_thousand_texts(bench: Bench, task: str) -> None:
    assert_options(bench, task, 2000 // len(TASKS) + 1)
    assert_texts(bench, task, 5000 // len(TASKS) + 1)


@pytest.mark.parametrize("task", TASKS)
def test_half_of_a_surrogate_pair_is_refused_by_a_sentence(bench: Bench, task: str) -> None:
    with pytest.raises(InvalidInputError, match="expected Unicode text, found half of a surrogate pair"):
        bench.run(task, "on\ud83dce")


def test_half_of_a_surrogate_pair_is_refused_in_a_chat_and_in_options(bench: Bench) -> None:
    for inputs, options in (([{"role": "user", "content": "a\udc00"}], {}), ("Once", {"stop": ["\udc00"]})):
        with pytest.raises(InvalidInputError, match="expected Unicode text, found half of a surrogate pair"):
            bench.engine.run("generation", inputs, **bench.models["generation"], **options)


def test_bounds_of_options_are_sentences(bench: Bench) -> None:
    for option, value, sentence in (
        ("seed", 2**64, "input should be less than 18446744073709551616"),
        ("temperature", math.nan, "input should be a finite number"),
        ("stop", [""], "expected a text with at least one character"),
        ("repetition_penalty", 1e-30, "input should be greater than or equal to 0.01"),
    ):
        with pytest.raises(InvalidInputError, match=sentence):
            bench.run("generation", "Once", **{option: value})


def test_a_turn_of_an_unknown_role_has_one_sentence_and_a_value_s_own_fault_no_prefix(bench: Bench) -> None:
    for value, sentence in (
        (
            [{"role": "User", "content": "Hi"}],
            "input 'messages.0.role': input should be 'system', 'user' or 'assistant', found 'User'.",
        ),
        ({"messages": []}, "input 'messages': expected at least 1 item, found []."),
        (
            {"prompt": "x", "messages": [{"role": "user", "content": "Hi"}]},
            "input: expected either prompt or messages, not both and not neither.",
        ),
    ):
        with pytest.raises(InvalidInputError) as caught:
            bench.engine.run("generation", value)
        assert caught.value.problems == (sentence,)


def test_a_tiny_temperature_takes_the_likeliest_token(bench: Bench) -> None:
    expected = bench.run("generation", "Once", temperature=0).text
    assert bench.run("generation", "Once", temperature=1e-40).text == expected


def test_one_stop_string_needs_no_list(bench: Bench) -> None:
    whole = bench.run("generation", "Once", max_new_tokens=12).text
    stopped = bench.run("generation", "Once", max_new_tokens=12, stop=whole[2])
    assert stopped == bench.run("generation", "Once", max_new_tokens=12, stop=[whole[2]])
    assert stopped.text == whole[: whole.index(whole[2])]


@pytest.mark.parametrize("task", ["generation", "summarization"])
def test_beams_are_streamed_in_one_piece_with_a_note(bench: Bench, task: str) -> None:
    text = "A dog ran over the hill. A cat sat down. A bird flew off. A cow ate grass."
    with bench.engine.stream(task, text, num_beams=2, max_new_tokens=8, **bench.models[task]) as stream:
        pieces = list(stream)
        result = stream.result()
    assert len(pieces) == 1
    assert "beam search knows the text only at its end" in result.note
    if task == "generation":
        assert pieces[0] == result.text == bench.run(task, text, num_beams=2, max_new_tokens=8).text


def test_a_translation_model_is_not_asked_for_summaries(bench: Bench) -> None:
    text = "A dog ran over the hill. A cat sat down. A bird flew off."
    with pytest.raises(NlptasksError, match="is a translation model, and summarization expects one that writes"):
        bench.engine.run("summarization", text, **bench.models["translation"])


def test_a_system_message_of_the_options_stands_before_that_of_the_chat(bench: Bench) -> None:
    task = bench.engine.plugins.task("generation")
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello."}]
    for turns, system in ((chat, "Be brief.\n\nBe kind."), (chat[1:], "Be brief.")):
        [inputs] = task.validate([turns])
        prompt = task.prompt(inputs, task.validate_options({"system": "Be brief."}))
        assert [(turn.role, turn.content) for turn in prompt] == [("system", system), ("user", "Hello.")]
