"""Named entities: "Marie Curie moved to Paris." → PER Marie Curie, LOC Paris."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nlptasks import Entities, Model, Recipe, TaggingOptions, TextInput, TokenClassification, hookimpl
from nlptasks_plugins.english import noted


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
        return noted(super().run(inputs, options, model), [item.text for item in inputs], model, self.name)


@hookimpl
def register_tasks(register):  # type: ignore[no-untyped-def]
    """Register the task."""
    register(NamedEntities())
