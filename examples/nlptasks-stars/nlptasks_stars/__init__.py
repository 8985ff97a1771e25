"""Stars: "Very good, only the coffee could be hotter." → 4.2 of 5."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from nlptasks import Head, Model, Recipe, Result, Task, TaskOptions, TextInput, hookimpl

nlptasks_api = 1

RATE = Head("rate", per="text", make="nlptasks_stars.training:AttentionHead")
"""One raw score for each text. The verb is new; `training.py` has the head's class."""


class Rating(Result):
    """How good a review says that something is."""

    stars: float = Field(ge=1, le=5, description="From 1 (bad) to 5 (good).")


class Stars(Task[TextInput, TaskOptions, Rating]):
    """How many stars a review gives, from 1 to 5."""

    name = "stars"
    family = "rating"
    result_type = Rating
    head = RATE
    trainer = "nlptasks_stars.training:RatingTrainer"
    recipe = Recipe(base="minilm", learning_rate=5e-4, num_train_epochs=6, metric_for_best_model="mae")
    examples = ("Very good, only the coffee could be hotter.",)

    def run(self, inputs: Sequence[TextInput], options: TaskOptions, model: Model) -> list[Rating]:
        answers = model.apply("rate", [item.text for item in inputs])
        return [
            Rating(stars=stars_of(answer.values[0]), num_tokens=answer.num_tokens, truncated=answer.truncated)
            for answer in answers
        ]


def stars_of(score: float) -> float:
    """The stars, from 1 to 5, for a raw score; a score of 0 is 3 stars."""
    return 3 + 2 * math.tanh(score / 2)


@hookimpl
def register_tasks(register):
    register(Stars())
