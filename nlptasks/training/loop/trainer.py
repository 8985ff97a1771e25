"""transformers.Trainer with complete checkpoints, averaged weights, events and early ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PrinterCallback, Trainer, TrainerCallback
from transformers.trainer_utils import EvalPrediction

from nlptasks.errors import TrainingError
from nlptasks.runtime.cpu.memory import TRAINING_BLOCK, keep_freed_memory
from nlptasks.training.loop.arguments import training_arguments
from nlptasks.training.loop.average import WeightAverage
from nlptasks.training.loop.checkpoints import AVERAGE, WEIGHTS, read_marker, write_marker
from nlptasks.training.recipes import steps_per_epoch

if TYPE_CHECKING:
    from nlptasks.runtime.loading.devices import Placement
    from nlptasks.task import Recipe
    from nlptasks.training.families.base import FamilyTrainer, Feature
    from nlptasks.training.loop.events import Events
    from nlptasks.training.loop.models import Trainable

STILL_STEPS = 20
"""Steps with exactly the same loss after which the model is taken to learn nothing."""


class Interrupted(Exception):
    """The user stopped the training; there is a checkpoint of the last step."""


class Loop(Trainer):
    """One training. `stop` and `finish` are called after every step.

    When `stop` returns True, a checkpoint is written and the run ends. When `finish` returns True, the weights are
    evaluated and the training ends as if this had been its last step.
    """

    def __init__(
        self,
        trainable: Trainable,
        family: FamilyTrainer,
        recipe: Recipe,
        placement: Placement,
        folder: Path,
        training: list[Feature],
        held_out: list[Feature],
        events: Events,
        stop: Callable[[], bool] = lambda: False,
        finish: Callable[[], bool] = lambda: False,
        report_to: str = "none",
    ) -> None:
        self.trainable = trainable
        self.family = family
        self.recipe = recipe
        self.events = events
        self.stop, self.finish = stop, finish
        self.history: list[dict[str, Any]] = []
        self.step_loss = self.step_lr = 0.0
        self.loss_sum, self.loss_rows = 0.0, 0
        self.still_steps = 0
        self.average: WeightAverage | None = None
        # Sorted, so that a batch holds texts of one length; the metrics do not depend on the order.
        self.held_out = sorted(held_out, key=lambda feature: -len(feature))
        super().__init__(
            model=trainable.model,
            args=training_arguments(
                recipe, placement, folder, higher=family.metrics[recipe.metric_for_best_model], report_to=report_to
            ),
            data_collator=lambda features: family.collate(features, trainable.tokenizer),
            train_dataset=training,
            eval_dataset=self.held_out,
            compute_metrics=self._measure,
            callbacks=[_Watch(self)],
        )
        self.remove_callback(PrinterCallback)
        if placement.device == "cpu":
            # CPU time of a step with and without, means of runs taking turns, one thread in float32: MiniLM with 64
            # texts 1.28 and 1.39 s, SmolLM2 with 8 rows of up to 512 tokens 12.0 and 12.5 s, whose page faults fall
            # from 149,000 to 21,000. The peaks of memory stay: 2.6 and 2.7 GB, 7.7 and 7.8 GB.
            keep_freed_memory(TRAINING_BLOCK)
        # Our loss is a plain mean over the batch, whatever the model's forward would accept.
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = False
        self.steps_per_epoch = steps_per_epoch(recipe, len(training))
        if recipe.ema_decay:
            self.average = WeightAverage(trainable.trained, recipe.ema_decay)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        data: Any = self.train_dataset if train_dataset is None else train_dataset
        return LengthSampler(
            [len(feature) for feature in data], self.recipe.per_device_train_batch_size, self.recipe.seed
        )

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        logits = self.family.forward(model, inputs)
        smoothing = self.recipe.label_smoothing_factor if model.training else 0.0
        loss = self.family.loss(logits, inputs["labels"], smoothing)
        return (loss, logits) if return_outputs else loss

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        rows = len(inputs["labels"])
        self.step_lr = self._get_learning_rate()
        loss = super().training_step(model, inputs, num_items_in_batch)
        value = float(loss) * self.current_gradient_accumulation_steps
        if self.args.world_size > 1:
            total, count = self._sums(value * rows, rows)
            value, rows = total / count, int(count)
        self._check_loss(value)
        self.step_loss = value
        self.loss_sum += value * rows
        self.loss_rows += rows
        return loss

    def _sums(self, *values: float) -> list[float]:
        """Each value added up over all processes."""
        here = torch.tensor(values, dtype=torch.float64, device=self.args.device)
        sums: list[float] = self.accelerator.reduce(here).tolist()
        return sums

    def ends(self) -> tuple[bool, bool]:
        """Whether to stop, and whether to finish; every process has to ask at the same time."""
        stop, finish = self.stop(), self.finish()
        if self.args.world_size > 1:
            stop, finish = map(bool, self._sums(stop, finish))
        return stop, finish

    def _check_loss(self, value: float) -> None:
        step = self.state.global_step + 1
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss became {value} at step {step}. Use a lower learning_rate "
                f"(now {self.recipe.learning_rate:g}), a higher warmup_ratio, or --dtype float32."
            )
        self.still_steps = self.still_steps + 1 if value == self.step_loss else 0
        if self.still_steps >= STILL_STEPS:
            raise TrainingError(
                f"The loss has been exactly {value:g} for {STILL_STEPS} steps: the model learns nothing. Check that "
                "the labels differ between rows, use a lower learning_rate, or --dtype float32."
            )

    def prediction_step(
        self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Any, Any, Any]:
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, logits = self.compute_loss(model, inputs, return_outputs=True)
            logits = self.family.preprocess_logits_for_metrics(logits, inputs["labels"])
        return loss.detach(), logits.detach().float(), inputs["labels"]

    def _measure(self, answers: EvalPrediction) -> dict[str, float]:
        # Evaluation keeps the order of the features.
        predictions: Any = answers.predictions
        return self.family.measure(predictions.astype("float64"), self.held_out)

    def evaluate(self, *arguments: Any, **named: Any) -> dict[str, float]:
        with self.average.applied() if self.average else nullcontext():
            metrics = super().evaluate(*arguments, **named)
        self._record({name: metrics[f"eval_{name}"] for name in self.family.metrics})
        return metrics

    def _record(self, metrics: dict[str, float]) -> None:
        entry = {
            "epoch": round(self.state.epoch or 0.0, 4),
            "step": self.state.global_step,
            "train_loss": self.loss_sum / max(1, self.loss_rows),
            "metrics": metrics,
            "best": self._is_best(metrics),
        }
        self.history.append(entry)
        self.events("evaluation", **entry)
        patience = self.recipe.early_stopping_patience
        if patience and not any(entry["best"] for entry in self.history[-patience:]):
            self.control.should_training_stop = True

    def _is_best(self, metrics: dict[str, float]) -> bool:
        """Better than every evaluation before; of equal ones the one with the lower loss."""

        def rank(values: dict[str, float]) -> tuple[float, float]:
            value = values[self.recipe.metric_for_best_model]
            return (value if self.family.metrics[self.recipe.metric_for_best_model] else -value, -values["loss"])

        return all(rank(metrics) > rank(entry["metrics"]) for entry in self.history)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        last = self.history[-1]
        if last["best"]:
            self.state.best_metric = last["metrics"][self.recipe.metric_for_best_model]
            self.state.best_global_step = self.state.global_step
        return bool(last["best"])

    @property
    def evaluated(self) -> bool:
        """Whether the weights of this step were evaluated."""
        return bool(self.history) and self.history[-1]["step"] == self.state.global_step

    @property
    def sharded(self) -> bool:
        """Whether the processes hold parts of the weights each (FSDP, DeepSpeed)."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Write the trained parameters only, not the base."""
        if not self.args.should_save:
            return
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        weights = self.trainable.trained
        if state_dict is not None:
            weights = {name: state_dict[name] for name in weights}
        save_file(_contiguous(weights), folder / WEIGHTS)
        if self.average:
            save_file(_contiguous(self.average.values), folder / AVERAGE)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        checkpoint = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        super()._save_checkpoint(model, trial)
        # Every process writes the state of its random numbers there.
        self.accelerator.wait_for_everyone()
        if not self.args.should_save:
            return
        state = {"history": self.history, "loss_sum": self.loss_sum, "loss_rows": self.loss_rows}
        write_marker(checkpoint, state)
        self.events("checkpoint", step=self.state.global_step)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.sharded:
            raise TrainingError("A training with FSDP or DeepSpeed cannot be resumed: start over with --replace.")
        checkpoint = Path(resume_from_checkpoint)
        self._load_weights(load_file(checkpoint / WEIGHTS))
        if self.average:
            self.average.load(load_file(checkpoint / AVERAGE))
        state = read_marker(checkpoint)
        self.history = state["history"]
        self.loss_sum, self.loss_rows = state["loss_sum"], state["loss_rows"]

    def _load_best_model(self) -> None:
        """Leave it to `restore_best`: the Trainer skips this when a run is resumed after its last step."""

    @property
    def best(self) -> dict[str, Any]:
        """The entry of the best evaluation in the history."""
        return [entry for entry in self.history if entry["best"]][-1]

    def restore_best(self) -> None:
        """Load the weights of the best evaluation, averaged if the recipe says so.

        Raises:
            TrainingError: the checkpoint of that evaluation is gone.
        """
        file = (
            Path(str(self.args.output_dir)) / f"checkpoint-{self.best['step']}" / (AVERAGE if self.average else WEIGHTS)
        )
        if not file.is_file():
            raise TrainingError(f"Expected the weights of the best evaluation in {file}, found none: use --replace.")
        self._load_weights(load_file(file))

    def _load_weights(self, weights: Mapping[str, Any]) -> None:
        parameters = self.trainable.trained
        if set(parameters) != set(weights):
            raise TrainingError("The checkpoint holds other layers than this run trains: start over with --replace.")
        with torch.no_grad():
            for name, value in weights.items():
                parameters[name].copy_(value)


