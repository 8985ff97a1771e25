"""Named entities: "Marie Curie moved to Paris." → PER Marie Curie, LOC Paris."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nlptasks import Entities, Entity, Model, Recipe, TaggingOptions, TextInput, TokenClassification, hookimpl
from nlptasks_plugins.english import noted

_TITLE = re.compile(r"(?:Mr|Mrs|Ms|Mx|Dr|Prof|Herr|Frau)(?:\.\s*|\s+|$)", re.IGNORECASE)
"""What the shipped adapter sometimes takes for a part of a person's name."""

_EDGE = " \t\r\n,;:-–—/&|*"
_QUOTES = "\"“”«»'’"


class NamedEntities(TokenClassification):
    """Find people, organisations and places in a text."""

    name = "ner"
    aliases = ("token-classification",)
    labels = ("PER", "ORG", "LOC")
    adapter = Path(__file__).parent / "adapters" / "ner"
    hub_base = "dslim/bert-base-NER"
    recipe = Recipe(
        base="minilm",
        r=32,
        lora_alpha=64,
        learning_rate=6e-4,
        num_train_epochs=5,
        per_device_train_batch_size=32,
        metric_for_best_model="f1",
    )
    examples = (
        "Marie Curie moved from Warsaw to Paris in 1891.",
        "Siemens and the University of Oslo signed the contract in Munich.",
        "Ada Lovelace wrote to Charles Babbage about his engine.",
        "The train was late again.",
    )
    phrases = (
        "Find the names in this text.",
        "Which people, places and organisations are mentioned here?",
        "Extract the named entities.",
        "Who is mentioned in this?",
        "List the companies and the cities in this text.",
        "Mark the persons and locations.",
    )

    def run(self, inputs: Sequence[TextInput], options: TaggingOptions, model: Model) -> list[Entities]:
        results = super().run(inputs, options, model)
        if model.info.adapter == self.name:
            # Other adapters learnt the borders of their own data.
            results = [result.model_copy(update={"entities": _trimmed(result)}) for result in results]
        return noted(results, [item.text for item in inputs], model)


def _trimmed(result: Entities) -> tuple[Entity, ...]:
    """The entities without titles ("Ms") and stray punctuation at their ends; none is without letters.

    On 1,000 sentences of UNER's PUD the F1 rises by 0.007, on 338 of WikiGold by 0.002.
    """
    trimmed = []
    for entity in result.entities:
        start, end = _borders(entity)
        text = entity.text[start:end]
        if any(map(str.isalnum, text)):
            places = {"start": entity.start + start, "end": entity.start + end}
            trimmed.append(entity.model_copy(update={"text": text, **places}))
    return tuple(trimmed)


def _borders(entity: Entity) -> tuple[int, int]:
    """Where the name within an entity's text begins and ends."""
    text = entity.text
    quotes = [char for char in text if char in _QUOTES]
    alone = quotes[0] if len(quotes) == 1 else ""
    end = len(text.rstrip(_EDGE + "([{@#" + alone + ("" if "(" in text else ")")))
    # An apostrophe may begin a name: 's-Hertogenbosch.
    start = len(text) - len(text.lstrip(_EDGE + ")]}" + alone.strip("'’") + ("" if ")" in text else "(")))
    title = _TITLE.match(text, start, end) if entity.label == "PER" else None
    return title.end() if title else start, end


@hookimpl
def register_tasks(register):  # type: ignore[no-untyped-def]
    """Register the task."""
    register(NamedEntities())
