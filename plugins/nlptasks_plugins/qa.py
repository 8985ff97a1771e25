"""Question answering: "Who wrote it?" + a text → "Mary Shelley" (0.97), or that the text does not say."""

from __future__ import annotations

from nlptasks import QuestionAnswering, Recipe, hookimpl


class Qa(QuestionAnswering):
    """The words of a text that answer a question, or that it gives no answer."""

    name = "qa"
    aliases = ("question-answering",)
    recipe = Recipe(
        base="minilm",
        r=32,
        alpha=64,
        dropout=0.0,
        lr=6e-4,
        epochs=3,
        batch_size=32,
        average=0.999,
        max_length=384,
        metric="best_f1",
        extra={"questions_per_context": 8},
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
            "question": "What does the phone cost?",
            "context": "The phone weighs 180 grams. Its battery lasts two days, and a full charge takes 40 minutes.",
        },
    )


@hookimpl
def register_tasks(register):  # type: ignore[no-untyped-def]
    """Register the task."""
    register(Qa())
