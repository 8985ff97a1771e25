"""`nlptasks adapters list|show|rm|export|import|merge|ranges`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nlptasks import Settings, default_plugins
from nlptasks.cli.common import base_option, json_option, print_json, task_argument
from nlptasks.cli.inputs import Inputs, reading_options, valid_inputs
from nlptasks.cli.train import as_data_options, data_options, label_names
from nlptasks.data import DataOptions
from nlptasks.store import RANGES, AdapterStore, export_adapter, find_adapter, import_adapter
from nlptasks.surfaces import DownloadBar


@click.group()
def adapters_group() -> None:
    """Manage the adapters in your store.

    NAME is the name of an adapter in the store. Where it is optional, the default is the adapter that ships with TASK.
    """


@adapters_group.command("list")
@click.argument("task", required=False)
@json_option
def list_command(task: str | None, as_json: bool) -> None:
    """List the adapters in the store, all or those of TASK. Those that cannot be used come last, with what is wrong."""
    store = AdapterStore(Settings.from_env())
    task = _task_name(store, task) if task else None
    adapters, faults = store.list(task), store.faults(task)
    if as_json:
        listed = [
            {"path": str(a.path), **(a.manifest.model_dump() if a.manifest else {"name": a.name})} for a in adapters
        ]
        print_json([*listed, *({"path": str(path), "fault": fault} for path, fault in faults.items())])
        return
    if not adapters and not faults:
        click.echo("No adapters yet: train one with `nlptasks train TASK DATA --name NAME`.", err=True)
    for adapter in adapters:
        metrics = adapter.manifest.metrics if adapter.manifest else {}
        values = "  ".join(f"{name} {value:.4g}" for name, value in list(metrics.items())[:3])
        click.echo(f"{adapter.path.parent.name}/{adapter.path.name}  on {adapter.base_id}  {values}".rstrip())
    for path, fault in faults.items():
        click.echo(f"{path.parent.name}/{path.name}  cannot be used: {fault}")


def _task_name(store: AdapterStore, name: str) -> str:
    """The name of a task, which may be an alias, or one whose plugin left its adapters here."""
    return name if name in store.tasks() else default_plugins().task(name).name


@adapters_group.command("show")
@task_argument
@click.argument("name", required=False)
def show_command(task: str, name: str | None) -> None:
    """Print the manifest of an adapter as JSON."""
    adapter = find_adapter(default_plugins().task(task), name, Settings.from_env())
    content = adapter.manifest.model_dump(mode="json") if adapter.manifest else adapter.peft
    print_json({"path": str(adapter.path), **content})


@adapters_group.command("rm")
@task_argument
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
def remove_command(task: str, name: str, yes: bool) -> None:
    """Delete an adapter from the store."""
    store = AdapterStore(Settings.from_env())
    task = _task_name(store, task)
    path = store.existing(task, name)
    if not yes:
        click.confirm(f"Delete {path}?", abort=True)
    store.remove(task, name)
    click.echo(f"Deleted {task}/{name}.", err=True)


@adapters_group.command("export")
@task_argument
@click.argument("name", required=False)
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, metavar="PATH",
              help="Folder or .zip file to write; must not exist.")  # fmt: skip
def export_command(task: str, name: str | None, target: Path) -> None:
    """Copy an adapter to a standard PEFT folder or a .zip archive.

    \b
    nlptasks adapters export sentiment mine --to mine.zip
    """
    adapter = find_adapter(default_plugins().task(task), name, Settings.from_env())
    click.echo(export_adapter(adapter, target))


@adapters_group.command("import", short_help="Add an adapter to the store, from a folder or a .zip archive.")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--task", help="Task that the adapter is for, if it was not made by nlptasks.")
@click.option("--name", help="Name in the store. Default: the adapter's name.")
@click.option("--labels", metavar="A,B,...", help="Label names in the order of the head's outputs, if the adapter has "
              "none.")  # fmt: skip
@base_option
@click.option("--replace", is_flag=True, help="Replace an existing adapter of this name.")
def import_command(source: Path, labels: str | None, **arguments: Any) -> None:
    """Add an adapter to the store: a folder or .zip that nlptasks wrote, or any LoRA folder of PEFT.

    The adapter is loaded and checked first.

    \b
    nlptasks adapters import mine.zip
    nlptasks adapters import ./from-peft --task sentiment --labels negative,positive
    """
    settings, plugins = Settings.from_env(), default_plugins()
    with DownloadBar() as bar:
        result = import_adapter(source, settings, plugins, labels=label_names(labels), on_progress=bar, **arguments)
    for note in result.notes:
        click.echo(f"Note: {note}.", err=True)
    click.echo(f"{result.task}/{result.adapter.path.name}")


@adapters_group.command("merge")
@task_argument
@click.argument("name", required=False)
@click.option("--to", "target", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Folder to write; must not exist. Default: models/TASK/NAME in the data folder.")  # fmt: skip
@click.option("--rows", "files", type=click.Path(exists=True, dir_okay=False, path_type=Path), multiple=True,
              metavar="FILE", help="Inputs for the comparison, in any format of `nlptasks run -f`. Default: the task's "
              "examples. Repeatable.")  # fmt: skip
@reading_options
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True,
              help="Number format of the merged weights; bfloat16 halves their size but rounds them.")  # fmt: skip
@click.option("--limit", type=click.FloatRange(0, min_open=True),
              help="Largest difference allowed, as a share of the largest output. Default: 0.001, for bfloat16 "
              "0.05.")  # fmt: skip
@base_option
@json_option
def merge_command(
    task: str,
    name: str | None,
    target: Path | None,
    files: tuple[Path, ...],
    by_line: bool,
    reading: DataOptions,
    dtype: str,
    limit: float | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Merge an adapter into its base, and write a model folder for -m.

    The outputs of both are compared first; the folder is written only if they agree.

    \b
    nlptasks adapters merge sentiment mine --rows reviews.txt --lines
    """
    from nlptasks.training import merge, use_line

    settings, plugins = Settings.from_env(), default_plugins()
    resolved = plugins.task(task)
    adapter = find_adapter(resolved, name, settings)
    inputs = Inputs(resolved, reading, by_line=by_line).read((), files)
    rows = valid_inputs(resolved, inputs)
    target = target or settings.data / "models" / resolved.name / adapter.name
    with DownloadBar() as bar:
        report = merge(
            resolved, adapter, target, settings, plugins,
            rows=rows or None, dtype=dtype, limit=limit, model=model, on_progress=bar,
        )  # fmt: skip
    if as_json:
        print_json(report.as_dict())
        return
    click.echo(f"{report.path}: {report.summary}\n  {use_line(resolved, f'-m {report.path}')}")


@adapters_group.command("ranges", short_help="Calibrate an adapter for --dtype int8.")
@task_argument
@click.argument("data", nargs=-1, required=True)
@click.option("-a", "--adapter", "name", help="Adapter: a name in your store or a folder. Default: the one that ships "
              "with TASK.")  # fmt: skip
@base_option
@data_options
def ranges_command(task: str, data: tuple[str, ...], name: str | None, model: str | None, **columns: Any) -> None:
    """Calibrate an adapter for --dtype int8: measure the ranges of its layers' inputs on DATA, which makes it faster.

    `nlptasks train` does this for text classifiers. DATA is labelled data like that of the training, as for `nlptasks
    eval`; at most 256 rows are used.

    \b
    nlptasks adapters ranges sentiment train.csv -a mine
    """
    from nlptasks.training import add_ranges

    settings, plugins = Settings.from_env(), default_plugins()
    resolved = plugins.task(task)
    adapter = find_adapter(resolved, name, settings)
    with DownloadBar() as bar:
        ranges = add_ranges(
            resolved, adapter, data, settings, plugins, options=as_data_options(**columns), model=model, on_progress=bar
        )
    click.echo(f"{adapter.path / RANGES}: the ranges of {len(ranges)} layers")
