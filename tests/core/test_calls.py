"""Calls by a task's class or instance, and the module's functions beside the engine's methods."""

from __future__ import annotations

import asyncio
import inspect
import pydoc
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import nlptasks
from nlptasks import Engine, NlptasksError, Plugins, Result, Settings, Task, TaskInput, TaskOptions, hookimpl
from tests.sample_tasks import Mood, TitleResult

CALLS = ("run", "stream", "arun", "astream")


class Shout(Task[nlptasks.TextInput, TaskOptions, TitleResult]):
    """A text in capitals."""

    name = "shout"
    result_type = TitleResult

    def run(self, inputs: Sequence[nlptasks.TextInput], options: TaskOptions, model: Any) -> list[TitleResult]:
        return [TitleResult(title=item.text.upper()) for item in inputs]


class Verse(nlptasks.TextToText[nlptasks.TextInput, nlptasks.GenerationOptions, TitleResult]):
    """A line that goes on."""

    name = "verse"
    result_type = TitleResult

    def prompt(self, inputs: nlptasks.TextInput, options: nlptasks.GenerationOptions) -> str:
        return inputs.text

    def parse(self, inputs: nlptasks.TextInput, completion: str) -> TitleResult:
        return TitleResult(title=completion)

    def target(self, result: TitleResult) -> str:
        return result.title


class Loud(Shout):
    """A subclass with the name of its parent."""


class Marked(Shout):
    """A task that is made with an argument."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def run(self, inputs: Sequence[nlptasks.TextInput], options: TaskOptions, model: Any) -> list[TitleResult]:
        return [TitleResult(title=item.text + self.mark) for item in inputs]


class Named:
    @hookimpl
    def register_tasks(self, register: Any) -> None:
        register(SHOUT)


SHOUT = Shout()


@pytest.fixture
def engine(settings: Settings, tiny_causal: Path) -> Iterator[Engine]:
    plugins = Plugins(settings)
    plugins.register(Named(), "shout")
    with Engine(str(tiny_causal), settings=settings, plugins=plugins) as made:
        yield made


def test_a_class_an_instance_and_a_name_give_the_same_answers(engine: Engine) -> None:
    by_name = engine.run("shout", ["rain", "snow"])
    assert [result.title for result in by_name] == ["RAIN", "SNOW"]
    assert engine.run(Shout, ["rain", "snow"]) == by_name
    assert engine.run(SHOUT, ["rain", "snow"]) == by_name
    assert engine.run(Shout, "rain") == engine.run(Shout, text="rain") == by_name[0]
    assert asyncio.run(engine.arun(Shout, ["rain", "snow"])) == by_name


def test_a_task_that_nobody_registered_is_run(engine: Engine) -> None:
    assert engine.run(Marked("!"), "rain").title == "rain!"
    assert engine.run(Mood, "All is well.").label in Mood.labels
    whole = engine.run(Verse, "Rain", max_new_tokens=6)
    with engine.stream(Verse(), "Rain", max_new_tokens=6) as pieces:
        assert "".join(pieces) == whole.title
        assert pieces.result() == whole
    assert asyncio.run(_written(engine)) == whole.title
    assert list(engine.plugins.tasks) == ["shout"]


async def _written(engine: Engine) -> str:
    return "".join([piece async for piece in engine.astream(Verse, "Rain", max_new_tokens=6)])


def test_a_class_stands_for_the_registered_instance_of_exactly_this_class(engine: Engine) -> None:
    assert engine.plugins.task(Shout) is SHOUT
    other = Shout()
    assert engine.plugins.task(other) is other
    assert type(engine.plugins.task(Loud)) is Loud


def test_what_is_no_task_is_one_sentence(engine: Engine) -> None:
    for wrong in (dict, 7, None, TaskInput):
        with pytest.raises(NlptasksError) as caught:
            engine.run(wrong, "rain")  # type: ignore[call-overload]
        assert (
            str(caught.value)
            == f"Expected a task's name, or a subclass or an instance of nlptasks.Task, found {wrong!r}."
        )


def test_a_task_that_cannot_be_made_or_used_says_why(engine: Engine) -> None:
    with pytest.raises(NlptasksError) as caught:
        engine.run(Marked, "rain")
    assert str(caught.value) == (
        "Marked cannot be made without arguments (Marked.__init__() missing 1 required positional argument: 'mark'): "
        "pass an instance of it."
    )

    class Nameless(Task[Any, Any, Any]):
        result_type = TitleResult

        def run(self, inputs: Sequence[Any], options: Any, model: Any) -> list[Any]:
            return []

    with pytest.raises(NlptasksError) as caught:
        engine.run(Nameless(), "rain")
    assert str(caught.value) == (
        "The task Nameless is not usable: expected a task name of lower-case words joined by - or _, found None."
    )


class Letter(TaskInput):
    """A text and its languages."""

    text: str
    target_language: str = "en"
    source_language: str | None = None


class Translate(Shout):
    """A task whose input has more than a text."""

    input_type = Letter
    options_type = nlptasks.GenerationOptions


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("target", "did you mean 'target_language'?"),
        ("language", "did you mean 'target_language'?"),
        ("source", "did you mean 'source_language'?"),
        ("to", f"known: {', '.join(nlptasks.GenerationOptions.model_fields)}, target_language, source_language."),
    ],
)
def test_an_unknown_option_may_be_meant_for_a_field_of_the_input(engine: Engine, option: str, hint: str) -> None:
    with pytest.raises(nlptasks.InvalidInputError) as caught:
        engine.run(Translate, "rain", **{option: "fr"})
    assert caught.value.problems == (f"option {option!r} is not known; {hint}",)


def test_errors_of_a_class_call_name_the_task(engine: Engine) -> None:
    with pytest.raises(nlptasks.InvalidInputError, match=r"shout cannot run this:\n  option 'size' is not known"):
        engine.run(Shout, "rain", size=3)
    with pytest.raises(nlptasks.InvalidInputError, match=r"^shout does not stream:"):
        engine.stream(Shout, "rain")
    with pytest.raises(
        nlptasks.InvalidInputError, match=r"^verse streams one input:\n  expected 1, found 2: use run\."
    ):
        engine.stream(Verse, ["rain", "snow"])


@pytest.mark.parametrize("name", CALLS)
def test_the_functions_have_the_signature_and_the_help_of_the_engines_methods(name: str, engine: Engine) -> None:
    function, method = getattr(nlptasks, name), getattr(engine, name)
    assert inspect.signature(function) == inspect.signature(method)
    assert inspect.getdoc(function) == inspect.getdoc(method)
    assert list(inspect.signature(function).parameters)[:4] == ["task", "inputs", "adapter", "model"]
    assert "Raises:" in (inspect.getdoc(function) or "")
    assert inspect.iscoroutinefunction(function) == (name == "arun")
    page = pydoc.plain(pydoc.render_doc(function))
    assert f"{name}(task: " in page
    assert "adapter: 'str | None' = None" in page or "adapter: str | None = None" in page


def test_options_of_async_calls_are_those_of_run_and_stream() -> None:
    def options(name: str) -> dict[str, inspect.Parameter]:
        return dict(inspect.signature(getattr(Engine, name)).parameters)

    assert options("arun") == options("run")
    assert options("astream") == options("stream")


@pytest.mark.long
def test_the_default_engine_is_set_up_by_its_first_use_and_once() -> None:
    code = """
