"""Urgency: "The site is down for everyone!" → high."""

from __future__ import annotations

from nlptasks import Recipe, TextClassification, hookimpl

nlptasks_api = 1


class Urgency(TextClassification):
    """How urgent a support ticket is."""

    name = "urgency"
    labels = ("low", "normal", "high")
    recipe = Recipe(base="minilm", learning_rate=5e-4, num_train_epochs=4)
    examples = ("The site is down for everyone!", "Could you add a dark theme some day?")


@hookimpl
def register_tasks(register):
    register(Urgency())
