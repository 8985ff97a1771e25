"""One training: the folds, the loop, the calibration, the gate, and what is published."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.backends import BackendOptions, Backends
from nlptasks.data.rows import plural
from nlptasks.errors import CancelledError, NlptasksError
from nlptasks.model import CancelToken
from nlptasks.plugins import Plugins
from nlptasks.process import import_alone
from nlptasks.settings import Settings
from nlptasks.store.adapters import AdapterFolder, open_adapter
from nlptasks.task import AnyTask, Recipe
from nlptasks.training import baselines
from nlptasks.training.families.base import Calibration, FamilyTrainer, Feature
from nlptasks.training.loop.checkpoints import RunFolder
from nlptasks.training.loop.events import Events
from nlptasks.training.loop.processes import Processes, together, train_beside
from nlptasks.training.loop.stopping import stopping
from nlptasks.training.preparation import Prepared
from nlptasks.training.start import Start

if TYPE_CHECKING:
    from nlptasks.runtime.loading.devices import Placement
    from nlptasks.store.download import BaseFolder
    from nlptasks.training.loop.models import Trainable
    from nlptasks.training.loop.trainer import Loop

GATE_TEXTS = 16


@dataclass(frozen=True)
class TrainReport:
    """A finished training.

    `history` has an entry for each evaluation: epoch, step, average training loss since the epoch began, and metrics,
    of which `headline` is the most important. The published weights are those of `best_epoch` and `best_step`.
    `baseline` has the metrics of answers that need no training; `ready` is False, and `warnings` say why, if one of
    them is as good. `folds` has the metrics of each fold of a cross-validation. `gate` is the largest difference
    between trained and served logits, as a share of the largest logit.
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
    best_epoch: float
    best_step: int
    baseline: dict[str, dict[str, float]]
    ready: bool
    folds: tuple[dict[str, float], ...] = ()
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


@dataclass(frozen=True)
class Fitted:
    """What a training of the weights came to. `best` has the epoch and the step of the weights that are published;
    `measured_rows` are those that the calibration was fitted on."""

    device: str
    steps: int
    max_steps: int
    history: tuple[dict[str, Any], ...]
    best: dict[str, Any]
    calibration: Calibration
    measured_rows: int


