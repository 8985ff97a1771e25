"""`nlptasks train TASK DATA... --name NAME`."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import click

from nlptasks import CancelledError, Settings, default_plugins
from nlptasks.cli.common import option_values, task_argument
from nlptasks.cli.inputs import file_options, pair_of, reading
from nlptasks.data import DataOptions, plural
from nlptasks.surfaces import DownloadBar

if TYPE_CHECKING:
    from nlptasks.training import TrainReport

_SETTINGS: dict[str, tuple[Any, str]] = {
    "init_from": (str, 'Start from an adapter: a name, a folder, a Hub id, or "shipped" for the one of the task.'),
    "num_train_epochs": (float, "Passes over the training rows."),
    "learning_rate": (float, "Peak learning rate."),
    "per_device_train_batch_size": (int, "Rows in a batch."),
    "max_length": (int, "Tokens of a text that are read."),
    "gradient_accumulation_steps": (int, "Batches in one optimizer step."),
    "warmup_ratio": (float, "Share of all steps in which the learning rate rises."),
    "early_stopping_patience": (int, "Stop after that many evaluations without a better metric; 0: never."),
    "seed": (int, "Seed of the split, the order of the rows and the new layers."),
    "r": (int, "Rank of LoRA."),
    "lora_alpha": (int, "LoRA is scaled by lora_alpha / r."),
    "method": (click.Choice(["lora", "full"]), "Train an adapter, or all weights."),
    "dtype": (click.Choice(["auto", "float32", "bfloat16"]), "Number format of the forward pass."),
}
"""Recipe settings that have an option; `-o` takes all."""

_SHORT = {"num_train_epochs": "--epochs", "learning_rate": "--lr", "per_device_train_batch_size": "--batch-size"}

_OLD_SETTINGS = ("start", "accumulate", "warmup", "patience", "alpha")
"""Options of version 0.1, hidden; the recipe reads them with a warning."""

_SWITCHES = ("few_shot", "contrastive_epochs", "load_in_4bit")

_DATA = (
    *("text_column", "label_column", "labels", "max_rows", "renames", "allow_misaligned", "held_out"),
    *("columns", "encoding", "sheet"),
)


_OTHERS = (
    "validation",
    "exclude",
    "device",
    "licence",
    "resume",
    "replace",
    "report_to",
    "num_processes",
    "accelerate_config",
)


def recipe_options(function: Any) -> Any:
    """Options for the settings of a recipe."""
    for name in _OLD_SETTINGS:
        function = click.option(f"--{name}", hidden=True)(function)
    for name, (kind, text) in reversed(_SETTINGS.items()):
        flags = [f"--{name.replace('_', '-')}", *([_SHORT[name]] if name in _SHORT else [])]
        function = click.option(*flags, name, type=kind, help=text)(function)
    return function


def data_options(function: Any) -> Any:
    """Options of every command that reads labelled data."""
    for option in (
        file_options,
        click.option("--labels", metavar="A,B,...", help="Label names, in the order of their numbers."),
        click.option("--label-column", metavar="NAME", help="Column of the label, if it has no common name."),
        click.option("--text-column", metavar="NAME", help="Column of the text, if it has no common name."),
        click.option(
            "--rename",
            "renames",
            metavar="OLD=NEW",
            multiple=True,
            help="Call the data's label OLD by the name NEW; may be repeated.",
        ),
        click.option(
            "--allow-misaligned",
            is_flag=True,
            help="Move spans whose text is not at their offsets, even if these are more than 1 %.",
        ),
        click.option(
            "--max-rows", type=click.IntRange(min=1), help="Use that many rows, in which each label keeps its share."
        ),
    ):
        function = option(function)
    return function


def as_data_options(labels: str | None, renames: tuple[str, ...], **values: Any) -> DataOptions:
    """The command line's values."""
    renamed = dict(pair_of("--rename", "OLD=NEW", pair) for pair in renames)
    return reading(labels=label_names(labels), rename=renamed, **values)


