"""`finetune`: data in, an adapter that has passed the gate out."""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.backends import BackendOptions, Backends
from nlptasks.data.labelled_texts import DataOptions
from nlptasks.errors import CancelledError, MissingExtraError, NlptasksError, TrainingError
from nlptasks.model import CancelToken
from nlptasks.plugins import Plugins, default_plugins
from nlptasks.settings import Settings
from nlptasks.store.adapters import AdapterFolder, open_adapter
from nlptasks.task import AnyTask, Recipe
from nlptasks.training import recipes
from nlptasks.training.families.base import FamilyTrainer, Feature, family_trainer
from nlptasks.training.loop import quantizing
from nlptasks.training.loop.checkpoints import RunFolder
from nlptasks.training.loop.events import EventFile, Events, Listener
from nlptasks.training.loop.stopping import stopping
from nlptasks.training.preparation import Prepared, prepare, run_plan
from nlptasks.training.publishing.card import command_line
from nlptasks.training.start import Start, find_start

if TYPE_CHECKING:
    from nlptasks.runtime.loading.devices import Placement
    from nlptasks.store.download import BaseFolder, Progress
    from nlptasks.training.loop.models import Trainable
    from nlptasks.training.loop.trainer import Loop

GATE_TEXTS = 16


@dataclass(frozen=True)
class TrainReport:
    """A finished training.

    `history` has an entry for each evaluation: epoch, step, average training loss since the epoch began, and metrics,
    of which `headline` is the most important. `gate` is the largest difference between trained and served logits, as a
    share of the largest logit.
    """

    task: str
    name: str
    method: str
    path: Path
    base: str
    labels: tuple[str, ...]
    headline: str
    metrics: dict[str, float]
    temperature: float
    history: tuple[dict[str, Any], ...]
    steps: int
    seconds: float
    train_rows: int
    held_out_rows: int
    stopped_early: bool
    gate: float
    trained: str
    warnings: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def finetune(
    task: AnyTask | str,
    data: str | Sequence[str],
    *,
    name: str,
    recipe: Recipe | None = None,
    validation: Sequence[str] = (),
    exclude: Sequence[str] = (),
    options: DataOptions | None = None,
    settings: Settings | None = None,
    device: str = "auto",
    licence: str | None = None,
    resume: bool = False,
    replace: bool = False,
    cancel: CancelToken | None = None,
    finish: CancelToken | None = None,
    on_event: Listener | None = None,
    on_download: Callable[[Progress], None] | None = None,
    trust_remote_code: bool = False,
    plugins: Plugins | None = None,
) -> TrainReport:
    """Train an adapter for a task and publish it in the user's store.

    Args:
        task: a task or its name.
        data: files and Hub data sets (`hub:ORG/NAME[@REVISION][:SPLIT]`); several are joined.
        name: the adapter's name.
        recipe: how to train; by default the recipe of the task.
        validation: held-out data; without it a share of `data` is held out.
        exclude: data whose texts must not be trained on.
        options: columns, label names, limits.
        settings: the folders of adapters, runs and bases.
        device: auto, cpu, cuda or mps.
        licence: the data's licence, for the model card.
        resume: continue an unfinished run from its last checkpoint.
        replace: replace an adapter of this name, and an unfinished run.
        cancel: stops after the current step, with a checkpoint.
        finish: ends the training after the current step and publishes the best weights so far.
        on_event: receives every event.
        on_download: receives the progress of the base's download.
        trust_remote_code: whether code that comes with the base may run.
        plugins: whose tasks and bases may be named; by default those of the process.

    Raises:
        DataError: naming every bad row, before a model is loaded.
        InvalidInputError: naming every fault of the recipe.
        TrainingError: this run cannot give a usable adapter.
        GateError: the saved adapter does not answer as the trained model did.
        CancelledError: the run was stopped; there is a checkpoint.
    """
    from nlptasks.store.download import find_base

    if not all(map(importlib.util.find_spec, ("accelerate", "sklearn"))):
        raise MissingExtraError("Training", "train")
    settings = settings or Settings.from_env()
    plugins = plugins or default_plugins()
    task = plugins.task(task) if isinstance(task, str) else task
    recipe = recipe or task.recipe
    family = family_trainer(task, recipe.extra.get("options"))
    recipes.check_for(recipe, family)
    if recipe.load_in_4bit:
        quantizing.check(recipe, family.verb, device)
    target = _target(settings, task, name, recipe, replace=replace)
    sources = [data] if isinstance(data, str) else list(data)
    prepared = prepare(family, sources, validation, exclude, options or DataOptions(), recipe, settings)
    base = find_base(recipe.base, settings, on_progress=on_download, shipped={**plugins.bases, **task.bases})
    start = find_start(task, family, base, recipe, prepared.labels, settings)
    recipe = recipe.replace(init_from=start.name if start else None)
    run = RunFolder(settings, task.name, name)
    command = command_line(task, name, recipe, sources, validation, exclude, options)
    with run.locked():
        checkpoint = run.start(run_plan(base, prepared, recipe, start), resume=resume, replace=replace)
        events = Events([EventFile(run.events), *([on_event] if on_event else [])])
        job = _Job(
            task, family, name, recipe, base, start, prepared, settings, plugins, device, trust_remote_code, licence,
            command, target, run, checkpoint, events, cancel or CancelToken(), finish or CancelToken(),
        )  # fmt: skip
        try:
            report = job.train()
        except CancelledError:
            raise
        except BaseException as error:
            events("failed", text=str(error) or type(error).__name__)
            raise
        run.clear()
        return report


