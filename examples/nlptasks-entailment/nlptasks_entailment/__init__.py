"""Entailment: "The shop is closed on Mondays." and "It opens every day." → contradiction."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from nlptasks import (
    CLASSIFY,
    Classification,
    LabelScore,
    Logits,
    Model,
    Recipe,
    Task,
    TaskInput,
    TaskOptions,
    hookimpl,
)

nlptasks_api = 1


class EntailmentInput(TaskInput):
    """Two texts."""

    premise: str = Field(min_length=1, pattern=r"\S", description="The text that is taken to be true.")
    hypothesis: str = Field(min_length=1, pattern=r"\S", description="What may follow from it.")


class Entailment(Task[EntailmentInput, TaskOptions, Classification]):
    """Whether one text follows from another."""

    name = "entailment"
    family = "entailment"
    input_type = EntailmentInput
    result_type = Classification
    labels = ("entailment", "neutral", "contradiction")
    head = CLASSIFY
    trainer = "nlptasks_entailment.training:EntailmentTrainer"
    recipe = Recipe(base="minilm", learning_rate=5e-4, num_train_epochs=4)
    examples = ({"premise": "The shop is closed on Mondays.", "hypothesis": "It opens every day."},)

    def run(self, inputs: Sequence[EntailmentInput], options: TaskOptions, model: Model) -> list[Classification]:
        pairs = [(item.premise, item.hypothesis) for item in inputs]
        labels, temperature = model.info.labels or self.labels, model.info.temperature
        return [_classification(labels, answer, temperature) for answer in model.classify(pairs)]


def _classification(labels: Sequence[str], answer: Logits, temperature: float) -> Classification:
    powers = [math.exp((value - max(answer.values)) / temperature) for value in answer.values]
    scores = [LabelScore(label=label, score=power / sum(powers)) for label, power in zip(labels, powers, strict=True)]
    scores.sort(key=lambda score: -score.score)
    return Classification(
        label=scores[0].label,
        score=scores[0].score,
        scores=tuple(scores),
        labels=(scores[0].label,),
        num_tokens=answer.num_tokens,
        truncated=answer.truncated,
    )


@hookimpl
def register_tasks(register):
    register(Entailment())
