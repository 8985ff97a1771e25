"""Sentiment: "I loved every minute." → positive (0.998)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from nlptasks import Classification, ClassificationOptions, Model, Recipe, TextClassification, TextInput, hookimpl
from nlptasks_plugins.english import noted

NEUTRAL = 0.8
"""Least score of a label with the option `neutral`: the threshold with the best mean recall of the three classes on
2,000 tweets (TweetEval's validation set), 0.59 against 0.55 without neutral answers; see docs/guide.md."""


class SentimentOptions(ClassificationOptions):
    """How to classify."""

    neutral: bool = Field(
        default=False,
        description="Answer `neutral` if the best label's score is under the threshold, by default 0.8. About half of "
        "neutral texts are found.",
    )


class Sentiment(TextClassification):
    """Whether a text speaks well or badly of its subject."""

    name = "sentiment"
    aliases = ("sentiment-analysis", "text-classification")
    labels = ("negative", "positive")
    options_type = SentimentOptions
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

    def run(self, inputs: Sequence[TextInput], options: ClassificationOptions, model: Model) -> list[Classification]:
        neutral = isinstance(options, SentimentOptions) and options.neutral
        least = NEUTRAL if options.threshold is None else options.threshold
        if neutral:
            # Without a threshold, only a text that was not read has no label.
            options = options.model_copy(update={"threshold": 0.0})
        results = noted(super().run(inputs, options, model), [item.text for item in inputs], model)
        return [_or_neutral(result, least) for result in results] if neutral else results


def _or_neutral(result: Classification, least: float) -> Classification:
    """The result with the labels that score at least `least`, or else `neutral`; without a label it stays without."""
    if not result.labels:
        return result
    sure = {score.label for score in result.scores if score.score >= least}
    labels = tuple(label for label in result.labels if label in sure) or ("neutral",)
    return result.model_copy(update={"label": labels[0], "labels": labels})


@hookimpl
def register_tasks(register):  # type: ignore[no-untyped-def]
    """Register the task."""
    register(Sentiment())