@dataclass
class _Job:
    """One training with everything it needs."""

    task: AnyTask
    family: FamilyTrainer
    name: str
    recipe: Recipe
    base: BaseFolder
    start: Start | None
    data: Prepared
    settings: Settings
    plugins: Plugins
    device: str
    trust_remote_code: bool
    licence: str | None
    command: str
    target: Path
    run: RunFolder
    checkpoint: Path | None
    events: Events
    cancel: CancelToken
    finish: CancelToken

    def train(self) -> TrainReport:
        """Train, calibrate, pass the gate and publish."""
        from nlptasks.runtime.cpu.memory import trim_memory
        from nlptasks.runtime.loading.devices import choose_placement
        from nlptasks.training.loop.models import build, on_plain_base

        started = time.monotonic()
        for note in self.data.notes:
            self.events("note", text=note)
        for warning in self.data.warnings:
            self.events("warning", text=warning)
        placement = choose_placement(self.device, self.recipe.dtype)
        trainable = build(
            self.base, self.family, self.data.labels, self.recipe, placement, trust_remote_code=self.trust_remote_code
        )
        if self.start:
            self.start.load(trainable.model)
            self.events("note", text=f"starts from the weights of {self.start.adapter.name!r}")
        self.events("model", text=f"{self.base.id} on {placement.device} in {placement.dtype}: {trainable.summary}")
        training, held_out = (
            self.family.encode(rows, self.data.labels, trainable.tokenizer, trainable.max_length, trainable.info)
            for rows in (self.data.training, self.data.held_out)
        )
        for note in self.family.encoding_notes(training):
            self.events("note", text=note)
        loop = self._loop(trainable, placement, training, held_out)
        # The gate is a second process: memory that training steps hold for each other is released before.
        trim_memory()
        # Accelerate leaves its autocast on `forward`; from here on everything is float32.
        trainable.model = loop.accelerator.unwrap_model(loop.model, keep_fp32_wrapper=False)
        if self.recipe.load_in_4bit:
            del loop.model, loop.model_wrapped
            device = str(loop.args.device)
            trainable = on_plain_base(trainable, self.base, self.family, self.recipe, placement, device)
        return self._publish(loop, trainable, placement, training, held_out, started)

    def _loop(
        self, trainable: Trainable, placement: Placement, training: list[Feature], held_out: list[Feature]
    ) -> Loop:
        """Train to the end, with the best weights in the model; raises CancelledError when stopped."""
        from nlptasks.runtime.loading.base import quiet_transformers
        from nlptasks.training.loop.trainer import Interrupted, Loop

        with stopping(self.cancel) as stop, quiet_transformers():
            loop = Loop(
                trainable, self.family, self.recipe, placement, self.run.path, training, held_out, self.events,
                stop=stop, finish=lambda: self.finish.cancelled,
            )  # fmt: skip
            try:
                loop.train(resume_from_checkpoint=str(self.checkpoint) if self.checkpoint else None)
                loop.restore_best()
            except Interrupted:
                step = loop.state.global_step
                self.events("interrupted", step=step)
                raise CancelledError(f"Stopped at step {step} of {loop.state.max_steps}, with a checkpoint.") from None
        return loop

    def _publish(
        self,
        loop: Loop,
        trainable: Trainable,
        placement: Placement,
        training: list[Feature],
        held_out: list[Feature],
        started: float,
    ) -> TrainReport:
        from nlptasks.runtime.loading.base import model_kind
        from nlptasks.store.adapter_store import writing
        from nlptasks.store.download import BaseFolder
        from nlptasks.training.loop.models import hub_name, logits_of
        from nlptasks.training.publishing import card, publish

        device = str(loop.args.device)
        self.events("phase", text="answers the held-out rows with the best weights")
        calibration = self.family.calibrate(logits_of(trainable, self.family, held_out, device), held_out)
        data = self.data.described | ({"start": self.start.described} if self.start else {})
        data |= {"licence": self.licence} if self.licence else {}
        manifest = publish.describe(
            self.task, self.family, self.name, self.base, trainable, self.recipe, self.data.labels, calibration, data
        )
        text = card.model_card(self.task, manifest, hub_name(self.base), trainable.summary, self.command, self.licence)
        with writing(self.target) as staging:
            self.events("phase", text="saves the weights, and compares the answers of a fresh process that loads them")
            publish.save(trainable, staging, manifest, text)
            base, adapter = BaseFolder(str(staging), None, staging, "training"), None
            if trainable.targets:
                base, adapter = self.base, open_adapter(staging)
            features = [*held_out, *training[:GATE_TEXTS]]
            difference = self._gate(trainable, features, base, adapter, device, placement.device)
            if self.family.measures_ranges and model_kind(trainable.task_model.config) == "encoder":
                self._measure_ranges(base, adapter, staging)
        self.events("published", path=str(self.target), metrics=manifest.metrics)
        state = loop.state
        return TrainReport(
            task=self.task.name,
            name=self.name,
            method=self.recipe.method,
            path=self.target,
            base=self.base.id,
            labels=self.data.labels,
            headline=self.family.headline,
            metrics=manifest.metrics,
            temperature=manifest.temperature,
            history=tuple(loop.history),
            steps=state.global_step,
            seconds=round(time.monotonic() - started, 3),
            train_rows=len(self.data.training),
            held_out_rows=len(self.data.held_out),
            stopped_early=state.global_step < state.max_steps,
            gate=difference,
            trained=trainable.summary,
            warnings=tuple(self.data.warnings),
        )

    def _gate(
        self,
        trainable: Trainable,
        features: list[Feature],
        base: BaseFolder,
        adapter: AdapterFolder | None,
        device: str,
        serving_device: str,
    ) -> float:
        """Serve what was saved in a fresh process; raises GateError unless it answers as training did."""
        from nlptasks.training.loop.models import logits_of
        from nlptasks.training.publishing import gate

        options = BackendOptions(lambda _: base, lambda _: self.family.trained_head, serving_device, "float32")
        backends = Backends(self.plugins, options, self.settings.backend)
        backend, _ = backends.choose(base.id, adapter)
        backends.close()
        features = gate.evenly(sorted(features, key=len), GATE_TEXTS)
        logits = logits_of(trainable, self.family, features, device, batch_size=1)
        expected = [self.family.serving_logits(row, feature) for row, feature in zip(logits, features, strict=True)]
        served = gate.serve_again(
            base,
            adapter.path if adapter else None,
            self.family.trained_head,
            [feature.request for feature in features],
            device=serving_device,
            backend=backend,
            trust_remote_code=self.trust_remote_code,
        )
        difference = gate.compare(expected, served, self.family.trained_head.tolerance)
        count = len(features)
        text = f"Gate passed: a fresh process serves the same logits for {count} texts (difference {difference:.1e})"
        self.events("gate", text=text, difference=difference)
        return difference

    def _measure_ranges(self, base: BaseFolder, adapter: AdapterFolder | None, staging: Path) -> None:
        """Save the activation ranges for dtype int8 beside the weights; a failure is only a warning."""
        from nlptasks.runtime.int8.ranges import save_ranges
        from nlptasks.training.publishing.observing import measure_ranges

        rows = self.data.training
        self.events("phase", text="measures activation ranges for dtype int8")
        try:
            ranges = measure_ranges(self.family, base, adapter, rows, trust_remote_code=self.trust_remote_code)
        except NlptasksError as error:
            self.events(
                "warning", text=f"the activation ranges that make dtype int8 faster could not be measured: {error}"
            )
        else:
            save_ranges(ranges, staging)


def _target(settings: Settings, task: AnyTask, name: str, recipe: Recipe, *, replace: bool) -> Path:
    from nlptasks.store.adapter_store import AdapterStore, check_name

    if recipe.method == "full":
        target: Path = settings.data / "models" / task.name / check_name(name)
    else:
        target = AdapterStore(settings).folder(task.name, name)
    if target.exists() and not replace:
        what = "A model" if recipe.method == "full" else "An adapter"
        raise TrainingError(f"{what} {name!r} for {task.name} exists: give another --name, or --replace it.")
    return target
