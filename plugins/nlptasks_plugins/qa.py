"""Question answering: "Who wrote it?" + a text → "Mary Shelley" (0.97), or that the text does not say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nlptasks import Answer, AnswerOptions, Model, QuestionAnswering, QuestionInput, Recipe, hookimpl
from nlptasks_plugins.english import noted


class Qa(QuestionAnswering):
    """The words of a text that answer a question, or that it gives no answer."""

    name = "qa"
    aliases = ("question-answering",)
    adapter = Path(__file__).parent / "adapters" / "qa"
    hub_base = "deepset/tinyroberta-squad2"
    recipe = Recipe(
        base="minilm",
        r=32,
        lora_alpha=64,
        lora_dropout=0.0,
        base_dropout=0.0,
        learning_rate=5e-4,
        num_train_epochs=2,
        per_device_train_batch_size=16,
        max_length=384,
        metric_for_best_model="best_f1",
    )
    examples = (
        {
            "question": "Who wrote Frankenstein?",
            "context": "Mary Shelley began Frankenstein in 1816, at the age of eighteen, in a wet summer at Geneva.",
        },
        {
            "question": "How long does the battery last?",
            "context": "The phone weighs 180 grams. Its battery lasts two days, and a full charge takes 40 minutes.",
        },
        {
            "question": "Who designed the phone?",
            "context": "The phone weighs 180 grams. Its battery lasts two days, and a full charge takes 40 minutes.",
        },
    )
    phrases = (
        "Answer this question from the text.",
        "What does the document say about it?",
        "According to the text, when did it happen?",
        "Look up the answer in this document.",
    )

    def run(self, inputs: Sequence[QuestionInput], options: AnswerOptions, model: Model) -> list[Answer]:
        results = noted(super().run(inputs, options, model), [item.context for item in inputs], model)
        return noted(results, [item.question for item in inputs], model, "question")


@hookimpl
def register_tasks(register):  # type: ignore[no-untyped-def]
    """Register the task."""
    register(Qa())
