"""`nlptasks adapters list|show|rm|export|import|merge|ranges`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nlptasks import Settings, default_plugins
from nlptasks.cli.inputs import Inputs, file_options, reading
from nlptasks.cli.train import as_data_options, data_options, label_names
from nlptasks.store import RANGES, AdapterStore, export_adapter, find_adapter, import_adapter
from nlptasks.surfaces import DownloadBar


@click.group()
def adapters_group() -> None:
    """The adapters in your store."""


@adapters_group.command("list")
@click.argument("task", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def list_command(task: str | None, as_json: bool) -> None:
    """List adapters, of one TASK or of all."""
    found = AdapterStore(Settings.from_env()).list(task)
    if as_json:
        rows = [{"path": str(a.path), **(a.manifest.model_dump() if a.manifest else {"name": a.name})} for a in found]
        click.echo(json.dumps(rows, indent=2))
        return
    if not found:
        click.echo("No adapters yet: train one with `nlptasks train TASK DATA --name NAME`.", err=True)
    for adapter in found:
        metrics = adapter.manifest.metrics if adapter.manifest else {}
        shown = "  ".join(f"{name} {value:.4g}" for name, value in list(metrics.items())[:3])
        click.echo(f"{adapter.path.parent.name}/{adapter.path.name}  on {adapter.base_id}  {shown}".rstrip())


@adapters_group.command("show")
@click.argument("task")
@click.argument("name", required=False)
def show_command(task: str, name: str | None) -> None:
    """Print an adapter's manifest as JSON; without NAME the one that ships with TASK."""
    adapter = find_adapter(default_plugins().task(task), name, Settings.from_env())
    content = adapter.manifest.model_dump(mode="json") if adapter.manifest else adapter.peft
    click.echo(json.dumps({"path": str(adapter.path), **content}, indent=2, ensure_ascii=False))


@adapters_group.command("rm")
@click.argument("task")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def remove_command(task: str, name: str, yes: bool) -> None:
    """Delete an adapter from the store."""
    store = AdapterStore(Settings.from_env())
    if not yes:
        click.confirm(f"Delete {store.folder(task, name)}?", abort=True)
    store.remove(task, name)
    click.echo(f"Deleted {task}/{name}.", err=True)


@adapters_group.command("export")
@click.argument("task")
@click.argument("name", required=False)
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, metavar="PATH",
              help="A new folder, or a new .zip for one archive.")  # fmt: skip
def export_command(task: str, name: str | None, target: Path) -> None:
    """Copy an adapter out of the store, as a standard PEFT folder or one archive; without NAME the one of TASK.

    \b
    nlptasks adapters export sentiment mine --to mine.zip
    """
    adapter = find_adapter(default_plugins().task(task), name, Settings.from_env())
    click.echo(export_adapter(adapter, target))


@adapters_group.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--task", help="What it is for, where it does not say so itself.")
@click.option("--name", help="Its name in the store; its own if not given.")
@click.option(
    "--labels", metavar="A,B,...", help="Names of the head's outputs, in their order, where nothing says them."
)
@click.option("-m", "--model", help="Base, where it does not name one that can be found.")
@click.option("--replace", is_flag=True, help="Replace an adapter of this name.")
def import_command(
    source: Path, task: str | None, name: str | None, labels: str | None, model: str | None, replace: bool
) -> None:
    """Check an adapter's folder or .zip and put it into the store: one of ours, or any LoRA folder of PEFT.

    \b
    nlptasks adapters import mine.zip
    nlptasks adapters import ./from-peft --task sentiment --labels negative,positive
    """
    with DownloadBar() as bar:
        done = import_adapter(
            source, Settings.from_env(), default_plugins(),
            task=task, name=name, labels=label_names(labels), model=model, replace=replace, on_progress=bar,
        )  # fmt: skip
    for note in done.notes:
        click.echo(f"Note: {note}.", err=True)
    click.echo(f"{done.task}/{done.adapter.path.name}")


@adapters_group.command("merge")
@click.argument("task")
@click.argument("name", required=False)
@click.option("--to", "target", type=click.Path(path_type=Path), metavar="FOLDER",
              help="A new folder; models/TASK/NAME in the data folder if not given.")  # fmt: skip
@click.option("--rows", "files", type=click.Path(exists=True, dir_okay=False, path_type=Path), multiple=True,
              metavar="FILE", help="Inputs to compare on, as `nlptasks run -f` reads them; the task's examples if not "
              "given. May be repeated.")  # fmt: skip
@click.option("--lines", "by_line", is_flag=True, help="Every line of a text file is one input.")
@file_options
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True,
              help="Numbers of the merged weights; bfloat16 takes half the room and rounds.")  # fmt: skip
@click.option("--limit", type=click.FloatRange(0, min_open=True),
              help="Most that may differ, as a share of the largest output; 0.001, in bfloat16 0.05.")  # fmt: skip
@click.option("-m", "--model", help="Base, where the adapter's own is not found by its name.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def merge_command(
    task: str,
    name: str | None,
    target: Path | None,
    files: tuple[Path, ...],
    by_line: bool,
    columns: tuple[str, ...],
    encoding: str | None,
    sheet: str | None,
    dtype: str,
    limit: float | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Write a model folder with an adapter's weights in it, for -m; without NAME the adapter that ships with TASK.

    The folder is written only if it answers as the adapter does.

    \b
    nlptasks adapters merge sentiment mine --rows reviews.txt --lines
    """
    from nlptasks.training import merge, use_line

    settings = Settings.from_env()
    plugins = default_plugins()
    found = plugins.task(task)
    adapter = find_adapter(found, name, settings)
    inputs = Inputs(found, reading(columns, encoding, sheet), by_line=by_line).read((), files)
    rows = [one.value for one in inputs if one.value is not None]
    target = target or settings.data / "models" / found.name / adapter.name
    with DownloadBar() as bar:
        report = merge(
            found, adapter, target, settings, plugins,
            rows=rows or None, dtype=dtype, limit=limit, model=model, on_progress=bar,
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
        return
    click.echo(f"{report.path}: {report.summary}\n  {use_line(found, f'-m {report.path}')}")


@adapters_group.command("ranges")
@click.argument("task")
@click.argument("data", nargs=-1, required=True)
@click.option(
    "-a", "--adapter", "name", help="Name in your store or folder; the one that ships with TASK if not given."
)
@click.option("-m", "--model", help="Base, where the adapter's own is not found by its name.")
@data_options
def ranges_command(task: str, data: tuple[str, ...], name: str | None, model: str | None, **columns: Any) -> None:
    """Measure on labelled DATA what numbers an adapter's layers are given, which makes --dtype int8 quicker.

    `nlptasks train` does it for text classifiers by itself. DATA is read as `nlptasks eval` reads it; 256 rows like
    those that the adapter was trained on are enough, and are taken if there are more.

    \b
    nlptasks adapters ranges sentiment train.csv -a mine
    """
    from nlptasks.training import add_ranges

    settings, plugins = Settings.from_env(), default_plugins()
    found = plugins.task(task)
    adapter = find_adapter(found, name, settings)
    with DownloadBar() as bar:
        ranges = add_ranges(
            found, adapter, data, settings, plugins, options=as_data_options(**columns), model=model, on_progress=bar
        )
    click.echo(f"{adapter.path / RANGES}: the ranges of {len(ranges)} layers")