def label_names(labels: str | None) -> tuple[str, ...] | None:
    """The names in `--labels A,B,...`; an empty one is a usage error."""
    names = tuple(name.strip() for name in labels.split(",")) if labels is not None else None
    if names is not None and not all(names):
        raise click.UsageError(f"--labels: expected names joined by commas, found {labels!r}.")
    return names


@click.command()
@task_argument
@click.argument("data", nargs=-1, required=True)
@click.option("--name", required=True, help="Name of the adapter.")
@click.option("-m", "--model", help="Base: catalog name, ORG/NAME[@revision] or folder, instead of the recipe's.")
@click.option("--recipe", "recipe_file", type=click.Path(path_type=Path), help="TOML file with recipe settings.")
@click.option("--validation", multiple=True, metavar="FILE", help="Held-out data; may be repeated.")
@click.option(
    "--exclude", multiple=True, metavar="FILE", help="Drop training rows whose texts are in this file; may be repeated."
)
@click.option("--held-out", type=click.FloatRange(0, 0.9, min_open=True), default=0.1, show_default=True,
              help="Share of the data held out when no --validation is given.")  # fmt: skip
@data_options
@recipe_options
@click.option("--few-shot", is_flag=True, default=None,
              help="Fit a linear layer on the base's vectors: seconds, for a few rows a label.")  # fmt: skip
@click.option("--contrastive", "contrastive_epochs", flag_value=12.0, type=float, default=None,
              help="With --few-shot: first move the vectors of one label together, by 12 passes of LoRA"
              " (contrastive_epochs): better, and slower.")  # fmt: skip
@click.option("--multi-label", is_flag=True, default=None,
              help="A row may have several labels: a list, or names joined by |.")  # fmt: skip
@click.option("--load-in-4bit", is_flag=True, default=None, help="Hold the base in 4 bits (QLoRA); needs a CUDA GPU.")
@click.option("-o", "--option", "pairs", type=(str, str), multiple=True, metavar="KEY VALUE",
              help="Any recipe setting, as in -o ema_decay 0.99; may be repeated.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--licence", help="Licence of the data, for the model card.")
@click.option("--resume", is_flag=True, help="Continue an unfinished run of this name.")
@click.option("--replace", is_flag=True, help="Replace an adapter or an unfinished run of this name.")
@click.option("--folds", type=click.IntRange(min=2),
              help="Measure by cross-validation too: that many trainings more.")  # fmt: skip
@click.option("--report-to", default="none", metavar="NAME",
              help="Also log to tensorboard, mlflow, wandb, ..., if it is installed.")  # fmt: skip
@click.option("--num-processes", type=click.IntRange(min=1),
              help="Processes of this machine that share each batch: one for each GPU.")  # fmt: skip
