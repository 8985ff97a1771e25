"""What a call gives, by the task's class or an instance. Nothing runs: `make check` has mypy and pyright judge it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, assert_type

import nlptasks
from nlptasks import (
    Answer,
    AsyncStream,
    CancelToken,
    Classification,
    Engine,
    Entities,
    GeneratedText,
    Message,
    QuestionInput,
    Results,
    Stream,
    Summary,
    Task,
    TextInput,
)
from nlptasks_plugins import (
    Generation,
    GenerationInput,
    NamedEntities,
    Qa,
    Sentiment,
    Summarization,
    Translation,
    TranslationTask,
)

# One input, in each of its forms, is one result.
assert_type(nlptasks.run(Sentiment, "Lovely."), Classification)
assert_type(nlptasks.run(Sentiment(), "Lovely."), Classification)
assert_type(nlptasks.run(Sentiment, {"text": "Lovely."}), Classification)
assert_type(nlptasks.run(Sentiment, TextInput(text="Lovely.")), Classification)
assert_type(nlptasks.run(Sentiment, text="Lovely."), Classification)
assert_type(nlptasks.run(Sentiment, "Lovely.", threshold=0.9, adapter="mine", model="minilm"), Classification)
assert_type(nlptasks.run(NamedEntities, "Ada lives in Oslo."), Entities)
assert_type(nlptasks.run(Summarization, "A long report.", length="short"), Summary)
assert_type(nlptasks.run(TranslationTask, "Good day.", target_language="fr"), Translation)
assert_type(nlptasks.run(Qa, question="Who?", context="Ada."), Answer)
assert_type(nlptasks.run(Qa, {"question": "Who?", "context": "Ada."}), Answer)
assert_type(nlptasks.run(Generation, "Once", max_new_tokens=9), GeneratedText)
assert_type(nlptasks.run(Generation, messages=[{"role": "user", "content": "Hello"}]), GeneratedText)
assert_type(nlptasks.run(Sentiment, "Lovely.", progress=True, cancel=CancelToken()).label, str | None)

# Several inputs, however they come, are a list.
assert_type(nlptasks.run(Sentiment, ["Lovely."]), Results[Classification])
assert_type(nlptasks.run(Sentiment(), []), Results[Classification])
assert_type(nlptasks.run(Sentiment, ("Lovely.", "Dull.")), Results[Classification])
assert_type(nlptasks.run(Sentiment, (text.strip() for text in ["Lovely."])), Results[Classification])
assert_type(nlptasks.run(Sentiment, [{"text": "Lovely."}]), Results[Classification])
assert_type(nlptasks.run(Sentiment, [TextInput(text="Lovely.")]), Results[Classification])
assert_type(nlptasks.run(Qa, ["Who?", "Where?"], context="Ada, in Oslo."), Results[Answer])
assert_type(nlptasks.run(Qa, [("Who?", "Ada.")]), Results[Answer])
assert_type(nlptasks.run(Qa, [QuestionInput(question="Who?", context="Ada.")]), Results[Answer])
assert_type(nlptasks.run(Generation, ["Once", "Twice"]), Results[GeneratedText])
assert_type(nlptasks.run(Generation, [GenerationInput(prompt="Once")]), Results[GeneratedText])

# A pair or a chat is one input, a list of mappings may be either: only the task knows.
chat = [{"role": "user", "content": "Hello"}]
assert_type(nlptasks.run(Qa, ("Who?", "Ada.")), Any)
assert_type(nlptasks.run(Generation, chat), Any)
assert_type(nlptasks.run(Generation, [Message(role="user", content="Hello")]), Any)

# A name says nothing to a type checker.
assert_type(nlptasks.run("sentiment", "Lovely."), Any)
assert_type(nlptasks.run("sentiment", ["Lovely."]), Any)
assert_type(nlptasks.stream("generation", "Once"), Stream[Any])


def by_type_of_input(
    either: str | list[str],
    row_or_rows: dict[str, str] | list[dict[str, str]],
    maybe: str | None,
    texts: Sequence[str],
    lines: Iterator[str],
    anything: Iterable[str],
) -> None:
    assert_type(nlptasks.run(Sentiment, either), Classification | Results[Classification])
    assert_type(nlptasks.run(Sentiment, row_or_rows), Classification | Results[Classification])
    assert_type(nlptasks.run(Sentiment, maybe), Classification)
    assert_type(nlptasks.run(Sentiment, texts), Results[Classification])
    assert_type(nlptasks.run(Sentiment, lines), Results[Classification])
    # A str is an iterable of str too.
    assert_type(nlptasks.run(Sentiment, anything), Classification | Results[Classification])


def by_type_of_task(
    task: Task[Any, Any, Classification], kind: type[Task[Any, Any, Answer]], unknown: Task[Any, Any, Any]
) -> None:
    assert_type(nlptasks.run(task, "Lovely."), Classification)
    assert_type(nlptasks.run(task, ["Lovely."]), Results[Classification])
    assert_type(nlptasks.run(kind, question="Who?", context="Ada."), Answer)
    assert_type(nlptasks.run(unknown, "Lovely."), Any)
    assert_type(nlptasks.tasks()["sentiment"], Task[Any, Any, Any])


def streams(engine: Engine) -> None:
    assert_type(nlptasks.stream(Generation, "Once"), Stream[GeneratedText])
    assert_type(nlptasks.stream(Generation, chat).result(), GeneratedText)
    with engine.stream(Summarization(), "A long report.") as pieces:
        assert_type(list(pieces), list[str])
        assert_type(pieces.result(), Summary)


async def in_async_code(engine: Engine, either: str | list[str]) -> None:
    assert_type(await nlptasks.arun(Sentiment, "Lovely."), Classification)
    assert_type(await nlptasks.arun(Sentiment(), ["Lovely."]), Results[Classification])
    assert_type(await nlptasks.arun("sentiment", "Lovely."), Any)
    assert_type(await engine.arun(Qa, ["Who?"], context="Ada."), Results[Answer])
    assert_type(await engine.arun(Qa, ("Who?", "Ada.")), Any)
    assert_type(await engine.arun(Sentiment, either), Classification | Results[Classification])
    assert_type(nlptasks.astream(Generation, "Once"), AsyncStream[GeneratedText])
    async for piece in engine.astream("generation", "Once", max_new_tokens=9):
        assert_type(piece, str)


def with_an_engine(engine: Engine) -> None:
    assert_type(engine.run(Sentiment, "Lovely."), Classification)
    assert_type(engine.run(Sentiment(), ["Lovely."]), Results[Classification])
    assert_type(engine.run("sentiment", "Lovely."), Any)
