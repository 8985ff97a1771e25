"""Classify: "I was charged twice." with the labels billing and bug → billing (0.97)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nlptasks import (
    Classification,
    Model,
    Recipe,
    TextInput,
    ZeroShotClassification,
    ZeroShotOptions,
    hookimpl,
)
from nlptasks_plugins.english import check_latin, noted


class Classify(ZeroShotClassification):
    """The best label for a text, of labels that you name."""

    name = "classify"
    aliases = ("zero-shot-classification",)
    adapter = Path(__file__).parent / "adapters" / "classify"
    recipe = Recipe(base="minilm", r=32, lora_alpha=64, learning_rate=6e-4)
    examples = (
        "I was charged twice for my order and want my money back.",
        "The app closes itself as soon as I open the camera.",
        "Could you add a dark mode? My eyes would thank you.",
    )
    example_options = MappingProxyType(
        {
            "labels": {
                "billing": "payments, invoices, refunds",
                "bug": "something crashes or does not work",
                "feature request": "a wish for something new",
            }
        }
    )
    phrases = (
        "Which of these labels fits?",
        "Sort this into one of my categories.",
        "Classify this text as billing, bug or praise.",
        "Is this about sports, politics or business?",
        "Tag this message with one of these topics.",
    )

    def check_options(self, options: Any, adapter: str | None, labels: tuple[str, ...] | None) -> None:
        super().check_options(options, adapter, labels)
        if adapter != self.name or not isinstance(options, ZeroShotOptions):
            return
        check_latin(self.name, options.labels)

    def run(self, inputs: Sequence[TextInput], options: Any, model: Model) -> list[Classification]:
        return noted(super().run(inputs, options, model), [item.text for item in inputs], model)


@hookimpl
def register_tasks(register):  # type: ignore[no-untyped-def]
    """Register the task."""
    register(Classify())
