"""`-o KEY VALUE`: JSON where the field takes it, text where the field is a text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from nlptasks import Model, Result, Task, TaskInput, TaskOptions
from nlptasks.cli.common import option_values
from nlptasks.cli.inputs import fields_and_options
from nlptasks.plugins import default_plugins
from nlptasks_ui import snippets


class Tone(Enum):
    KIND = "kind"


class Turn(BaseModel):
    who: str
    words: str


class FormInput(TaskInput):
    """Fields of many types."""

    text: str = Field(description="A text.")
    keywords: tuple[str, ...] = Field(default=(), description="Words.")
    weights: dict[str, float] = Field(default_factory=dict, description="Weights.")
    turns: list[Turn] = Field(default_factory=list, description="Turns.")
    year: str | int = Field(default=1, description="A year.")
    note: str | None = Field(default=None, description="A note.")
    tone: Tone | None = Field(default=None, description="A tone.")
    source: str | list[str] = Field(default="", description="One or more.")


class FormOptions(TaskOptions):
    """Options of many types."""

    system: str | None = Field(default=None, description="A text.")
    size: int = Field(default=1, description="A number.")
    mode: Literal["1", "fast"] = Field(default="fast", description="A mode.")
    stop: tuple[str, ...] = Field(default=(), description="Texts.")


class Form(Task[FormInput, FormOptions, Result]):
    """A task with a form."""

    name = "form"
    input_type = FormInput
    options_type = FormOptions

    def run(self, inputs: Sequence[FormInput], options: FormOptions, model: Model) -> list[Result]:
        return []


def read(*pairs: tuple[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    return fields_and_options(Form(), pairs)


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("keywords", '["a", "b"]', ["a", "b"]),
        ("weights", '{"a": 0.5}', {"a": 0.5}),
        ("turns", '[{"who": "Ana", "words": "Hi"}]', [{"who": "Ana", "words": "Hi"}]),
        ("source", '["a", "b"]', ["a", "b"]),
        ("source", "[draft", "[draft"),
        ("text", "1984", "1984"),
        ("text", '"quoted"', '"quoted"'),
        ("text", '["a"]', '["a"]'),
        ("note", "null", "null"),
        ("note", "true", "true"),
        ("tone", "kind", "kind"),
        ("tone", "null", None),
        ("year", "1984", 1984),
    ],
)
def test_an_input_field_takes_json_unless_it_is_a_text(field: str, text: str, value: Any) -> None:
    assert read((field, text)) == ({field: value}, {})


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("system", "1984", "1984"),
        ("size", "3", 3),
        ("size", "three", "three"),
        ("mode", "1", "1"),
        ("stop", '["a"]', ["a"]),
        ("stop", "5", ["5"]),
        ("stop", "a, b", ["a", "b"]),
        ("stop", "", ""),
    ],
)
def test_an_option_that_is_a_text_is_not_read_as_json(option: str, text: str, value: Any) -> None:
    assert read((option, text)) == ({}, {option: value})


@pytest.mark.parametrize(
    ("task", "option", "text", "value"),
    [
        ("ner", "labels", "per", ["per"]),
        ("ner", "labels", "PER, LOC", ["PER", "LOC"]),
        ("ner", "labels", "null", None),
        ("classify", "labels", "billing,bug", "billing,bug"),
        ("classify", "labels", '["billing", "bug"]', ["billing", "bug"]),
        # A comma may belong to what ends a text, and to a text to compare with.
        ("generation", "stop", "5", "5"),
        ("generation", "stop", "Yes, sir", "Yes, sir"),
        ("generation", "stop", '["a", "b"]', ["a", "b"]),
        ("similarity", "candidates", "Hello, world", "Hello, world"),
        ("similarity", "candidates", '["a", "b"]', ["a", "b"]),
        ("sentiment", "threshold", "7", 7),
    ],
)
def test_lists_of_every_task_read_plain_words(task: str, option: str, text: str, value: Any) -> None:
    known = default_plugins().task(task)
    assert option_values(((option, text),), known.options_type, known.input_type) == {option: value}


def test_a_name_that_no_type_knows_is_json_or_text() -> None:
    assert option_values((("learning-rate", "0.1"), ("name", "x"))) == {"learning_rate": 0.1, "name": "x"}


def test_the_command_of_a_form_gives_the_values_of_the_form() -> None:
    fields = {
        "text": "1984",
        "keywords": ("a", "b"),
        "weights": {"a": 0.5},
        "turns": [Turn(who="Ana", words='"Hi"')],
        "note": "[see below]",
        "source": "null",
    }
    options = {"system": "42", "stop": ("END",)}
    words = shlex.split(snippets.command(snippets.Request(Form(), fields, options)))
    assert words[:4] == ["nlptasks", "run", "form", "1984"]
    pairs = tuple((words[i + 1], words[i + 2]) for i, word in enumerate(words) if word == "-o")
    read_fields, read_options = fields_and_options(Form(), pairs)
    assert Form().validate([{"text": words[3], **read_fields}]) == [FormInput(**fields)]
    assert Form().validate_options(read_options) == FormOptions(**options)