@click.option(
    "--accelerate-config", metavar="FILE", help="Settings of the processes, as `accelerate config` wrote them."
)
@click.option("--dry-run", is_flag=True, help="Read the data, print the recipe that would be used, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def train_command(task: str, data: tuple[str, ...], name: str, as_json: bool, dry_run: bool, **values: Any) -> None:
    """Train an adapter for TASK on DATA: .csv, .tsv, .jsonl, .json, .parquet, .arrow, .xlsx, .conll (also .gz)
    or hub:ORG/NAME.

    \b
    nlptasks train sentiment reviews.csv --name mine
    nlptasks train classify tickets.csv --name tickets --few-shot
    nlptasks train sentiment reviews.csv --name blog --model gpt2 --batch-size 8 --max-length 64 --epochs 5
    """
    from nlptasks.cli.training_progress import TerminalProgress
    from nlptasks.training import RunFolder, finetune

    chosen = default_plugins().task(task)
    options = as_data_options(**{name: values[name] for name in _DATA})
    if dry_run:
        click.echo(_planned(chosen, data, values, options, as_json))
        return
    bar = DownloadBar()
    try:
        with TerminalProgress() as progress:
            report = finetune(
                chosen,
                data,
                name=name,
                recipe=_changes(values),
                options=options,
                on_event=progress,
                on_download=bar,
                folds=values["folds"] or 0,
                **{name: values[name] for name in _OTHERS},
            )
    except CancelledError as stopped:
        resumable = RunFolder(Settings.from_env(), chosen.name, name).resumable
        click.echo(f"{stopped} Continue with the same command{' and --resume' if resumable else ''}.", err=True)
        raise
    except KeyboardInterrupt:
        click.echo("Stopped at once; the same command with --resume continues from the last checkpoint.", err=True)
        raise
    finally:
        bar.close()
    click.echo(json.dumps(report.as_dict(), ensure_ascii=False, indent=2) if as_json else _summary(chosen, report))


def _planned(task: Any, data: tuple[str, ...], values: dict[str, Any], options: DataOptions, as_json: bool) -> str:
    """The effective recipe, as a file for --recipe or as JSON; what was read is told on stderr."""
    from nlptasks.training import plan

    sides = {name: values[name] for name in ("validation", "exclude")}
    prepared = plan(task, data, recipe=_changes(values), options=options, **sides)
    for line in (*prepared.notes, *(f"Warning: {warning}" for warning in prepared.warnings)):
        click.echo(line, err=True)
    settings = prepared.recipe.model_dump(mode="json", exclude_none=True)
    if as_json:
        return json.dumps(settings, ensure_ascii=False, indent=2)
    extra = {f"extra.{name}": value for name, value in settings.pop("extra").items()}
    return "\n".join(f"{name} = {_toml(value)}" for name, value in {**settings, **extra}.items())


def _toml(value: Any) -> str:
    """A value of JSON in TOML, where only tables are written differently."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items()) + "}"
    return json.dumps(value)


def _changes(values: dict[str, Any]) -> dict[str, Any]:
    """Recipe settings of the file, of -o, and of the options for single settings; the later ones win."""
    from nlptasks.training import recipe_file

    changes = recipe_file(values["recipe_file"]) if values["recipe_file"] else {}
    settings = {name: values[name] for name in (*_SETTINGS, *_OLD_SETTINGS, *_SWITCHES)}
    settings |= {"base": values["model"], "extra.multi_label": values["multi_label"]}
    chosen = {name: value for name, value in settings.items() if value is not None}
    return changes | {name.replace("-", "_"): value for name, value in option_values(values["pairs"]).items()} | chosen


def _summary(task: Any, report: TrainReport) -> str:
    from nlptasks.training import use_line

    metrics = ", ".join(f"{name} {value:.4f}" for name, value in report.metrics.items())
    early = ", stopped early" if report.stopped_early else ""
    use = f"-a {report.name}" if report.method == "lora" else f"-m {report.path}"
    spread = [f"  {line}" for line in [_spread(report)] if line]
    best = [
        f"  the weights of epoch {report.best_epoch:g}, step {report.best_step}, the best of "
        f"{len(report.history)} evaluations"
    ] if report.history else []  # fmt: skip
    warnings = [warning if warning.startswith("Not ready") else f"  Warning: {warning}" for warning in report.warnings]
    rows = plural(report.train_rows, "row")
    return "\n".join(
        (
            *_epochs(report),
            f"{report.name}: {metrics} on {report.held_out_rows} {'held-out rows' if report.history else 'rows'}",
            f"  {report.steps} steps on {rows} of {report.base} in {report.seconds:.0f} s{early}",
            *best,
            *spread,
            f"  saved in {report.path}",
            f"  {use_line(task, use)}",
            *warnings,
        )
    )


def _spread(report: TrainReport) -> str:
    """The mean and the standard deviation of the headline over the folds of a cross-validation."""
    values = [fold[report.headline] for fold in report.folds]
    return f"{len(values)} folds: {report.headline} {mean(values):.4f} ± {stdev(values):.4f}" if values else ""


def _epochs(report: TrainReport) -> list[str]:
    """A line for every epoch; evaluations within an epoch are left to the progress on stderr."""
    lines = []
    for entry in report.history:
        if float(entry["epoch"]).is_integer() or entry is report.history[-1]:
            measured = f"validation {report.headline} {entry['metrics'][report.headline]:.4f}"
            lines.append(f"epoch {entry['epoch']:g}: average loss {entry['train_loss']:.4f}, {measured}")
    return lines
