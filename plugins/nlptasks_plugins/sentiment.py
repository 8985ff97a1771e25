"""Sentiment: "I loved every minute." → positive (0.998)."""

from __future__ import annotations

from pathlib import Path

from nlptasks import Recipe, TextClassification, hookimpl


class Sentiment(TextClassification):
    """Whether a text speaks well or badly of its subject."""

    name = "sentiment"
    aliases = ("sentiment-analysis", "text-classification")
    labels = ("negative", "positive")
    adapter = Path(__file__).parent / "adapters" / "sentiment"
    hub_base = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
    recipe = Recipe(
        base="minilm",
        r=32,
        lora_alpha=64,
        learning_rate=6e-4,
        num_train_epochs=3,
        per_device_train_batch_size=64,
        ema_decay=0.999,
        evals_per_epoch=3,
    )
    examples = (
        "I loved every minute of it.",
        "A dull, lifeless film that wastes its cast.",
        "The battery lasts two days, but the screen scratches if you look at it.",
        "Not half as bad as I had feared.",
    )
    phrases = (
        "What is the mood of this?",
        "Is this review positive or negative?",
        "What is the sentiment of this text?",
        "How does the writer feel about it?",
        "Does this customer sound happy or unhappy?",
        "Rate the tone of this message.",
    )


@hookimpl
def register_tasks(register):  # type: ignore[no-untyped-def]
    """Register the task."""
    register(Sentiment())
