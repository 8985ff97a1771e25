"""What all surfaces share: work in threads, sentences of errors, types of fields, downloads, texts in a line."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import aclosing
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from nlptasks import CancelledError, CancelToken, DataError, InvalidInputError, Message, UnknownNameError
from nlptasks.store import Progress
from nlptasks.surfaces import (
    DownloadBar,
    DownloadLog,
    Downloads,
    annotation_of,
    in_thread,
    json_type,
    limits,
    message,
    one_line,
    sentence,
    words,
)
from nlptasks.surfaces.text import _excerpt


async def read(call: Any, **arguments: Any) -> list[Any]:
    async with aclosing(in_thread(call, every=0.01, **arguments)) as steps:
        return [step async for step in steps]


def test_a_call_in_a_thread_gives_signs_of_life_and_then_its_value() -> None:
    names = []

    def call() -> str:
        names.append(threading.current_thread().name)
        time.sleep(0.1)
        return "done"

    *waits, value = asyncio.run(read(call))
    assert value == "done"
    assert len(waits) >= 2
    assert set(waits) == {None}
    assert names[0].startswith("nlptasks-surface")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no forks")
def test_a_forked_process_has_threads_of_its_own() -> None:
    code = """
    import asyncio, os, sys
    from contextlib import aclosing
    from nlptasks.surfaces import in_thread

    async def read():
        async with aclosing(in_thread(lambda: 7, every=0.01)) as steps:
            return [step async for step in steps][-1]

    assert asyncio.run(read()) == 7
    if (child := os.fork()) == 0:
        os._exit(asyncio.run(asyncio.wait_for(read(), 20)))
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, timeout=60, check=False)
    assert ended.returncode == 7, ended.stderr


def test_a_call_that_fails_raises_where_it_is_read() -> None:
    def call() -> str:
        raise UnknownNameError("task", "sentimant", ["sentiment"])

    with pytest.raises(UnknownNameError, match="Did you mean 'sentiment'"):
        asyncio.run(read(call))


def test_leaving_the_loop_cancels_a_call_that_runs_and_no_other() -> None:
    ended = threading.Event()

    def call(token: CancelToken) -> str:
        while not token.cancelled:
            time.sleep(0.01)
        ended.set()
        return "stopped"

    async def leave(token: CancelToken) -> None:
        async with aclosing(in_thread(lambda: call(token), every=0.01, cancel=token)) as steps:
            async for _ in steps:
                break

    asyncio.run(leave(CancelToken()))
    assert ended.wait(2)
    token = CancelToken()
    assert asyncio.run(read(lambda: "at once", cancel=token))[-1] == "at once"
    assert not token.cancelled, "the same token serves what comes next"


def test_a_cancelled_call_may_still_give_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlptasks.surfaces.work.GRACE", 0.2)
    token, released = CancelToken(), threading.Event()
    token.cancel()
    assert asyncio.run(read(lambda: time.sleep(0.05) or "a draft", cancel=token)) == ["a draft"]
    try:
        with pytest.raises(CancelledError):
            asyncio.run(read(lambda: released.wait(5), cancel=token))
    finally:
        released.set()


def test_an_error_is_one_line_on_a_page_and_a_line_a_problem_on_a_terminal() -> None:
    faults = InvalidInputError(
        "qa: the input is not valid", ["question: expected a text", "top_k: expected 1 or more."]
    )
    assert sentence(faults) == "Question: expected a text. top_k: expected 1 or more."
    assert message(faults).splitlines() == [
        "qa: the input is not valid:",
        "  question: expected a text",
        "  top_k: expected 1 or more.",
    ]
    rows = DataError("rows.csv: 2 bad rows", ["rows.csv:3: no label", "rows.csv:7: no text"])
    assert sentence(rows) == "rows.csv: 2 bad rows rows.csv:3: no label rows.csv:7: no text."
    assert message(DataError("no rows are left")) == "No rows are left."
    assert sentence(CancelledError("by the caller")) == "Stopped."


