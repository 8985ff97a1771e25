"""`finetune`: data in, an adapter that has passed the gate out."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.data.frames import data_sources
from nlptasks.data.labelled_texts import DataOptions
from nlptasks.errors import CancelledError, MissingExtraError, TrainingError
from nlptasks.model import CancelToken
from nlptasks.plugins import Plugins, default_plugins
from nlptasks.process import LOADING, import_alone
from nlptasks.settings import Settings
from nlptasks.task import AnyTask, Recipe, current_settings
from nlptasks.training import recipes
from nlptasks.training.families.base import FamilyTrainer, recipe_trainer
from nlptasks.training.few_shot_job import FewShotJob
from nlptasks.training.job import Job, TrainReport
from nlptasks.training.loop import quantizing
from nlptasks.training.loop.checkpoints import RunFolder
from nlptasks.training.loop.events import EventFile, Events, Listener
from nlptasks.training.loop.processes import read_processes
from nlptasks.training.preparation import Prepared, prepare, run_plan
from nlptasks.training.publishing.card import command_line
from nlptasks.training.start import find_start

if TYPE_CHECKING:
    from nlptasks.store.download import Progress


def finetune(
    task: AnyTask | str,
    data: Any,
    *,
    name: str,
    recipe: Recipe | Mapping[str, Any] | None = None,
    validation: Any = (),
    exclude: Any = (),
    options: DataOptions | None = None,
    settings: Settings | None = None,
    device: str = "auto",
    licence: str | None = None,
    resume: bool = False,
    replace: bool = False,
    folds: int = 0,
    report_to: str = "none",
    num_processes: int | None = None,
    accelerate_config: str | Path | None = None,
    cancel: CancelToken | None = None,
    finish: CancelToken | None = None,
    on_event: Listener | None = None,
    on_download: Callable[[Progress], None] | None = None,
    trust_remote_code: bool = False,
    plugins: Plugins | None = None,
    **changes: Any,
) -> TrainReport:
    """Train an adapter for a task and publish it in the user's store.

    `finetune("sentiment", "reviews.csv", name="mine", num_train_epochs=5)` changes a setting of the task's recipe, as
    `--epochs 5` does. `few_shot=True` makes a classifier of a few rows in seconds, `contrastive_epochs=12` beside it a
    better one.

    Args:
        task: a task or its name.
        data: files and Hub data sets (`hub:ORG/NAME[@REVISION][:SPLIT]`), several are joined; or a table of pandas,
            polars, Arrow or `datasets`, a mapping of columns to lists, a list of mappings, or of pairs (text, label).
        name: the adapter's name.
        recipe: how to train, or settings that differ from the recipe of the task; by default that recipe.
        validation: held-out data; without it a share of `data` is held out.
        exclude: data whose texts must not be trained on.
        options: columns, label names, limits.
        settings: the folders of adapters, runs and bases.
        device: auto, cpu, cuda or mps.
        licence: the data's licence, for the model card.
        resume: continue an unfinished run from its last checkpoint.
        replace: replace an adapter of this name, and an unfinished run.
        folds: measure by cross-validation too: that many trainings, each on the rows outside one fold.
        report_to: a logger that transformers knows and that is installed: tensorboard, mlflow, wandb, ...
        num_processes: processes that share each batch, one for each GPU; a program that calls this with more than one
            must guard its own start with `if __name__ == "__main__"`. By default that of `accelerate_config`, or 1.
        accelerate_config: a file that `accelerate config` wrote, for one machine.
        cancel: stops after the current step, with a checkpoint.
        finish: ends the training after the current step and publishes the best weights so far.
        on_event: receives every event.
        on_download: receives the progress of the base's download.
        trust_remote_code: whether code that comes with the base may run.
        plugins: whose tasks and bases may be named; by default those of the process.
        changes: settings that differ from `recipe`, by the names of `Recipe`.

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
    family, recipe, fixed = _choose(task, recipe, changes)
    if report_to != "none":
        _check_logger(report_to, recipe)
    processes = read_processes(num_processes, accelerate_config)
    if recipe.load_in_4bit:
        quantizing.check(recipe, family.verb, device)
    target = _target(settings, task, name, recipe, replace=replace)
    run = RunFolder(settings, task.name, name)
    recipe = run.as_begun(recipe, fixed) if resume else recipe
    sources, validation, exclude = map(data_sources, (data, validation, exclude))
    prepared = prepare(
        family, sources, validation, exclude, options or DataOptions(), recipe, settings, fixed=fixed, folds=folds
    )
    recipe = prepared.recipe
    processes.check(recipe)
    base = find_base(recipe.base, settings, on_progress=on_download, shipped={**plugins.bases, **task.bases})
    start = find_start(task, family, base, recipe, prepared.labels, settings)
    recipe = recipe.replace(init_from=start.name if start else None)
    command = command_line(task, name, recipe, sources, validation, exclude, options)
    with run.locked():
        checkpoint = run.start(run_plan(base, prepared, recipe, start), resume=resume, replace=replace)
        events = Events([EventFile(run.events), *([on_event] if on_event else [])])
        job = (FewShotJob if recipe.few_shot else Job)(
            task, family, name, recipe, base, start, prepared, settings, plugins, device, trust_remote_code, licence,
            command, target, run, checkpoint, events, cancel or CancelToken(), finish or CancelToken(), report_to,
            processes,
        )  # fmt: skip
        import_alone("accelerate.utils")
        from accelerate.utils import patch_environment

        try:
            with patch_environment(**processes.variables):
                report = job.train()
        except CancelledError:
            raise
        except BaseException as error:
            events("failed", text=str(error) or type(error).__name__)
            raise
        run.clear()
        return report


