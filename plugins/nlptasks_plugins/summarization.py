"""Summarization: an article or a dialogue of any length → a few sentences, or a list."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nlptasks
from nlptasks import (
    Message,
    Model,
    ModelInfo,
    Prompt,
    Recipe,
    SummarizationOptions,
    Summary,
    TextInput,
    TrainingExample,
    hookimpl,
)
from nlptasks_plugins.english import noted

_SIZES = {"short": "one sentence", "medium": "three sentences", "long": "six to eight sentences"}
_TEXTS = ("text", "document", "article", "dialogue")
_SUMMARIES = ("summary", "highlights", "target", "summaries")
_ROOM = 0.55
"""Words of a document that fit a training row, for each token of it: prompt, summary and end take their share."""


class Summarization(nlptasks.Summarization[TextInput, SummarizationOptions]):
    """A text of any length in a few sentences or as a list."""

    name = "summarization"
    aliases = ("summarize",)
    adapter = Path(__file__).parent / "adapters" / "summarization"
    hub_base = "facebook/bart-large-cnn"
    recipe = Recipe(
        base="smollm2",
        learning_rate=2e-4,
        num_train_epochs=2,
        per_device_train_batch_size=8,
        max_length=1024,
        min_steps=30,
        metric_for_best_model="loss",
    )
    examples = (
        "The harbour town of Marrow Point voted on Tuesday to close its last coal pier after ninety-one years. The "
        "pier once loaded forty ships a week, but last year only six called there. The site will become a terminal for "
        "a ferry to the outer islands. Dockworkers fear for their jobs; the town promised to pay for their training.",
        "Maya: Did you book the train for Saturday?\nTom: Not yet, the early one is already full.\n"
        "Maya: Then take the one at 9:40, the party starts at one.\nTom: Ok, I'll book two seats now.",
    )
    phrases = (
        "Summarize this text.",
        "Give me the short version of this.",
        "What are the main points of this article?",
        "Sum this up in a few sentences.",
        "Shorten this document.",
        "What is this about, in brief?",
    )

    def run(self, inputs: Sequence[TextInput], options: SummarizationOptions, model: Model) -> list[Summary]:
        return noted(super().run(inputs, options, model), [item.text for item in inputs], model)

    def stream(self, inputs: TextInput, options: SummarizationOptions, model: Model) -> Generator[str, None, Summary]:
        summary = yield from super().stream(inputs, options, model)
        return noted([summary], [inputs.text], model)[0]

    def prompt(self, inputs: TextInput, options: SummarizationOptions) -> Prompt:
        # A small model that reads the request first continues a dialogue; one that reads it last summarizes it.
        request = f"Write a short summary of the text above in {_size(options)}. Use only facts from the text."
        return [Message(role="user", content=f"{inputs.text}\n\n{request}")]

    def ask(self, inputs: TextInput, options: SummarizationOptions, info: ModelInfo) -> Prompt:
        if info.kind == "causal" and not info.has_chat_template:
            return f"Text:\n{inputs.text}\n\nThe text in {_size(options)}:\n"
        return super().ask(inputs, options, info)

    def training_examples(
        self, row: Mapping[str, Any], options: SummarizationOptions
    ) -> Sequence[TrainingExample[TextInput, SummarizationOptions]]:
        """A document and its summary; of several `summaries` the first.

        The example asks for the length that the summary has, unless the training names one, so that the three lengths
        are learnt. Serving cuts a long document into chunks; of one that does not fit a row the beginning is taken.
        """
        document = _first(row, _TEXTS)
        summary = " ".join(_first(row, _SUMMARIES).split())
        [inputs] = self.validate([{"text": _beginning(document, int(self.recipe.max_length * _ROOM))}])
        if "length" not in options.model_fields_set:
            options = options.model_copy(update={"length": _length(len(summary.split()))})
        return [TrainingExample(inputs, options, summary)]


def _size(options: SummarizationOptions) -> str:
    return _SIZES.get(str(options.length), f"about {options.length} words")


def _length(words: int) -> str:
    return "short" if words <= 30 else "medium" if words <= 90 else "long"


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """The text in the first of these columns that the row has."""
    for name in names:
        value = row.get(name)
        value = value[0] if isinstance(value, list | tuple) and value else value
        if isinstance(value, str) and value.strip():
            return value
    raise ValueError(f"expected a text in one of the columns {', '.join(names)}, found {', '.join(row) or 'none'}")


def _beginning(text: str, words: int) -> str:
    """A text's first words, up to the end of a sentence or a line where there is one in their second half."""
    start = re.match(rf"\s*(?:\S+\s*){{0,{words}}}", text)
    if not start or start.end() == len(text):
        return text
    ends = [mark.end() for mark in re.finditer(r"[.!?。！？](?=\s)|\n", start[0]) if mark.end() > start.end() // 2]
    return start[0][: ends[-1]].rstrip() if ends else start[0].rstrip()


@hookimpl
def register_tasks(register):  # type: ignore[no-untyped-def]
    """Register the task."""
    register(Summarization())
