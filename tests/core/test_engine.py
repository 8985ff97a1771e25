"""The engine: validation before loading, choice of model, shapes, cancellation, threads, unloading."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nlptasks import (
    Answer,
    Engine,
    GeneratedText,
    GenerationOptions,
    Plugins,
    QuestionAnswering,
    QuestionInput,
    TextClassification,
    TextInput,
    TextToText,
    hookimpl,
)
from nlptasks.errors import (
    AdapterMismatchError,
    CancelledError,
    InvalidInputError,
    NlptasksError,
    OfflineError,
    OverflowRefusedError,
    UnknownNameError,
    UnsupportedModelError,
)
from nlptasks.model import CancelToken
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import AdapterStore
from nlptasks.testing import tiny_model
from tests.tiny_adapters import LABELS, classifier_adapter


class Mood(TextClassification):
    """The mood of a text."""

    name = "mood"
    labels = LABELS
    examples = ("fine",)


class Echo(TextToText[TextInput, GenerationOptions, GeneratedText]):
    """Continue a text."""

    name = "echo"
    input_type = TextInput
    result_type = GeneratedText
    examples = ("fine",)

    def prompt(self, inputs: TextInput, options: GenerationOptions) -> str:
        return inputs.text

    def parse(self, inputs: TextInput, completion: str) -> GeneratedText:
        return GeneratedText(text=completion, finish_reason="stop")

    def target(self, result: GeneratedText) -> str:
        return result.text


@pytest.fixture
def plugins(settings: Settings) -> Plugins:
    host = Plugins(settings)

    class Both:
        @staticmethod
        def tasks() -> list[object]:
            return [Mood(), Echo()]

    from nlptasks import hookimpl

    class Plugin:
        @hookimpl
        def register_tasks(self, register):  # type: ignore[no-untyped-def]
            for task in Both.tasks():
                register(task)

    host.register(Plugin(), "test")
    return host


@pytest.fixture
def engine(settings: Settings, plugins: Plugins, tiny_encoder: Path) -> Iterator[Engine]:
    store = AdapterStore(settings)
    classifier_adapter(tiny_encoder, store.folder("mood", "first"), seed=1)
    classifier_adapter(tiny_encoder, store.folder("mood", "second"), seed=2, labels=("no", "yes"))
    with Engine(settings=settings, plugins=plugins, dtype="float32") as made:
        yield made


def test_one_in_one_out_list_in_list_out(engine: Engine) -> None:
    one = engine.run("mood", "fine", adapter="first")
    assert one.label in LABELS
    assert engine.run("mood", ["fine"], adapter="first") == [one]
    assert engine.run("mood", {"text": "fine"}, adapter="first") == one
    assert engine.run("mood", TextInput(text="fine"), adapter="first") == one
    assert engine.run("mood", text="fine", adapter="first") == one
    several = engine.run("mood", (text for text in ["fine", "a longer one", "fine"]), adapter="first")
    assert [r.score for r in several[::2]] == pytest.approx([one.score] * 2, abs=1e-5)
    assert engine.run("mood", [], adapter="first") == []
    assert engine.run("mood", "fine", adapter="first", threshold=1.0, multi_label=True).label is None


def test_a_result_says_where_it_came_from(engine: Engine, tiny_encoder: Path) -> None:
    result = engine.run("mood", "fine", adapter="first")
    assert (result.model, result.adapter, result.windows, result.truncated) == (str(tiny_encoder), "first", 1, False)
    assert result.num_tokens == 4 + 2
    assert [s.score for s in result.scores] == sorted((s.score for s in result.scores), reverse=True)
    assert {s.label for s in result.scores} == set(LABELS)
    assert sum(s.score for s in result.scores) == pytest.approx(1)
    assert result.to_hf() == [{"label": result.label, "score": result.score}]


def test_all_faults_are_named_at_once_before_anything_is_loaded(engine: Engine) -> None:
    with pytest.raises(InvalidInputError) as caught:
        engine.run("mood", ["fine", "", "  \n", {"texts": "x"}], adapter="first", treshold=0.5, pool="median")
    message = str(caught.value)
    assert message.startswith("mood cannot run this:")
    assert "option 'treshold' is not known; did you mean 'threshold'?" in message
    assert "option 'pool': input should be 'mean', 'max' or 'first', found 'median'." in message
    assert "input 1 'text': expected a text with at least one visible character, found ''." in message
    assert "input 2 'text': expected a text with at least one visible character" in message
    assert "input 3 'texts' is not known; did you mean 'text'?" in message
    assert engine.resident() == []


def test_no_input_and_wrong_input_are_told_apart(engine: Engine) -> None:
    with pytest.raises(InvalidInputError, match=r"mood needs an input:\n  expected text, found nothing\."):
        engine.run("mood")
    with pytest.raises(InvalidInputError, match=r"expected a text, a mapping, TextInput or a list of them, found 7"):
        engine.run("mood", 7)
    with pytest.raises(UnknownNameError, match=r"Unknown task 'moot'\. Did you mean 'mood'\?"):
        engine.run("moot", "x")


def test_a_long_text_is_read_whole_in_windows(engine: Engine) -> None:
    text = "some words and more words. " * 60
    result = engine.run("mood", text, adapter="first")
    assert result.windows > 10
    assert not result.truncated
    cut = engine.run("mood", text, adapter="first", on_overflow="truncate")
    assert (cut.windows, cut.truncated) == (1, True)
    with pytest.raises(
        OverflowRefusedError, match=r"mood: the model reads 120 tokens at a time, input 0 has \d+ tokens"
    ):
        engine.run("mood", text, adapter="first", on_overflow="error")
    mixed = engine.run("mood", ["short", text, "also short"], adapter="first")
    assert [r.windows for r in mixed] == [1, result.windows, 1]
    assert mixed[1].score == pytest.approx(result.score, abs=1e-4)


def test_options_never_change_the_shape(engine: Engine) -> None:
    text = "words " * 80
    for options in ({}, {"pool": "max"}, {"pool": "first"}, {"threshold": 0.9}, {"multi_label": True}):
        result = engine.run("mood", text, adapter="first", **options)
        assert len(result.scores) == 3
        assert set(result.model_dump()) == set(engine.run("mood", "x", adapter="first").model_dump())


@pytest.mark.parametrize(
    "text", ["é" * 300, "🙂" * 200, "مرحبا " * 60, "e\u0301" * 100, "a\r\nb" * 90, "語" * 200, "\u200b."]
)
def test_any_unicode_text_has_an_answer(engine: Engine, text: str) -> None:
    result = engine.run("mood", text, adapter="first")
    assert not result.truncated


def test_adapters_are_chosen_per_request(engine: Engine) -> None:
    assert {s.label for s in engine.run("mood", "x", adapter="second").scores} == {"no", "yes"}
    assert {s.label for s in engine.run("mood", "x", adapter="first").scores} == set(LABELS)
    assert len(engine.resident()) == 1, "both stand on one base"


def test_an_adapter_on_another_base_is_refused(engine: Engine, tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", "encoder", seed=5)
    with pytest.raises(AdapterMismatchError, match="was trained on"):
        engine.run("mood", "x", adapter="first", model=str(other))


def test_a_base_without_a_head_says_what_to_do(engine: Engine, tiny_encoder: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="has no trained head for classify: name an adapter"):
        engine.run("mood", "x", model=str(tiny_encoder))


def test_without_an_adapter_a_language_model_chooses(engine: Engine, tiny_causal: Path) -> None:
    result = engine.run("mood", "fine", model=str(tiny_causal))
    assert {s.label for s in result.scores} == set(LABELS)
    assert result.adapter is None
    long = engine.run("mood", "many words " * 100, model=str(tiny_causal))
    assert long.windows > 1


def test_a_checkpoint_with_its_own_head_is_used(engine: Engine, tiny_encoder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    names = {0: "NEGATIVE", 1: "NEUTRAL", 2: "POSITIVE"}
    model = AutoModelForSequenceClassification.from_pretrained(tiny_encoder, num_labels=3, id2label=names)
    model.save_pretrained(tmp_path / "own")
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(tmp_path / "own")
    result = engine.run("mood", "fine", model=str(tmp_path / "own"))
    assert {s.label for s in result.scores} == set(LABELS), "POSITIVE is the task's positive"


def test_streams_give_the_result_of_run(engine: Engine, tiny_causal: Path) -> None:
    whole = engine.run("echo", "Once", model=str(tiny_causal), max_new_tokens=12)
    with engine.stream("echo", "Once", model=str(tiny_causal), max_new_tokens=12) as pieces:
        assert "".join(pieces) == whole.text
        assert pieces.result() == whole
    with pytest.raises(InvalidInputError, match="mood does not stream"):
        engine.stream("mood", "x")
    with pytest.raises(InvalidInputError, match="expected 1, found 2"):
        engine.stream("echo", ["a", "b"])


def test_a_stream_left_early_has_no_result_and_frees_the_model(engine: Engine, tiny_causal: Path) -> None:
    stream = engine.stream("echo", "Once", model=str(tiny_causal), max_new_tokens=400)
    for _ in stream:
        break
    stream.close()
    with pytest.raises(NlptasksError, match="closed before its end"):
        stream.result()
    started = time.monotonic()
    engine.run("echo", "Once", model=str(tiny_causal), max_new_tokens=1)
    assert time.monotonic() - started < 5


def test_async_calls_answer_and_cancelling_them_stops_the_model(engine: Engine, tiny_causal: Path) -> None:
    model = str(tiny_causal)

    async def session() -> float:
        first, second = await asyncio.gather(
            engine.arun("mood", "fine", adapter="first"), engine.arun("mood", ["a", "b"], adapter="second")
        )
        assert first.label in LABELS
        assert len(second) == 2
        pieces = [piece async for piece in engine.astream("echo", "Once", model=model, max_new_tokens=8)]
        assert "".join(pieces) == (await engine.arun("echo", "Once", model=model, max_new_tokens=8)).text
        slow = asyncio.create_task(engine.arun("echo", ["Once"] * 16, model=model, max_new_tokens=450))
        await asyncio.sleep(0.1)
        slow.cancel()
        started = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await slow
        await engine.arun("echo", "Once", model=model, max_new_tokens=1)
        return time.monotonic() - started

    assert asyncio.run(session()) < 2


def test_an_async_stream_has_its_result(engine: Engine, tiny_causal: Path) -> None:
    arguments: dict[str, Any] = {"model": str(tiny_causal), "max_new_tokens": 8}

    async def session() -> None:
        stream = engine.astream("echo", "Once", **arguments)
        pieces = [piece async for piece in stream]
        result = await stream.result()
        assert "".join(pieces) == result.text
        assert result == await engine.arun("echo", "Once", **arguments)
        assert await engine.astream("echo", "Once", **arguments).result() == result
        left = engine.astream("echo", "Once", **arguments)
        async with contextlib.aclosing(aiter(left)) as some:
            await anext(some)
        with pytest.raises(NlptasksError, match=r"The stream was closed before its end: there is no result\."):
            await left.result()

    asyncio.run(session())


@pytest.mark.long
def test_cancelling_a_task_that_waits_for_a_piece_stops_the_model(engine: Engine, tiny_causal: Path) -> None:
    model = str(tiny_causal)
    held = threading.Event()

    async def read() -> None:
        async for _ in engine.astream("echo", "Once", model=model, max_new_tokens=400):
            pass

    async def session() -> float:
        # The model's own thread is held, so that the reader is inside the wait for its first piece.
        task = engine.plugins.task("echo")
        with engine.bind(task, model=model) as bound:
            busy = asyncio.create_task(asyncio.to_thread(bound.submit, lambda *_: held.wait(10)))
            reader = asyncio.create_task(read())
            await asyncio.sleep(0.3)
            reader.cancel()
            await asyncio.sleep(0.1)
            held.set()
            with pytest.raises(asyncio.CancelledError):
                await reader
            await busy
        started = time.monotonic()
        await engine.arun("echo", "Once", model=model, max_new_tokens=1)
        return time.monotonic() - started

    assert asyncio.run(session()) < 2


def test_a_cancelled_request_raises(engine: Engine) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(CancelledError):
        engine.run("mood", "fine", adapter="first", cancel=token)


def test_progress_reaches_the_total(engine: Engine) -> None:
    seen: list[tuple[int, int]] = []
    engine.run(
        "mood", ["a", "b", "words " * 80], adapter="first", progress=lambda count, total: seen.append((count, total))
    )
    assert seen[-1][0] == seen[-1][1] >= 3
    assert [count for count, _ in seen] == list(range(1, len(seen) + 1))
    assert {total for _, total in seen} == {len(seen)}, "windows are counted from the start"


@pytest.mark.long
def test_many_threads_get_their_own_answers(engine: Engine) -> None:
    texts = [f"text number {n} {'x' * n}" for n in range(12)]
    right = {a: engine.run("mood", texts, adapter=a) for a in ("first", "second")}
    wrong: list[int] = []

    def ask(number: int) -> None:
        adapter = ("first", "second")[number % 2]
        for i, text in enumerate(texts):
            got = engine.run("mood", text, adapter=adapter)
            if got.score != pytest.approx(right[adapter][i].score, abs=1e-4):
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_idle_bases_leave_and_come_back(settings: Settings, plugins: Plugins, tiny_causal: Path) -> None:
    with Engine(str(tiny_causal), settings=settings, plugins=plugins, idle_seconds=0.2) as engine:
        first = engine.run("echo", "Once", max_new_tokens=2)
        assert len(engine.resident()) == 1
        deadline = time.monotonic() + 5
        while engine.resident() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert engine.resident() == []
        assert engine.run("echo", "Once", max_new_tokens=2) == first


def test_over_the_memory_bound_the_least_recently_used_base_leaves(
    settings: Settings, plugins: Plugins, tiny_causal: Path, tmp_path: Path
) -> None:
    other = tiny_model(tmp_path / "other", "causal", seed=3)
    with Engine(settings=settings, plugins=plugins, max_resident_bytes=1) as engine:
        engine.run("echo", "Once", model=str(tiny_causal), max_new_tokens=1)
        assert [base.name for base in engine.resident()] == [str(tiny_causal)]
        engine.run("echo", "Once", model=str(other), max_new_tokens=1)
        assert [base.name for base in engine.resident()] == [str(other)]


def test_a_closed_engine_says_so(settings: Settings, plugins: Plugins) -> None:
    engine = Engine(settings=settings, plugins=plugins)
    engine.close()
    engine.close()
    with pytest.raises(NlptasksError, match="This engine is closed: make a new Engine"):
        engine.run("mood", "x", model="anything/else")


def test_offline_with_an_empty_cache_is_one_sentence(settings: Settings, plugins: Plugins) -> None:
    with Engine(settings=settings, plugins=plugins) as engine, pytest.raises(OfflineError, match="smollm2"):
        engine.run("mood", "x")


def test_fields_given_by_name_stand_for_every_input_of_a_list(tiny_encoder: Path, settings: Settings) -> None:
    seen: list[Any] = []

    class Asks(QuestionAnswering):
        """Notes what it is asked."""

        name = "asks"
        examples = ({"question": "Who?", "context": "Ada."},)
        needs = ""

        def run(self, inputs, options, model):  # type: ignore[no-untyped-def]
            seen.extend((item.question, item.context) for item in inputs)
            return [Answer(text="", start=0, end=0, score=1, answerable=False, null_score=0) for _ in inputs]

    class Plugin:
        @hookimpl
        def register_tasks(self, register):  # type: ignore[no-untyped-def]
            register(Asks())

    plugins = Plugins(settings)
    plugins.register(Plugin(), "asks")
    with Engine(str(tiny_encoder), settings=settings, plugins=plugins) as engine:
        assert len(engine.run("asks", ["Who?", {"question": "Where?"}], context="Ada, Oslo.")) == 2
        assert seen == [("Who?", "Ada, Oslo."), ("Where?", "Ada, Oslo.")]
        engine.run("asks", QuestionInput.model_construct(question="When?"), context="In May.")
        assert seen[-1] == ("When?", "In May.")
        with pytest.raises(
            InvalidInputError,
            match=r"asks got its input twice:\s+expected one context, found one in the input and one beside it",
        ):
            engine.run("asks", [{"question": "Who?", "context": "Ada."}], context="Ben.")
