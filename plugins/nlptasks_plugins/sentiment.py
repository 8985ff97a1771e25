"""Sentiment: "I loved every minute." → positive (0.998)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from nlptasks import (
    Classification,
    ClassificationOptions,
    LabelScore,
    Model,
    Recipe,
    TextClassification,
    TextInput,
    hookimpl,
)
from nlptasks_plugins.english import noted

SLOPE, LOWEST, HIGHEST = 0.87, -1.34, 1.14
"""A proportional-odds model of three ordered outcomes (McCullagh 1980): with `x` the log-odds of positive against
negative, negative has the probability sigmoid(LOWEST - SLOPE * x), positive sigmoid(SLOPE * x - HIGHEST), and neutral
the rest. Fitted to the shipped adapter by maximum likelihood, with equal weight for the three outcomes, on the held-out
rows of `recipes/sentiment_data.py`."""

_TINY = 1e-9
"""The least probability that a logarithm is taken of."""


class SentimentOptions(ClassificationOptions):
    """How to classify."""

    neutral: bool = Field(
        default=False,
        description="Also answer `neutral`, for texts without a judgement and for those that praise and blame alike; "
        "`scores` then has three labels. With a threshold, `neutral` is the answer where no other label reaches it. "
        "Adapters with other labels than negative and positive ignore it.",
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
        texts = [item.text for item in inputs]
        three = isinstance(options, SentimentOptions) and options.neutral
        if not three or set(self._names(options, model.info)) != set(self.labels):
            return noted(super().run(inputs, options, model), texts, model)
        # Without a threshold, only a text that was not read has no label.
        two = options.model_copy(update={"threshold": 0.0, "multi_label": False})
        results = [_with_neutral(one, options.threshold or 0.0) for one in super().run(inputs, two, model)]
        return noted(results, texts, model)


def _with_neutral(result: Classification, least: float) -> Classification:
    """The result with `neutral` as third label, which is the answer too where no other label has the score `least`."""
    positive = next(one.score for one in result.scores if one.label == "positive")
    chances = probabilities(math.log(max(positive, _TINY) / max(1 - positive, _TINY)))
    order = sorted(chances, key=lambda label: -chances[label])
    scores = tuple(LabelScore(label=label, score=chances[label]) for label in order)
    if not result.labels:
        return result.model_copy(update={"score": scores[0].score, "scores": scores})
    label = order[0] if chances[order[0]] >= least else "neutral"
    return result.model_copy(update={"label": label, "labels": (label,), "score": chances[label], "scores": scores})


def probabilities(odds: float) -> dict[str, float]:
    """The probabilities of the three labels, from the log-odds of positive against negative."""
    negative = 1 / (1 + math.exp(SLOPE * odds - LOWEST))
    positive = 1 / (1 + math.exp(HIGHEST - SLOPE * odds))
    return {"negative": negative, "neutral": max(0.0, 1 - negative - positive), "positive": positive}


@hookimpl
def register_tasks(register):  # type: ignore[no-untyped-def]
    """Register the task."""
    register(Sentiment())