@dataclass
class Job:
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
    report_to: str = "none"
    processes: Processes = field(default_factory=Processes)

    def train(self) -> TrainReport:
        """Train, calibrate, pass the gate and publish."""
        from nlptasks.runtime.cpu.memory import trim_memory
        from nlptasks.runtime.loading.devices import choose_placement

        started = time.monotonic()
        import_alone("nlptasks.training.loop.trainer")
        for note in self.data.notes:
            self.events("note", text=note)
        for warning in self.data.warnings:
            self.events("warning", text=warning)
        if self.start:
            self.events("note", text=f"starts from the weights of {self.start.adapter.name!r}")
        placement = choose_placement(self.device, self.recipe.dtype)
        self.processes.check_devices(placement)
        folds = self._cross_validate(placement)
        trainable, training, held_out = self._build(placement, self.data.training, self.data.held_out)
        self.events("model", text=f"{self.base.id} on {placement.device} in {placement.dtype}: {trainable.summary}")
        for note in self.family.encoding_notes(training):
            self.events("note", text=note)
        beaten = self._baselines(trainable, placement, training, held_out)
        trainable, fitted = self._fit(trainable, training, held_out, placement)
        # The gate is a second process: memory that training steps hold for each other is released before.
        trim_memory()
        return self._publish(fitted, trainable, placement, training, held_out, started, beaten, folds)

    def _fit(
        self, trainable: Trainable, training: list[Feature], held_out: list[Feature], placement: Placement
    ) -> tuple[Trainable, Fitted]:
        """Train the weights and calibrate; the model to publish is in float32."""
        from nlptasks.training.loop.models import logits_of, on_plain_base

        loop = self._loop(trainable, training, held_out, placement, self.run.path, self.events)
        trainable = loop.trainable
        if not loop.sharded:
            # Accelerate leaves its autocast on `forward`; from here on everything is float32.
            trainable.model = loop.accelerator.unwrap_model(loop.model, keep_fp32_wrapper=False)
        device = str(loop.args.device)
        if self.recipe.load_in_4bit:
            del loop.model, loop.model_wrapped
            trainable = on_plain_base(trainable, self.base, self.family, self.recipe, placement, device)
        self.events("phase", text="answers the held-out rows with the best weights")
        calibration = self.family.calibrate(logits_of(trainable, self.family, held_out, device), held_out)
        steps, most = loop.state.global_step, loop.state.max_steps
        return trainable, Fitted(device, steps, most, tuple(loop.history), loop.best, calibration, len(held_out))

    def _build(self, placement: Placement, *rows: Sequence[Any]) -> tuple[Trainable, list[Feature], list[Feature]]:
        """The model before its first step, with encoded training rows and held-out rows."""
        from nlptasks.training.loop.models import build

        trainable = build(
            self.base, self.family, self.data.labels, self.recipe, placement, trust_remote_code=self.trust_remote_code
        )
        if self.start:
            self.start.load(trainable.model)
        training, held_out = (
            self.family.encode(part, self.data.labels, trainable.tokenizer, trainable.max_length, trainable.info)
            for part in rows
        )
        return trainable, training, held_out

    def _baselines(
        self, trainable: Trainable, placement: Placement, training: list[Feature], held_out: list[Feature]
    ) -> dict[str, dict[str, float]]:
        from nlptasks.training.loop.models import mean_vectors

        if not self.recipe.load_in_4bit:
            trainable.model.to(placement.device)
        vectors = partial(mean_vectors, trainable, self.family)
        beaten = self.family.baselines(training, held_out, vectors)
        if beaten:
            metric = baselines.judged_metric(self.family, self.recipe)
            self.events("note", text=baselines.described(metric, beaten))
        return beaten

    def _cross_validate(self, placement: Placement) -> list[dict[str, float]]:
        """The metrics of a training on the rows outside each fold, at its best evaluation."""
        count, folder = len(self.data.folds), self.run.path / "fold"
        measured = self.run.read_folds(count)
        for number, rows in enumerate(self.data.folds, start=1):
            if number > len(measured):
                try:
                    loop = self._loop(*self._build(placement, *rows), placement, folder, Events([]))
                except CancelledError:
                    raise CancelledError(f"Stopped in fold {number} of {count}.") from None
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
                measured.append(loop.best["metrics"])
                self.run.write_folds(count, measured)
            value = f"{self.family.headline} {measured[number - 1][self.family.headline]:.4f}"
            self.events("note", text=f"fold {number} of {count}: {value} on {plural(len(rows[1]), 'row')}")
        return measured

    def _loop(
        self,
        trainable: Trainable,
        training: list[Feature],
        held_out: list[Feature],
        placement: Placement,
        folder: Path,
        events: Events,
    ) -> Loop:
        """Train to the end, with the best weights in the model; raises CancelledError when stopped."""
        from nlptasks.runtime.loading.base import quiet_transformers
        from nlptasks.training.loop.trainer import Interrupted, Loop

        self.family.before_training(training, self.data.labels, self.recipe)
        fold = folder != self.run.path
        checkpoint = None if fold else self.checkpoint
        report_to = "none" if fold else self.report_to
        other = partial(
            train_beside, self.base, self.family, self.data.labels, self.recipe, placement, self.start, folder,
            training, held_out, checkpoint, report_to, self.trust_remote_code,
        )  # fmt: skip
        with (
            stopping(self.cancel) as stop,
            quiet_transformers(),
            together(self.processes, other, placement.device, stop),
        ):
            loop = Loop(
                trainable, self.family, self.recipe, placement, folder, training, held_out, events,
                stop=stop, finish=lambda: self.finish.cancelled, report_to=report_to,
            )  # fmt: skip
            try:
                loop.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
                if loop.sharded:
                    # Each process has a part of the weights; those of the checkpoint are whole.
                    loop.trainable, *_ = self._build(placement, (), ())
                    loop.trainable.model.to(placement.device)
                loop.restore_best()
            except Interrupted:
                step = loop.state.global_step
                events("interrupted", step=step)
                raise CancelledError(f"Stopped at step {step} of {loop.state.max_steps}, with a checkpoint.") from None
        return loop

    def _publish(
        self,
        fitted: Fitted,
        trainable: Trainable,
        placement: Placement,
        training: list[Feature],
        held_out: list[Feature],
        started: float,
        beaten: dict[str, dict[str, float]],
        folds: list[dict[str, float]],
    ) -> TrainReport:
        from nlptasks.runtime.loading.base import model_kind
        from nlptasks.store.adapter_store import writing
        from nlptasks.store.download import BaseFolder
        from nlptasks.training.loop.models import hub_name
        from nlptasks.training.publishing import card, publish

        data = self.data.described | ({"start": self.start.described} if self.start else {})
        data |= {"licence": self.licence} if self.licence else {}
        data |= {"baseline": beaten} if beaten else {}
        data |= {"folds": folds} if folds else {}
        data |= {} if held_out else {"cross_validated_rows": fitted.measured_rows}
        manifest = publish.describe(
            self.task, self.family, self.name, self.base, trainable, self.recipe, self.data.labels,
            fitted.calibration, data,
        )  # fmt: skip
        text = card.model_card(self.task, manifest, hub_name(self.base), trainable.summary, self.command, self.licence)
        with writing(self.target) as staging:
            self.events("phase", text="saves the weights, and compares the answers of a fresh process that loads them")
            publish.save(trainable, staging, manifest, text)
            base, adapter = BaseFolder(str(staging), None, staging, "training"), None
            if trainable.targets:
                base, adapter = self.base, open_adapter(staging)
            features = [*held_out, *training[:GATE_TEXTS]]
            difference = self._gate(trainable, features, base, adapter, fitted.device, placement.device)
            if self.family.measures_ranges and model_kind(trainable.task_model.config) == "encoder":
                self._measure_ranges(base, adapter, staging)
        short = baselines.shortfall(baselines.judged_metric(self.family, self.recipe), manifest.metrics, beaten)
        if short:
            self.events("warning", text=short)
        self.events("published", path=str(self.target), metrics=manifest.metrics)
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
            history=fitted.history,
            steps=fitted.steps,
            seconds=round(time.monotonic() - started, 3),
            train_rows=len(self.data.training),
            held_out_rows=fitted.measured_rows,
            stopped_early=fitted.steps < fitted.max_steps,
            gate=difference,
            trained=trainable.summary,
            best_epoch=fitted.best["epoch"],
            best_step=fitted.best["step"],
            baseline=beaten,
            ready=not short,
            folds=tuple(folds),
            warnings=(*self.data.warnings, *([short] if short else [])),
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
        from nlptasks.runtime.compiled.ranges import save_ranges
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
