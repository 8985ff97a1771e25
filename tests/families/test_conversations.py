"""The shapes of chat and instruction data, each read as its makers mean it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nlptasks
from nlptasks import InvalidInputError, Message
from nlptasks.data.labelled_texts import DataOptions
from nlptasks.plugins import default_plugins
from nlptasks.requests import read_request
from nlptasks.testing import FakeModel
from nlptasks.training.families.base import family_trainer
from nlptasks_plugins.conversations import training_pairs
from nlptasks_plugins.generation import Generation

USER, SAID = Message(role="user", content="Name a river."), Message(role="assistant", content="The Rhine.")


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER.model_dump(), SAID.model_dump()]},
        {"conversations": [{"from": "human", "value": "Name a river."}, {"from": "gpt", "value": "The Rhine."}]},
        {"instruction": "Name a river.", "input": "", "output": "The Rhine."},
        {"instruction": "Name a river.", "context": None, "response": "The Rhine.", "category": "open"},
        {"question": "Name a river.", "answer": "The Rhine."},
    ],
)
def test_a_question_with_its_answer_is_a_chat(row: dict[str, Any]) -> None:
    assert list(training_pairs(row)) == [((USER,), "The Rhine.")]


def test_every_answer_of_a_long_chat_is_learnt_after_what_was_said_before() -> None:
    more = [Message(role="user", content="Another?"), Message(role="assistant", content="The Rhône.")]
    system = Message(role="system", content="Be brief.")
    turns = list(training_pairs({"messages": [turn.model_dump() for turn in (system, USER, SAID, *more)]}))
    assert turns == [((system, USER), "The Rhine."), ((system, USER, SAID, more[0]), "The Rhône.")]


def test_what_stands_beside_an_instruction_is_read_with_it() -> None:
    [(prompt, target)] = training_pairs({"instruction": "Sum up.", "input": "It rains.", "output": "Rain."})
    assert (prompt[0].content, target) == ("Sum up.\n\nIt rains.", "Rain.")  # type: ignore[union-attr]


def test_plain_text_stays_plain() -> None:
    assert list(training_pairs({"prompt": "A river:", "completion": " the Rhine"})) == [("A river:", " the Rhine")]
    assert list(training_pairs({"text": "It rains."})) == [("", "It rains.")]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"title": "x"}, "expected messages, conversations, .* found title"),
        ({"messages": [USER.model_dump()]}, "expected a turn of the assistant behind another one, found none"),
        ({"messages": ["hello"]}, "turn 1: expected role and content, found 'hello'"),
        ({"messages": [{"role": "cat", "content": "miaow"}]}, "turn 1: expected a role .* found 'cat' and 'miaow'"),
    ],
)
def test_other_rows_are_refused_with_a_sentence(row: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        list(training_pairs(row))


def test_the_task_trains_on_them() -> None:
    task = nlptasks.tasks()["generation"]
    [example] = task.training_examples({"messages": [USER.model_dump(), SAID.model_dump()]}, task.options_type())  # type: ignore[attr-defined]
    assert task.prompt(example.inputs, example.options) == [USER]  # type: ignore[attr-defined]
    [plain] = task.training_examples({"text": "It rains."}, task.options_type())  # type: ignore[attr-defined]
    assert (task.prompt(plain.inputs, plain.options), plain.target) == ("", "It rains.")  # type: ignore[attr-defined]


def test_rows_of_plain_text_are_told_apart(tmp_path: Path) -> None:
    """A split keeps equal texts together and training drops those that are held out: they need a text to look at."""
    data = tmp_path / "texts.jsonl"
    data.write_text('{"text": "It rains."}\n{"text": "It snows."}\n{"prompt": "Sky:", "completion": " grey"}\n')
    family = family_trainer(default_plugins().task("generation"))
    read = family.read([str(data)], DataOptions())
    assert [family.row_text(row) for row in read.rows] == ["It rains.", "It snows.", "Sky:"]


def test_a_prompt_that_nothing_follows_has_a_note() -> None:
    task, model = Generation(), FakeModel(kind="causal", completions=lambda prompt: "")
    plain = task.run(task.validate(["Write a story."]), task.validate_options({}), model)[0]
    assert plain.note == (
        "nothing was written: a plain prompt is continued, and this one seems complete; the option chat answers it"
    )
    assert task.run(task.validate(["Write a story."]), task.validate_options({"chat": True}), model)[0].note is None


@pytest.mark.parametrize(
    ("turns", "faults"),
    [
        ([{"role": "user"}], ["input 'messages.0.content': expected a text, found none."]),
        ([USER, {"content": "Hi"}], ["input 'messages.1.role': expected a value, found none."]),
        (
            [{"role": "user", "content": "Hi", "name": "Ana"}],
            ["input 'messages.0.name' is not known; known: role, content."],
        ),
        (
            [{"role": "user", "contents": "Hi"}],
            [
                "input 'messages.0.content': expected a text, found none.",
                "input 'messages.0.contents' is not known; did you mean 'content'?",
            ],
        ),
    ],
)
def test_a_faulty_turn_is_a_turn(turns: list[Any], faults: list[str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_request(default_plugins().task("generation"), turns, {})
    assert list(caught.value.problems) == faults