import threading
import nlptasks, nlptasks.engine, nlptasks.plugins
nlptasks.run, nlptasks.stream
assert nlptasks.plugins._default is None, "plugins were loaded before they were needed"
engine = nlptasks.engine.default_engine()
seen = []
threads = [threading.Thread(target=lambda: seen.append(engine.plugins)) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len({id(plugins) for plugins in seen}) == 1 and len(seen) == 8
try:
    engine.nonsense
except AttributeError as error:
    print(error)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert process.returncode == 0, process.stderr
    assert "no attribute 'nonsense'" in process.stdout


@pytest.mark.long
def test_settings_that_cannot_be_read_fail_the_call_and_not_the_import(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = """
import os, nlptasks
try:
    nlptasks.run("shout", "rain")
except nlptasks.NlptasksError as error:
    print(error)
os.environ["NLPTASKS_PROFILE"] = "embedded"
try:
    nlptasks.run("no-such-task", "rain")
except nlptasks.UnknownNameError as error:
    print(error)
"""
    monkeypatch.setenv("NLPTASKS_PROFILE", "nonsense")
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    first, second = process.stdout.splitlines()
    assert "NLPTASKS_PROFILE" in first
    assert second.startswith("Unknown task 'no-such-task'.")


def test_a_result_knows_its_model_whatever_stands_for_the_task(engine: Engine, tiny_causal: Path) -> None:
    result: Result = engine.run(Shout, "rain")
    assert (result.model, result.adapter) == (str(tiny_causal), None)