def plan(
    task: AnyTask | str,
    data: Any,
    *,
    recipe: Recipe | Mapping[str, Any] | None = None,
    validation: Any = (),
    exclude: Any = (),
    options: DataOptions | None = None,
    settings: Settings | None = None,
    plugins: Plugins | None = None,
    **changes: Any,
) -> Prepared:
    """The rows and the recipe that `finetune` would train with; no model is loaded. Raises what `finetune` raises."""
    task = (plugins or default_plugins()).task(task) if isinstance(task, str) else task
    family, recipe, fixed = _choose(task, recipe, changes)
    sources, validation, exclude = map(data_sources, (data, validation, exclude))
    settings, options = settings or Settings.from_env(), options or DataOptions()
    return prepare(family, sources, validation, exclude, options, recipe, settings, fixed=fixed)


def _choose(
    task: AnyTask, recipe: Recipe | Mapping[str, Any] | None, changes: Mapping[str, Any]
) -> tuple[FamilyTrainer, Recipe, set[str]]:
    """The family, the checked recipe, and its settings that the caller chose."""
    if isinstance(recipe, Mapping):
        changes = {**recipe, **changes}
    chosen = recipes.override(recipe if isinstance(recipe, Recipe) else task.recipe, changes)
    fixed = recipes.changed_settings(chosen, task.recipe) | set(current_settings(changes)[0])
    family = recipe_trainer(task, chosen)
    recipes.check_for(chosen, family)
    return family, recipes.for_few(chosen, fixed) if chosen.few_shot else chosen, fixed


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


def _check_logger(name: str, recipe: Recipe) -> None:
    with LOADING:
        from transformers.integrations.integration_utils import (
            INTEGRATION_TO_CALLBACK,
            get_available_reporting_integrations,
        )

    installed: list[str] = get_available_reporting_integrations()  # type: ignore[no-untyped-call]
    if name not in installed:
        listed = ", ".join(installed) or "none"
        why = "its package is missing" if name in INTEGRATION_TO_CALLBACK else "transformers knows none of this name"
        raise TrainingError(f"report_to: expected a logger that is installed ({listed}), found {name!r}: {why}.")
    if recipe.few_shot:
        raise TrainingError(f"report_to: expected none with few_shot, which has no losses to log, found {name!r}.")
