"""A third party's tasks have typed results too, and need no registration."""

from collections.abc import Sequence
from typing import Any, assert_type

from pydantic import Field

import nlptasks
from nlptasks import (
    Classification,
    Entities,
    GenerationOptions,
    Model,
    Prompt,
    Recipe,
    Result,
    Results,
    Task,
    TaskInput,
    TaskOptions,
    TextClassification,
    TextInput,
    TextToText,
    TokenClassification,
)


class Urgency(TextClassification):
    """How urgent a support ticket is."""

    name = "urgency"
    labels = ("low", "high")
    recipe = Recipe(base="minilm", num_train_epochs=4)


class Parts(TokenClassification):
    """Parts in an order."""

    name = "parts"
    labels = ("PART",)


class Headline(Result):
    """A headline."""

    headline: str = Field(description="The headline.")


class Headlines(TextToText[TextInput, GenerationOptions, Headline]):
    """A headline for an article."""

    name = "headlines"
    result_type = Headline

    def prompt(self, inputs: TextInput, options: GenerationOptions) -> Prompt:
        return inputs.text

    def parse(self, inputs: TextInput, completion: str) -> Headline:
        return Headline(headline=completion)

    def target(self, result: Headline) -> str:
        return result.headline


class Pair(TaskInput):
    """Two texts."""

    first: str
    second: str


class Overlap(Result):
    """How much two texts have in common."""

    share: float = Field(description="Share of words.")


class WordOverlap(Task[Pair, TaskOptions, Overlap]):
    """Words that two texts share."""

    name = "word-overlap"
    input_type = Pair
    result_type = Overlap

    def __init__(self, language: str) -> None:
        self.language = language

    def run(self, inputs: Sequence[Pair], options: TaskOptions, model: Model) -> list[Overlap]:
        return [Overlap(share=float(item.first == item.second)) for item in inputs]


assert_type(nlptasks.run(Urgency, "It is down!"), Classification)
assert_type(nlptasks.run(Urgency(), ["It is down!"]), Results[Classification])
assert_type(nlptasks.run(Parts, "Two brushes."), Entities)
assert_type(nlptasks.run(Headlines, "Snow fell all night.").headline, str)
assert_type(nlptasks.stream(Headlines(), "Snow fell all night.").result(), Headline)
assert_type(nlptasks.run(WordOverlap("en"), first="a", second="b"), Overlap)
assert_type(nlptasks.run(WordOverlap("en"), [Pair(first="a", second="b")]), Results[Overlap])


class Loose(Task[Any, Any, Any]):
    """A task that says nothing of its types."""

    name = "loose"

    def run(self, inputs: Sequence[Any], options: Any, model: Model) -> list[Any]:
        return []


assert_type(nlptasks.run(Loose, "x"), Any)
