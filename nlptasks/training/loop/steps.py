"""How many optimizer steps a training has."""

from __future__ import annotations

import math

from nlptasks.task import Recipe


def steps_per_epoch(recipe: Recipe, rows: int) -> int:
    """Optimizer steps of one pass over the rows."""
    batches = math.ceil(rows / recipe.per_device_train_batch_size)
    return math.ceil(batches / recipe.gradient_accumulation_steps)


def num_steps(recipe: Recipe, rows: int) -> int:
    """Optimizer steps of the whole training, as the Trainer counts them."""
    return max(1, math.ceil(recipe.num_train_epochs * steps_per_epoch(recipe, rows)))
