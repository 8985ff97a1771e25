"""Steps that move a base's vectors of texts with one label together, and those of others apart."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nlptasks.errors import TrainingError

if TYPE_CHECKING:
    from nlptasks.task import Recipe
    from nlptasks.training.families.base import FamilyTrainer, Feature
    from nlptasks.training.loop.models import Trainable

SHARPNESS = 0.1
"""The temperature of the loss: what cosines are divided by."""


def num_steps(recipe: Recipe, rows: int) -> int:
    """The steps of `recipe.contrastive_epochs` passes over the rows."""
    return math.ceil(recipe.contrastive_epochs * rows / max(1, min(recipe.per_device_train_batch_size, rows)))


def contrast(
    trainable: Trainable,
    family: FamilyTrainer,
    features: Sequence[Feature],
    marks: Any,
    recipe: Recipe,
    device: str,
    on_step: Callable[[int, float, float], None],
) -> None:
    """Take `num_steps` steps with the LoRA layers on batches of features.

    The loss is the supervised contrastive one (Khosla et al. 2020, arXiv:2004.11362, their L_out): of all others in the
    batch, those that share a label must be the nearest. Rows that share some of their labels count by the share.

    Args:
        trainable: a model with LoRA layers.
        family: collates the features.
        features: training rows.
        marks: 1 for each label of a feature, else 0; shape (features, labels).
        recipe: epochs, learning rate, batch size, warm-up, weight decay and seed.
        device: where the model is.
        on_step: called after each step with its number, its loss and its learning rate; it may raise.

    Raises:
        TrainingError: the loss is no number.
    """
    import torch

    from nlptasks.runtime.loading.new_head import unit_means

    steps = num_steps(recipe, len(features))
    model, body = trainable.model, trainable.task_model.base_model
    parameters = [p for name, p in trainable.trained.items() if ".lora_" in name]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    warmup = max(1, math.ceil(recipe.warmup_ratio * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
    )
    batches = _batches(marks, recipe.per_device_train_batch_size, random.Random(recipe.seed))
    model.train()
    for step in range(1, steps + 1):
        places = next(batches)
        batch = family.collate([features[place] for place in places], trainable.tokenizer)
        inputs = {name: tensor.to(device) for name, tensor in batch.items() if name != "labels"}
        vectors = unit_means(body(**inputs).last_hidden_state, inputs["attention_mask"])
        loss = _loss(vectors, torch.tensor(_shared(marks[places]), device=device, dtype=torch.float32))
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss became {value} at step {step}. Use a lower learning_rate (now {recipe.learning_rate:g})."
            )
        rate = float(schedule.get_last_lr()[0])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        on_step(step, value, rate)
    model.eval()


def _batches(marks: Any, size: int, chance: random.Random) -> Iterator[list[int]]:
    """Batches for ever, in which as many labels as may be have two rows and more."""
    rows_of: dict[tuple[int, ...], list[int]] = {}
    for index, row in enumerate(marks.astype(int).tolist()):
        rows_of.setdefault(tuple(row), []).append(index)
    waiting: dict[tuple[int, ...], list[int]] = {key: [] for key in rows_of}
    keys: list[tuple[int, ...]] = []
    each = max(2, size // len(rows_of))
    while True:
        batch: list[int] = []
        for _ in range(min(len(rows_of), max(2, size // each))):
            if not keys:
                keys = chance.sample(list(rows_of), len(rows_of))
            key = keys.pop()
            for _ in range(min(each, len(rows_of[key]))):
                if not waiting[key]:
                    waiting[key] = chance.sample(rows_of[key], len(rows_of[key]))
                batch.append(waiting[key].pop())
        yield list(dict.fromkeys(batch))


def _shared(marks: Any) -> Any:
    """The share of their labels that two rows have in common (Jaccard), 0 of a row with itself."""
    common = marks @ marks.T
    sizes = marks.sum(1)
    shared = common / np.maximum(sizes[:, None] + sizes[None, :] - common, 1)
    np.fill_diagonal(shared, 0)
    return shared


def _loss(vectors: Any, shared: Any) -> Any:
    import torch

    alone = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    cosines = (vectors @ vectors.T / SHARPNESS).masked_fill(alone, -1e9)
    likelihoods = cosines - cosines.logsumexp(1, keepdim=True)
    with_others = shared.sum(1) > 0
    if not with_others.any():
        return vectors.sum() * 0
    each = -(likelihoods * shared).sum(1)[with_others] / shared.sum(1)[with_others]
    return each.mean()
