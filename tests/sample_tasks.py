"""Tasks for tests: three good ones, and bad ones that differ from a good one in one thing each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from nlptasks.errors import CancelledError, UnparsableOutputError
from nlptasks.families.text_classification import TextClassification
from nlptasks.families.text_to_text import GenerationOptions, TextToText
from nlptasks.model import Decoding, Model
from nlptasks.results import Message, Result
from nlptasks.task import Task, TaskInput, TaskOptions, TextInput


class Mood(TextClassification):
    """How a text feels."""

    name = "mood"
    labels = ("calm", "upset")
    examples = ("All is well.", "Not again!")


class TitleResult(Result):
    title: str = Field(description="The title.")


class Title(TextToText[TextInput, GenerationOptions, TitleResult]):
    """A title for a text."""

    name = "title"
    result_type = TitleResult
    examples = ("A long text about rain.",)

    def prompt(self, inputs: TextInput, options: GenerationOptions) -> list[Message]:
        return [Message(role="user", content=f"Give this text a title:\n{inputs.text}")]

    def parse(self, inputs: TextInput, completion: str) -> TitleResult:
        _, found, title = completion.partition("TITLE:")
        if not found:
            raise UnparsableOutputError(self.name, "TITLE: ...", completion)
        return TitleResult(title=title.strip())

    def target(self, result: TitleResult) -> str:
        return f"TITLE: {result.title}"


TITLES = [
    (TextInput(text="A long text about rain."), TitleResult(title="Rain")),
    ("Snow fell all night.", {"title": "Snow"}),
]


class Echo(Task[Any, Any, Any]):
    """A task of the plainest kind; the bad tasks below change one thing each."""

    name = "echo"
    result_type = TitleResult
    examples = ("one", "two")

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        done = model.generate([item.text for item in inputs], Decoding())
        return [TitleResult(title=completion.text) for completion in done]


class NoSummary(Echo):
    pass


class NoExample(Echo):
    """Summary."""

    examples = ()


class BadExample(Echo):
    """Summary."""

    examples = ("fine", " ")


class LooseInput(TaskInput):
    text: str = Field(description="The text.")


class AcceptsBlank(Echo):
    """Summary."""

    input_type = LooseInput


class NakedInput(TaskInput):
    text: str = Field(pattern=r"\S")


class NakedInputTask(Echo):
    """Summary."""

    input_type = NakedInput


class NakedOptions(TaskOptions):
    size: int = 1


class NakedOptionsTask(Echo):
    """Summary."""

    options_type = NakedOptions


class RequiredOptions(TaskOptions):
    size: int = Field(description="Size.")


class RequiredOptionsTask(Echo):
    """Summary."""

    options_type = RequiredOptions


class AsciiInput(TaskInput):
    text: str = Field(pattern=r"^[ -~]*[!-~][ -~]*$", description="The text.")


class AsciiOnly(Echo):
    """Summary."""

    input_type = AsciiInput


class OneByOne(Echo):
    """Summary."""

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        return [result for item in inputs for result in super(OneByOne, self).run([item], options, model)]


class LosesOne(Echo):
    """Summary."""

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        return super().run(inputs, options, model)[:1]


class GivesTuple(Echo):
    """Summary."""

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> Any:
        return tuple(super().run(inputs, options, model))


class GivesText(Echo):
    """Summary."""

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        return [result.title for result in super().run(inputs, options, model)]


class Sorts(Echo):
    """Summary."""

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        return sorted(super().run(inputs, options, model), key=lambda result: str(result.title))


class Crashes(Echo):
    """Summary."""

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        raise KeyError("left")


class CrashesOnEmoji(Echo):
    """Summary."""

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        for item in inputs:
            item.text.encode("latin-1")
        return super().run(inputs, options, model)


class SwallowsCancel(Echo):
    """Summary."""

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        try:
            return super().run(inputs, options, model)
        except CancelledError:
            return [TitleResult(title="") for _ in inputs]


class HashResult(Result):
    value: float = Field(description="A value.")


class GivesNan(Echo):
    """Summary."""

    result_type = HashResult

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        model.generate([item.text for item in inputs], Decoding())
        return [HashResult(value=math.inf) for _ in inputs]


class BadHf(TitleResult):
    def to_hf(self) -> Any:
        return {self.title}


class GivesSet(Echo):
    """Summary."""

    result_type = BadHf

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        return [BadHf(title=result.title) for result in super().run(inputs, options, model)]


class UnevenTitle(Title):
    """Summary."""

    def target(self, result: TitleResult) -> str:
        return f"TITLE: {result.title.upper()}"


class UnreadableTitle(Title):
    """Summary."""

    def target(self, result: TitleResult) -> str:
        return result.title


class BadName(Echo):
    """Summary."""

    name = "Echo Task"


class NoSchema(TaskInput):
    text: str = Field(pattern=r"\S", description="The text.")

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        raise TypeError("cannot say it in JSON")


class NoSchemaTask(Echo):
    """Summary."""

    input_type = NoSchema