def test_an_unforeseen_error_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert sentence(ZeroDivisionError("division by zero")) == (
        "This failed inside the program (ZeroDivisionError: division by zero)."
    )
    assert sentence(ValueError()) == "This failed inside the program (ValueError)."
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


class Options(BaseModel):
    share: float = Field(0.5, gt=0, lt=1)
    count: int = Field(1, ge=1, le=9)
    rate: float | None = Field(None, gt=0)
    word: str = "x"


def test_open_bounds_are_not_told_as_closed_ones() -> None:
    described = {name: limits(field) for name, field in Options.model_fields.items()}
    assert described == {
        "share": "(greater than 0, less than 1)",
        "count": "(at least 1, at most 9)",
        "rate": "(greater than 0)",
        "word": "",
    }


@pytest.mark.parametrize(
    ("annotation", "plain"),
    [
        (Annotated[int, Field(ge=1)], int),
        (tuple[str, ...], list[str]),
        (frozenset[float], list[float]),
        (Literal["a", "b"], Literal["a", "b"]),
        (tuple[Message, ...] | None, list[dict] | None),
        (Options, dict),
        (complex, Any),
    ],
)
def test_types_of_fields_as_json_has_them(annotation: Any, plain: Any) -> None:
    assert json_type(annotation) == plain


def test_none_and_constraints_are_taken_off_a_type() -> None:
    assert annotation_of(Annotated[int, Field(ge=1)] | None) == (int, True)
    assert annotation_of(int | str | None) == (int | str, True)
    assert annotation_of(list[str]) == (list[str], False)


def test_a_download_is_told_as_a_line_and_as_few_lines() -> None:
    downloads, lines = Downloads(), list[str]()
    log = DownloadLog(lines.append, percent=25)
    assert downloads.line() == ""
    for percent in range(0, 101, 5):
        for listen in (downloads, log):
            listen(Progress("minilm: downloading", percent, 100))
        assert downloads.line() == f"minilm: downloading, {percent} %"
    log(Progress("minilm: checking", 7, None))
    assert lines == [*(f"minilm: downloading, {share} %" for share in (0, 25, 50, 75, 100)), "minilm: checking"]


def test_where_there_is_no_terminal_a_download_is_a_line_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    with DownloadBar() as bar:
        for percent in (0, 50, 100):
            bar(Progress("minilm: downloading", percent, 100))
        bar(Progress("minilm: checking", 0, None))
    assert capsys.readouterr().err == "minilm: downloading\nminilm: checking\n"


def test_an_input_in_a_line_has_no_names_of_fields() -> None:
    chat = [{"role": "user", "content": "Hello\nthere"}, {"role": "assistant", "content": "Hi"}]
    assert words({"messages": chat}) == "Hello\nthere | Hi"
    assert one_line(Message(role="user", content="So  it\tgoes"), 90) == "So it goes"
    assert one_line("a" * 50, 10) == "a" * 9 + "…"


@given(st.text(st.sampled_from("ab .!?\n\t。Mr"), max_size=900), st.data())
def test_the_sentence_around_a_span_holds_the_span(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    line, first, last = _excerpt(text, start, end)
    assert line[first:last] == re.sub(r"\s+", " ", text[start:end])
    assert "\n" not in line


def test_the_sentence_around_a_span_ends_where_it_ends() -> None:
    text = "It rained. Mr. Lind took the last train to Narvik, and nobody saw him again! The rest is known."
    start = text.index("Narvik")
    line, first, last = _excerpt(text, start, start + 6)
    assert line == "Mr. Lind took the last train to Narvik, and nobody saw him again!"
    assert line[first:last] == "Narvik"
    long = "word " * 200 + "Narvik " + "word " * 200
    line, first, last = _excerpt(long, long.index("Narvik"), long.index("Narvik") + 6)
    assert line.startswith("…")
    assert line.endswith("…")
    assert len(line) < 340
