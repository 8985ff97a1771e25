"""The recipe as transformers' settings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import TrainingArguments

if TYPE_CHECKING:
    from nlptasks.runtime.loading.devices import Placement
    from nlptasks.task import Recipe

LOGGING_STEPS = 10
"""Steps between two reports of the loss to a logger."""


def training_arguments(
    recipe: Recipe, placement: Placement, folder: Path, *, higher: bool, report_to: str = "none"
) -> TrainingArguments:
    """The recipe as the Trainer's settings; `report_to` is a logger that transformers knows, such as tensorboard."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=recipe.num_train_epochs,
        per_device_train_batch_size=recipe.per_device_train_batch_size,
        per_device_eval_batch_size=max(32, recipe.per_device_train_batch_size),
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=recipe.warmup_ratio,
        weight_decay=recipe.weight_decay,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=recipe.metric_for_best_model,
        greater_is_better=higher,
        logging_strategy="no" if report_to == "none" else "steps",
        logging_steps=LOGGING_STEPS,
        logging_nan_inf_filter=False,
        report_to=report_to,
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        seed=recipe.seed,
        data_seed=recipe.seed,
        use_cpu=placement.device == "cpu",
        bf16=placement.dtype == "bfloat16",
        dataloader_pin_memory=placement.device.startswith("cuda"),
        # The recipe's batch is shared by the processes, however many there are.
        accelerator_config={"split_batches": True},
        # Of LoRA every layer is used, and DistributedDataParallel warns where it searches in vain.
        ddp_find_unused_parameters=None if recipe.method == "full" else False,
    )
    if arguments.process_index:
        # It logs at the same steps as the first, since the loss is gathered there, but to nowhere.
        arguments.report_to = []
    processes = arguments.world_size
    arguments.per_device_eval_batch_size = math.ceil(arguments.per_device_eval_batch_size / processes) * processes
    # Two GPUs would otherwise be used by DataParallel, which changes the batch size without the recipe's consent.
    arguments._n_gpu = min(1, arguments.n_gpu)
    # An ACCELERATE_MIXED_PRECISION of the user's environment would win over the recipe.
    arguments.mixed_precision = "bf16" if arguments.bf16 else "no"
    return arguments
