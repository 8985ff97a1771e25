"""Entities of any type: "Take 20 mg of Prozac." with medication, dose → medication Prozac, dose 20 mg."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from nlptasks import Entities, Model, Recipe, TextInput, ZeroShotEntities, hookimpl
from nlptasks_plugins.english import check_latin, noted


class AnyEntities(ZeroShotEntities):
    """Find spans of types that you name, each with a description if you like."""

    name = "entities"
    aliases = ("zero-shot-ner",)
    types: ClassVar = {
        "person": "a named human being",
        "organization": "a company, institution, team or another organised group",
        "location": "a country, city or another place",
        "event": "something that happened and has a name",
        "product": "a thing that is made and sold",
        "title of a work": "a book, film, song, painting or another work",
    }
    adapter = Path(__file__).parent / "adapters" / "entities"
    recipe = Recipe(
        base="minilm",
        r=32,
        lora_alpha=64,
        learning_rate=6e-4,
        num_train_epochs=5,
        metric_for_best_model="f1",
    )
    examples = (
        "Ada Lovelace wrote to Charles Babbage about the Analytical Engine.",
        "Siemens showed its new trains at InnoTrans in Berlin.",
        "Virginia Woolf finished Mrs Dalloway in Richmond.",
    )
    phrases = (
        "Find the medications and doses in this text.",
        "Mark all ingredients and amounts.",
        "Extract every product and its price.",
        "Which programming languages and tools are named here?",
        "Tag the spans of these types.",
    )

    def check_options(self, options: Any, adapter: str | None, labels: tuple[str, ...] | None) -> None:
        super().check_options(options, adapter, labels)
        if adapter == self.name:
            check_latin(self.name, options.labels)

    def run(self, inputs: Sequence[TextInput], options: Any, model: Model) -> list[Entities]:
        return noted(super().run(inputs, options, model), [item.text for item in inputs], model)


@hookimpl
def register_tasks(register):  # type: ignore[no-untyped-def]
    """Register the task."""
    register(AnyEntities())
