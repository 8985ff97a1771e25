"""Summarization: nothing left unread, an end whatever the model writes, whole sentences, the checkpoints' own ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from nlptasks import CancelToken, Engine, Plugins, Settings, Stream, Summary, TextInput
from nlptasks.cli import cli
from nlptasks.errors import CancelledError, InvalidInputError, OverflowRefusedError
from nlptasks.families import summarization
from nlptasks.families.summaries import bullets
from nlptasks.model import ModelKind
from nlptasks.surfaces import render
from nlptasks.testing import FakeModel, check_task, tiny_model
from nlptasks_plugins.summarization import Summarization

TASK = Summarization()
ARTICLE = (
    "The harbour town of Marrow Point voted on Tuesday to close its last coal pier after ninety-one years of service. "
    "The pier once loaded forty ships a week, but last year only six called there. "
    "Mayor Ellen Whitcombe said the site would become a terminal for a ferry line to the outer islands. "
    "The town will borrow eleven million dollars for the work, and the state has promised four million more. "
    "Dockworkers fear for their jobs, because the ferry line needs only thirty people where the pier employed eighty. "
    "The union asked for a training fund, and the council agreed to set aside half a million dollars for it. "
    "Fishermen welcomed the plan, since the coal dust had driven the crabs out of the inner bay. "
    "Opponents say the ferry will bring more tourists than the narrow streets can hold."
)
TOLD = "Marrow Point closes its coal pier. A ferry will use the site."


def run(model: FakeModel, *texts: str, **options: Any) -> list[Summary]:
    return TASK.run(TASK.validate(texts), TASK.validate_options(options), model)


def writer(
    completions: Callable[[str], str] | list[str] | None = None, *, kind: ModelKind = "causal", **more: Any
) -> FakeModel:
    return FakeModel(kind=kind, completions=completions or (lambda _: TOLD), **{"max_tokens": 1024, **more})


def generated(model: FakeModel) -> list[list[Any]]:
    return [prompts for verb, prompts in model.calls if verb == "generate"]


def test_contract() -> None:
    rows = [
        (ARTICLE, {"summary": TOLD}),
        ("Ana: Lunch?\nBen: At one.\nAna: The usual place?\nBen: Yes.", {"summary": "Ana and Ben meet for lunch."}),
    ]
    check_task(TASK, rows=rows)
    check_task(TASK, rows=rows, model=writer(kind="seq2seq", prefixes={"summarization": "summarize: "}))


def test_a_text_in_one_piece() -> None:
    [result] = run(writer(), ARTICLE)
    assert result.summary == TOLD
    assert (result.windows, result.coverage, result.truncated, result.note) == (1, 1.0, False, None)
    [chunk] = result.chunks
    assert (chunk.start, chunk.end, chunk.summary) == (0, len(ARTICLE), TOLD)
    assert result.num_tokens == len(ARTICLE.split())
    assert result.to_hf() == [{"summary_text": TOLD}]


@pytest.mark.parametrize("text", ["It rains.", "It rains. We stay in.\n", "  Hm", "Ana: hi\nBen: hello"])
def test_one_or_two_sentences_are_their_own_summary(text: str) -> None:
    model = writer()
    [result] = run(model, text)
    assert result.summary == text.strip()
    assert result.note == summarization.SHORT_TEXT
    assert (result.windows, result.coverage) == (1, 1.0)
    assert generated(model) == []


def test_a_text_with_lost_characters_is_noted() -> None:
    [result, short] = run(writer(), f"The caf\ufffd is shut. {ARTICLE}", "The caf\ufffd is shut.")
    assert (result.summary, result.note) == (TOLD, summarization.LOST)
    assert short.note == f"{summarization.SHORT_TEXT}; {summarization.LOST}"


def test_an_english_base_notes_texts_in_another_language() -> None:
    text = "Das Museum in Marrow Point ist seit Montag wieder offen. Der Eintritt kostet nichts. Das Dach ist neu."
    note = "the text seems to be in German; smollm2 was trained on English"
    shipped = writer(name="smollm2")
    assert [result.note for result in run(shipped, text, ARTICLE)] == [note, None]
    assert run(writer(), text)[0].note is None
    stream = Stream(TASK.stream(TextInput(text=text), TASK.validate_options({}), shipped))
    assert "".join(stream)
    assert stream.result().note == note


def test_a_text_without_a_full_stop_is_summarized_all_the_same() -> None:
    [result] = run(writer(), "words without an end at Marrow Point " * 50)
    assert result.summary == TOLD


def test_blank_texts_are_refused() -> None:
    for blank in ("", " \n\t"):
        with pytest.raises(InvalidInputError, match="expected a text with at least one visible character"):
            TASK.validate([blank])


def test_a_long_text_is_read_in_levels_and_one_call_a_level() -> None:
    text = "\n\n".join([ARTICLE] * 10)
    model = writer()
    alone = run(model, text, chunk_tokens=160)
    levels = generated(model)
    assert [len(prompts) for prompts in levels] == [len(alone[0].chunks), 1]
    assert alone[0].windows == len(alone[0].chunks) > 5
    assert alone[0].coverage == 1.0
    assert not alone[0].truncated
    assert all(text[c.start : c.end].startswith("The harbour") for c in alone[0].chunks), "cut at paragraphs"
    last = FakeModel.render(levels[-1][0])
    assert last.count(TOLD) == len(alone[0].chunks)

    several = writer()
    assert run(several, text, ARTICLE, text, chunk_tokens=160) == [
        *alone,
        *run(writer(), ARTICLE, chunk_tokens=160),
        *alone,
    ]
    assert [len(prompts) for prompts in generated(several)] == [2 * len(levels[0]) + 1, 2]


PIECES = st.sampled_from(
    ["One two three four. ", "word ", "\n\n", "Ana: yes\nBen: no\n", "语言处理。", "é" * 30, "\u200b🙂 "]
)


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(
    st.lists(PIECES, min_size=1, max_size=30),
    st.integers(1, 40),
    st.sampled_from(["echo", "", "no stop at all", "Short. ", "!", "x" * 3000, "- a\n- b", "\n\n", "语" * 90]),
)
def test_it_ends_with_a_summary_whatever_the_model_writes(pieces: list[str], times: int, written: str) -> None:
    text = "".join(pieces) * times
    if not text.strip():
        return
    model = writer(lambda prompt: prompt if written == "echo" else written, max_tokens=512)
    [result] = run(model, text, chunk_tokens=64, length="short")
    assert result.summary.strip()
    assert len(result.summary) <= len(text.strip())
    assert result.coverage == 1.0
    assert not result.truncated
    assert result.num_tokens == len(text.split())
    read = "".join("".join(text[c.start : c.end].split()) for c in result.chunks)
    assert read == "".join(text.split())


def test_a_summary_longer_than_its_text_is_refused() -> None:
    rambling = "This is a sentence that goes on and on about things that are nowhere in the text. " * 3
    text = "It rains. We stay in. The cat sleeps."
    [result] = run(writer(lambda _: rambling), text)
    assert result.summary == text
    assert result.note == summarization.REFUSED


def test_a_refused_summary_of_the_parts_gives_the_parts() -> None:
    model = writer(
        lambda prompt: "The pier closes." if "Marrow" in prompt else "A ferry " + "comes and goes and " * 9 + "stays."
    )
    [result] = run(model, ARTICLE * 2, chunk_tokens=160)
    assert [chunk.summary for chunk in result.chunks] == ["The pier closes."] * 2
    assert result.summary == "The pier closes. The pier closes."
    assert result.note == summarization.REFUSED_PARTS


def test_parts_without_a_usable_summary_are_told_by_their_first_sentences() -> None:
    model = writer(lambda prompt: "" if "Opponents" in prompt else TOLD)
    text = "\n\n".join([ARTICLE.replace("Opponents", "Some"), ARTICLE])
    [result] = run(model, text, chunk_tokens=160)
    first, second = (chunk.summary for chunk in result.chunks)
    assert first == TOLD
    assert second.startswith("The harbour town of Marrow Point voted")
    assert len(second) <= len(ARTICLE) / 2
    assert result.note == "for 1 of 2 parts the model wrote nothing usable: their first sentences stand for them"


def test_a_sentence_is_said_once() -> None:
    [result] = run(writer(lambda _: "It rains. " * 9), ARTICLE)
    assert result.summary == "It rains."


@pytest.mark.parametrize(
    ("items", "left"),
    [
        (["The client wanted a new floor.", "The client wanted a new, red floor.", "So it was."], [0, 2]),
        (["The pier closes on Monday at 9.", "The pier closes on Friday at 9."], [0, 1]),
        (["Line 14 stops at the harbour.", "Line 27 stops at the harbour."], [0, 1]),
        (["Ring Tomasz.", "Ring Hanna.", "Ring Tomasz!"], [0, 1]),
        (["港口关闭了。", "渡轮使用它。", "港口关闭了。"], [0, 1]),
    ],
)
def test_what_repeats_an_earlier_sentence(items: list[str], left: list[int]) -> None:
    assert bullets.distinct(items) == [items[place] for place in left]


def test_nothing_written_is_never_an_empty_summary() -> None:
    for nothing in ("", "   ", "...", "and then the"):
        [result] = run(writer(lambda _, n=nothing: n), ARTICLE, max_new_tokens=2, length="short")  # type: ignore[misc]
        assert result.summary.startswith("The harbour town of Marrow Point voted")
        assert result.summary.endswith(".")
        assert result.note == summarization.NOTHING


def test_an_unfinished_summary_is_cut_back_to_its_last_sentence() -> None:
    [result] = run(writer(lambda _: TOLD + " Nobody knows what Dr. Who will"), ARTICLE, max_new_tokens=17)
    assert result.summary == TOLD
    [whole] = run(writer(lambda _: "The pier closes"), ARTICLE)
    assert whole.summary == "The pier closes."


@pytest.mark.parametrize("style", ["paragraph", "bullets"])
@pytest.mark.parametrize(("written", "most"), [("", 30), (None, 45)])
def test_a_text_without_sentences_does_not_come_back_whole(style: str, written: str | None, most: int) -> None:
    text = "we went to the market and bought apples and then we walked home and saw the ducks " * 15
    model = writer(lambda _: text if written is None else written)
    [result] = run(model, text, length="short", style=style, max_new_tokens=400)
    first = " ".join(text.split()[:most])
    assert result.summary == ("- " if style == "bullets" else "") + f"{first} …"
    assert result.note == (summarization.FIRST_WORDS if written == "" else None)


def test_the_length_is_kept() -> None:
    long = " ".join(f"Sentence number {i} has seven words here." for i in range(60))
    words = {
        length: len(run(writer(lambda _: long), long * 2, length=length)[0].summary.split())
        for length in ("short", "medium", "long", 14)
    }
    assert words == {"short": 42, "medium": 105, "long": 224, 14: 21}


def test_the_prompt_asks_for_the_length() -> None:
    def prompt(**options: Any) -> str:
        model = writer()
        run(model, ARTICLE, **options)
        return FakeModel.render(generated(model)[0][0])

    assert "in one sentence" in prompt(length="short")
    assert "in three sentences" in prompt()
    assert "in about 40 words" in prompt(length=40)
    assert prompt().startswith(f"user: {ARTICLE}\n\nWrite a short summary of the text above")


def test_styles() -> None:
    [listed] = run(writer(), ARTICLE, style="bullets")
    assert listed.summary == "- Marrow Point closes its coal pier.\n- A ferry will use the site."
    [joined] = run(writer(lambda _: "Here is a summary:\n\n1. The pier closes\n2. A ferry comes."), ARTICLE)
    assert joined.summary == "The pier closes. A ferry comes."


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("Here's a short summary of the text: It rains.", "It rains."),
        ("Summary: It rains.", "It rains."),
        ("**Summary:** It rains.", "It rains."),
        ('"It rains."', "It rains."),
        ('"No," he said. "Yes."', '"No," he said. "Yes."'),
        ("It rains .<n>We stay .", "It rains .\nWe stay ."),
        ("Here is where it rains.", "Here is where it rains."),
    ],
)
def test_what_models_put_around_a_summary_goes(written: str, text: str) -> None:
    assert bullets.tidy(written) == text


def test_chinese_sentences_stand_without_a_space() -> None:
    assert bullets.paragraph(bullets.split("今天下雨。我们在家。\n明天晴")) == "今天下雨。我们在家。明天晴。"


def test_overflow_is_refused_when_asked() -> None:
    run(writer(), ARTICLE, on_overflow="error")
    with pytest.raises(
        OverflowRefusedError,
        match=r"summarization: the model reads 100 tokens at a time, input 1 has 140 tokens: shorten the text or use",
    ):
        run(writer(), "It rains.", ARTICLE, on_overflow="error", chunk_tokens=100)
    with pytest.raises(OverflowRefusedError, match=r"the model reads 64 tokens, .* leaves no room for the text"):
        run(writer(max_tokens=64), ARTICLE)


def test_wrong_options_are_told() -> None:
    with pytest.raises(InvalidInputError) as caught:
        TASK.validate_options({"length": "tiny", "style": "poem", "on_overflow": "truncate"})
    message = str(caught.value)
    assert "'short', 'medium' or 'long', found 'tiny'" in message
    assert "'paragraph' or 'bullets', found 'poem'" in message
    assert "'on_overflow'" in message


def test_a_seq2seq_checkpoint_reads_its_prefix_and_keeps_its_own_generation_config() -> None:
    model = writer(kind="seq2seq", model_type="t5", prefixes={"summarization": "summarize: "}, max_tokens=512)
    [result] = run(model, ARTICLE)
    assert generated(model) == [["summarize: " + ARTICLE]]
    [decoding] = model.decodings
    unset = ("min_new_tokens", "repetition_penalty", "no_repeat_ngram_size", "num_beams", "length_penalty")
    assert [getattr(decoding, name) for name in unset] == [None] * 5
    assert result.summary == TOLD
    preset = {"num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 3, "min_new_tokens": 29}
    model = writer(kind="seq2seq", model_type="t5", presets={"summarization": preset}, max_tokens=512)
    for options, expected in (
        ({}, (4, 2.0, 3, 29)),
        ({"num_beams": 1, "length_penalty": 1.0, "min_new_tokens": 5}, (1, 1.0, 3, 5)),
        ({"length": "short"}, (4, 2.0, 3, 0)),
        ({"max_new_tokens": 20}, (4, 2.0, 3, 20)),
    ):
        run(model, ARTICLE, **options)
        assert tuple(getattr(model.decodings[-1], name) for name in (*list(preset)[:3], "min_new_tokens")) == expected
    bart = writer(kind="seq2seq", model_type="bart")
    run(bart, ARTICLE, num_beams=2, length="short", no_repeat_ngram_size=3)
    assert generated(bart) == [[ARTICLE]]
    [decoding] = bart.decodings
    assert (decoding.num_beams, decoding.no_repeat_ngram_size, decoding.min_new_tokens) == (2, 3, 0)


def test_a_causal_model_without_a_template_gets_plain_text() -> None:
    model = writer(has_chat_template=False)
    run(model, ARTICLE)
    [[prompt]] = generated(model)
    assert prompt == f"Text:\n{ARTICLE}\n\nThe text in three sentences:\n"
    [decoding] = model.decodings
    assert (decoding.num_beams, decoding.repetition_penalty, decoding.do_sample) == (1, 1.0, False)


def test_streams_end_in_the_result_that_run_gives() -> None:
    for text, pieces in ((ARTICLE, TOLD), ("\n\n".join([ARTICLE] * 4), TOLD), ("It rains.", "It rains.")):
        options = TASK.validate_options({"chunk_tokens": 200})
        [item] = TASK.validate([text])
        model = writer()
        stream = Stream(TASK.stream(item, options, model))
        assert model.calls == [], "nothing runs before the first piece is read"
        assert "".join(stream) == pieces
        assert [stream.result()] == run(writer(), text, chunk_tokens=200)


def test_a_closed_stream_writes_no_more() -> None:
    token = CancelToken()
    [item] = TASK.validate([ARTICLE])
    for piece in Stream(TASK.stream(item, TASK.validate_options({}), writer(cancel=token))):
        assert piece == "Marrow"
        break
    assert token.cancelled, "the model's own token: what it computes ends within a step"
    unread = Stream(TASK.stream(item, TASK.validate_options({}), model := writer()))
    unread.close()
    assert list(unread) == []
    assert model.calls == []


def test_a_cancelled_request_stops_between_levels() -> None:
    token = CancelToken()

    def write(prompt: str) -> str:
        token.cancel()
        return TOLD

    model = FakeModel(kind="causal", completions=write, max_tokens=1024, cancel=token)
    with pytest.raises(CancelledError):
        run(model, "\n\n".join([ARTICLE] * 4), chunk_tokens=200)
    assert len(generated(model)) == 1


@pytest.mark.parametrize(
    "row",
    [
        {"document": ARTICLE, "summary": TOLD},
        {"article": ARTICLE, "highlights": TOLD.replace(". ", ".\n")},
        {"dialogue": ARTICLE, "summaries": [TOLD, "Another one."], "id": 7},
        {"text": ARTICLE, "target": TOLD},
    ],
)
def test_lessons(row: dict[str, Any]) -> None:
    [example] = TASK.training_examples(row, TASK.validate_options({}))
    assert (example.inputs, example.target) == (TextInput(text=ARTICLE), TOLD)
    assert example.options.length == "short"
    [named] = TASK.training_examples(row, TASK.validate_options({"length": "long"}))
    assert named.options.length == "long"


def test_lessons_of_long_documents_are_their_beginning() -> None:
    [example] = TASK.training_examples({"text": ARTICLE * 20, "summary": TOLD}, TASK.validate_options({}))
    assert len(example.inputs.text.split()) <= 0.55 * 1024
    assert example.inputs.text.endswith(".")
    assert example.inputs.text != ARTICLE * 20
    assert (ARTICLE * 20).startswith(example.inputs.text)


def test_a_row_without_a_text_says_so() -> None:
    with pytest.raises(ValueError, match=r"expected a text in one of the columns text, document, .*, found summary"):
        TASK.training_examples({"summary": TOLD}, TASK.validate_options({}))


def test_on_the_command_line_a_summary_stands_with_its_chunks_and_note(settings: Settings) -> None:
    plugins = Plugins(settings)
    plugins.load_entry_points()
    assert isinstance(plugins.task("summarization"), Summarization)
    [result] = run(writer(), "\n\n".join([ARTICLE] * 4), chunk_tokens=200)
    assert render(result, ARTICLE) == f"{TOLD}\n  ({result.windows} windows)"
    [short] = run(writer(), "It rains.")
    assert render(short) == f"It rains.\n  ({summarization.SHORT_TEXT})"
    [one] = run(writer(), ARTICLE)
    assert re.fullmatch(r"The harbour.*…\n  Marrow.*", render(one, ARTICLE, several=True), re.DOTALL)


@pytest.fixture(scope="module", params=["llama", "gpt2", "t5", "bart", "pegasus"])
def tiny_writer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name: str = request.param
    return tiny_model(tmp_path_factory.mktemp("models") / name, architecture=name)


@pytest.mark.parametrize(
    "text", [ARTICLE, ARTICLE * 3, "Ana: Lunch?\nBen: At one.\nAna: Where?\nBen: The usual place."]
)
def test_every_kind_of_checkpoint_reads_texts_of_any_length(settings: Settings, tiny_writer: Path, text: str) -> None:
    seen: list[tuple[int, int]] = []
    with Engine(str(tiny_writer), settings=settings, dtype="float32") as engine:
        options = {"length": "short", "max_new_tokens": 8}
        result = engine.run("summarization", text, progress=lambda *now: seen.append(now), **options)
        streamed = engine.stream("summarization", text, **options).result()
        results = engine.run("summarization", ["It rains.", "It snows."], progress=lambda *now: seen.append(now))
    assert result.summary.strip()
    assert result.coverage == 1.0
    assert not result.truncated
    assert (result.windows > 1) == (len(text) > 256)
    assert streamed.chunks == result.chunks
    assert [each.summary for each in results] == ["It rains.", "It snows."]
    *levels, last = seen
    assert last == (2, 2), "texts that need no model are done as well"
    assert [count for count, _ in levels] == list(range(1, len(levels) + 1))
    assert [total for _, total in levels] == sorted(total for _, total in levels)
    assert levels[0][1] == result.windows
    assert levels[-1][0] == levels[-1][1]


def test_the_command_line_prints_the_summary(
    tiny_causal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.txt"
    page.write_text("It rains. We stay in.\n", encoding="utf-8")
    monkeypatch.setenv("NLPTASKS_DATA", str(tmp_path))
    outcome = CliRunner().invoke(cli, ["run", "summarization", "-f", str(page), "-m", str(tiny_causal)])
    assert (outcome.exit_code, outcome.stdout) == (0, f"It rains. We stay in.\n  ({summarization.SHORT_TEXT})\n")


@pytest.fixture(scope="module")
def embedded(embedded_settings: Settings) -> Iterator[Engine]:
    with Engine("smollm2", settings=embedded_settings) as engine:
        yield engine


@pytest.mark.full
@pytest.mark.embedded
def test_the_embedded_model_tells_an_article_in_short(embedded: Engine) -> None:
    result = embedded.run("summarization", ARTICLE, max_new_tokens=80)
    assert (result.model, result.note, result.windows) == ("smollm2", None, 1)
    assert 60 < len(result.summary) < len(ARTICLE) / 2
    assert result.summary.endswith((".", "!", "?"))
    assert "Marrow Point" in result.summary


@pytest.mark.full
@pytest.mark.embedded
def test_the_embedded_model_reads_a_long_text_to_its_end(embedded: Engine) -> None:
    second = (
        "In the hills behind the town, a school of nine pupils opened its doors on Monday. "
        "Its teacher, Rosa Lindqvist, drives an hour each way, since no bus goes there. "
        "The county had closed the old school in 2009 to save money. "
        "Parents collected signatures for six years until the county gave in. "
        "The building is a former dairy, and the children painted its walls themselves. "
        "Lindqvist hopes that families will move back to the hills."
    )
    text = f"{ARTICLE}\n\n{second}"
    result = embedded.run("summarization", text, chunk_tokens=128, length="short", max_new_tokens=48)
    assert result.windows == len(result.chunks) == 3
    assert result.coverage == 1.0
    assert text[result.chunks[-1].start : result.chunks[-1].end] == second, "paragraphs stay whole"
    assert "school" in result.chunks[-1].summary
    assert 0 < len(result.summary) < len(text) / 2
    assert result.summary.endswith((".", "!", "?"))
