"""`nlptasks train TASK DATA... --name NAME`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nlptasks import CancelledError, Recipe, Settings, default_plugins
from nlptasks.cli.common import option_values
from nlptasks.cli.inputs import file_options, pair_of, reading
from nlptasks.data import DataOptions
from nlptasks.surfaces import DownloadBar

if TYPE_CHECKING:
    from nlptasks.training import TrainReport

_FLAGS = (
    "start",
    "epochs",
    "lr",
    "load_in_4bit",
    "batch_size",
    "max_length",
    "accumulate",
    "warmup",
    "patience",
    "seed",
    "r",
    "alpha",
    "method",
    "dtype",
)

_DATA = (
    *("text_column", "label_column", "labels", "max_rows", "renames", "allow_misaligned", "held_out"),
    *("columns", "encoding", "sheet"),
)


def data_options(function: Any) -> Any:
    """Options of every command that reads labelled data."""
    for option in (
        file_options,
        click.option("--labels", metavar="A,B,...", help="Label names, in the order of their numbers."),
        click.option("--label-column", metavar="NAME", help="Column of the label; found by common names if not given."),
        click.option("--text-column", metavar="NAME", help="Column of the text; found by common names if not given."),
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
            help="Move spans that do not stand at their offsets, even if more than 1 % are so.",
        ),
        click.option("--max-rows", type=click.IntRange(min=1), help="Use that many rows, each label with its share."),
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
@click.argument("task")
@click.argument("data", nargs=-1, required=True)
@click.option("--name", required=True, help="Name of the adapter.")
@click.option("-m", "--model", help="Base: catalog name, ORG/NAME[@revision] or folder; the recipe's if not given.")
@click.option("--start", metavar="ADAPTER",
              help='Go on from an adapter: a name, a folder, a Hub id, or "shipped" for the task\'s own.')  # fmt: skip
@click.option("--recipe", "recipe_file", type=click.Path(path_type=Path), help="TOML file with recipe settings.")
@click.option("--validation", multiple=True, metavar="FILE", help="Held-out data; may be repeated.")
@click.option(
    "--exclude", multiple=True, metavar="FILE", help="Drop training rows whose texts stand here; may be repeated."
)
@click.option("--held-out", type=click.FloatRange(0, 0.9, min_open=True), default=0.1, show_default=True,
              help="Share of the data held out when no --validation is given.")  # fmt: skip
@data_options
@click.option("--epochs", type=float, help="Passes over the training rows.")
@click.option("--lr", type=float, help="Peak learning rate.")
@click.option("--batch-size", type=int, help="Rows in a batch.")
@click.option("--max-length", type=int, help="Tokens of a text that are read.")
@click.option("--accumulate", type=int, help="Batches in one optimizer step.")
@click.option("--warmup", type=float, help="Share of all steps in which the learning rate rises.")
@click.option("--patience", type=int, help="Stop after that many evaluations without a better metric; 0: never.")
@click.option("--seed", type=int, help="Seed of the split, the order and the new layers.")
@click.option("--r", type=int, help="Rank of LoRA.")
@click.option("--alpha", type=int, help="Scaling of LoRA.")
@click.option("--load-in-4bit", is_flag=True, default=None, help="Keep the base in 4 bits (QLoRA); needs a CUDA GPU.")
@click.option("--method", type=click.Choice(["lora", "full"]), help="Train an adapter, or all weights.")
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16"]), help="Numbers of the forward pass.")
@click.option("-o", "--option", "pairs", type=(str, str), multiple=True, metavar="KEY VALUE",
              help="Any recipe setting, as in -o label_smoothing 0.1; may be repeated.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--licence", help="Licence of the data, for the model card.")
@click.option("--resume", is_flag=True, help="Continue an unfinished run of this name.")
@click.option("--replace", is_flag=True, help="Replace an adapter or an unfinished run of this name.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def train_command(task: str, data: tuple[str, ...], name: str, as_json: bool, **given: Any) -> None:
    """Train an adapter for TASK on DATA: .csv, .tsv, .jsonl, .json, .parquet, .arrow, .xlsx, .conll (also .gz)
    or hub:ORG/NAME.

    \b
    nlptasks train sentiment reviews.csv --name mine
    nlptasks train sentiment reviews.csv --name blog --model gpt2 --batch-size 8 --max-length 64 --epochs 5
    """
    from nlptasks.cli.training_progress import TerminalProgress
    from nlptasks.training import RunFolder, finetune

    found = default_plugins().task(task)
    recipe = _recipe(found.recipe, given)
    options = as_data_options(**{name: given[name] for name in _DATA})
    bar = DownloadBar()
    try:
        with TerminalProgress() as progress:
            report = finetune(
                found,
                data,
                name=name,
                recipe=recipe,
                validation=given["validation"],
                exclude=given["exclude"],
                options=options,
                device=given["device"],
                licence=given["licence"],
                resume=given["resume"],
                replace=given["replace"],
                on_event=progress,
                on_download=bar,
            )
    except CancelledError as stopped:
        resumable = RunFolder(Settings.from_env(), found.name, name).last is not None
        click.echo(f"{stopped} Continue with the same command{' and --resume' if resumable else ''}.", err=True)
        raise
    except KeyboardInterrupt:
        click.echo("Stopped at once; the same command with --resume continues from the last checkpoint.", err=True)
        raise
    finally:
        bar.close()
    click.echo(json.dumps(report.as_dict(), ensure_ascii=False, indent=2) if as_json else _summary(found, report))


def _recipe(default: Recipe, given: dict[str, Any]) -> Recipe:
    """The task's recipe, then the file, then -o, then the options of their own."""
    from nlptasks.training import load_recipe, override

    recipe = load_recipe(given["recipe_file"], default) if given["recipe_file"] else default
    values = option_values(given["pairs"])
    values |= {name: given[name] for name in _FLAGS if given[name] is not None}
    if given["model"] is not None:
        values["base"] = given["model"]
    return override(recipe, values)


def _summary(task: Any, report: TrainReport) -> str:
    from nlptasks.training import use_line

    metrics = ", ".join(f"{name} {value:.4f}" for name, value in report.metrics.items())
    early = ", stopped early" if report.stopped_early else ""
    use = f"-a {report.name}" if report.method == "lora" else f"-m {report.path}"
    return "\n".join(
        (
            *_epochs(report),
            f"{report.name}: {metrics} on {report.held_out_rows} held-out rows",
            f"  {report.steps} steps on {report.train_rows} rows of {report.base} in {report.seconds:.0f} s{early}",
            f"  saved in {report.path}",
            f"  {use_line(task, use)}",
        )
    )


def _epochs(report: TrainReport) -> list[str]:
    """A line for every epoch; evaluations within an epoch are left to the progress on stderr."""
    lines = []
    for entry in report.history:
        if float(entry["epoch"]).is_integer() or entry is report.history[-1]:
            measured = f"validation {report.headline} {entry['metrics'][report.headline]:.4f}"
            lines.append(f"epoch {entry['epoch']:g}: average loss {entry['train_loss']:.4f}, {measured}")
    return lines
