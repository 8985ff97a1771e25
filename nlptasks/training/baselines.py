"""What a training must beat to be of use: answers that need none."""

from __future__ import annotations

from collections.abc import Mapping

from nlptasks.task import Recipe
from nlptasks.training.families.base import FamilyTrainer

_NAMES = {
    "majority_class": "always giving the most frequent answer",
    "frozen_vectors": "a logistic regression on the vectors of the untrained base",
    "no_entities": "finding no entity",
}


def judged_metric(family: FamilyTrainer, recipe: Recipe) -> str:
    """The metric that is compared with the baselines: the recipe's, or the headline if that is a loss."""
    chosen = recipe.metric_for_best_model
    return chosen if family.metrics[chosen] else family.headline


def shortfall(metric: str, metrics: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]) -> str:
    """Which baseline a result does not beat, as a sentence; "" if it beats all, or is perfect."""
    value = metrics.get(metric, 0.0)
    measured = {name: values[metric] for name, values in baselines.items() if metric in values}
    name = max(measured, key=lambda name: measured[name], default=None)
    if name is None or value > measured[name] or value == 1.0:
        return ""
    return (
        f"Not ready: {metric} {value:.4f} is no better than {measured[name]:.4f}, which is {_NAMES.get(name, name)}. "
        "Give more rows, check the labels, or train for longer (--epochs, --lr)."
    )


def described(metric: str, baselines: Mapping[str, Mapping[str, float]]) -> str:
    """The figures to beat, to display."""
    figures = [f"{values[metric]:.4f} ({_NAMES.get(name, name)})" for name, values in baselines.items()]
    return f"{metric} to beat on the held-out rows: {', '.join(figures)}"