class _Watch(TrainerCallback):
    """Updates the average, sends events, and decides on evaluations within an epoch and early ends."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        loop = self._loop
        loop.events(
            "start",
            steps=state.max_steps,
            done=state.global_step,
            epochs=loop.recipe.num_train_epochs,
            metric=loop.recipe.metric_for_best_model,
            headline=loop.family.headline,
        )

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # A run that is resumed within an epoch continues its sums.
        if float(state.epoch or 0).is_integer():
            self._loop.loss_sum, self._loop.loss_rows = 0.0, 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        loop = self._loop
        if loop.average:
            loop.average.update(state.global_step)
        epoch = round(state.epoch, 4)
        loop.events("step", step=state.global_step, epoch=epoch, loss=loop.step_loss, lr=loop.step_lr)
        place = (state.global_step - 1) % loop.steps_per_epoch + 1
        stop, finish = loop.ends()
        if finish:
            control.should_training_stop = True
        if self._due(place) or finish:
            control.should_evaluate = control.should_save = True
        elif stop and place < loop.steps_per_epoch:
            control.should_save = True

    def _due(self, place: int) -> bool:
        """Whether an evaluation is due after this step of the epoch; at its end the Trainer itself evaluates."""
        steps = self._loop.steps_per_epoch
        times = min(self._loop.recipe.evals_per_epoch, steps)
        return any(place == round(part * steps / times) for part in range(1, times))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._loop.evaluated:
            control.should_evaluate = control.should_save = False

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._loop.ends()[0]:
            raise Interrupted


class LengthSampler:
    """A random order in which neighbours have similar lengths; it only depends on the seed and the epoch."""

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate before every epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        chance = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(len(self._lengths), generator=chance).tolist()
        size = self._batch_size * 50
        batches = []
        for start in range(0, len(order), size):
            chunk = sorted(order[start : start + size], key=lambda index: -self._lengths[index])
            batches += [chunk[i : i + self._batch_size] for i in range(0, len(chunk), self._batch_size)]
        # A short last batch stays last: a batch in the middle would otherwise take rows of its neighbour.
        last = [batches.pop()] if len(batches[-1]) < self._batch_size else []
        for batch in [*(batches[i] for i in torch.randperm(len(batches), generator=chance).tolist()), *last]:
            yield from batch


def _contiguous(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
