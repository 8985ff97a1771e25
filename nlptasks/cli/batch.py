"""`nlptasks batch TASK -i FILE -o FILE` and `nlptasks batch join FILE`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nlptasks import CancelledError, Engine
from nlptasks.cli.common import ROW_ERRORS, adapter_option, model_option, placement_options
from nlptasks.cli.completion import complete_option, complete_task
from nlptasks.cli.inputs import fields_and_options, reading_options
from nlptasks.data import DataOptions, plural
from nlptasks.surfaces import DownloadBar

if TYPE_CHECKING:
    from nlptasks.batches import BatchProgress


_BAR = "{percentage:3.0f} % |{bar}| {n_fmt} of {total_fmt} rows {postfix}"


progress_option = click.option(
    "--progress", type=click.Choice(["bar", "json", "none"]),
    help="A bar, a line of JSON for programs each second, or nothing, on stderr. Default: a bar on a terminal.",
)  # fmt: skip


class _BatchGroup(click.Group):
    """Anything but the name of a command is the name of a task."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, args) if args[0] in self.commands else (args[0], task_command, args)


@click.group(cls=_BatchGroup, subcommand_metavar="TASK [OPTIONS] | join OUTPUT")
def batch_group() -> None:
    """Run TASK on every row of files of any size; `nlptasks batch TASK --help` has the options.

    \b
    nlptasks batch sentiment -i reviews.csv -o answers.parquet
    nlptasks batch sentiment -i reviews.csv -o answers.csv --shard 1/2
    nlptasks batch join answers.csv

    Killed at any moment and started again with the same command, a batch goes on where it stopped.
    """


@click.command()
@click.argument("task", metavar="", shell_complete=complete_task)  # the command before it is its name
@click.option("-i", "--input", "inputs", required=True, multiple=True, metavar="FILE", help="File of inputs, as for "
              "`nlptasks run -f`, or - for standard input, one text a line. Repeatable.")  # fmt: skip
@click.option("-o", "--output", required=True, metavar="FILE", help="File of answers: .jsonl, .csv, .parquet or .xlsx; "
              "- writes JSONL to standard output, and keeps nothing.")  # fmt: skip
@reading_options
@click.option("--keep", metavar="COLUMN,...", help="Columns of the input to keep, none if empty. Default: all.")
@click.option("--option", "options", type=(str, str), multiple=True, metavar="KEY VALUE",
              shell_complete=complete_option, help="Option of the task, or field of its input; `nlptasks run TASK "
              "--help` lists them. Repeatable.")  # fmt: skip
@adapter_option
@model_option
@placement_options
@click.option("--shard", metavar="N/COUNT", help="Answer one of COUNT shares of the rows; `batch join` joins them.")
@click.option("--part-rows", type=click.IntRange(min=1), help="Rows to answer and save at once. Default: 1024, or 32 "
              "for a task that writes text.")  # fmt: skip
@click.option("--restart", is_flag=True, help="Answer every row anew, and replace the output.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first row without an answer.")
@click.option("--ray", metavar="ADDRESS", help="Answer by actors of a Ray cluster: auto (the one that this machine "
              "belongs to), local (one for this command) or HOST:PORT.")  # fmt: skip
@click.option("--actors", type=click.IntRange(min=1), help="Actors of --ray. Default: as many as there is room for.")
@click.option("--actor-cpus", type=click.FloatRange(min=0), default=1, show_default=True, help="CPUs of an actor.")
@click.option("--actor-gpus", type=click.FloatRange(min=0), default=0, show_default=True, help="GPUs of an actor.")
@progress_option
def task_command(
    task: str,
    inputs: tuple[str, ...],
    output: str,
    by_line: bool,
    reading: DataOptions,
    keep: str | None,
    options: tuple[tuple[str, str], ...],
    device: str,
    dtype: str,
    ray: str | None,
    actors: int | None,
    actor_cpus: float,
    actor_gpus: float,
    progress: str | None,
    **settings: Any,
) -> None:
    """Run TASK on every row of files, and write a row with the answer for each.

    A row without an answer has the reason in the column TASK.error, and costs no other row its answer; the exit code is
    then 3.
    """
    from nlptasks.batches import batch

    cluster = None
    if ray is not None:
        from nlptasks.ray import Cluster

        cluster = Cluster(ray, actors, actor_cpus, actor_gpus)
    elif actors or actor_gpus or actor_cpus != 1:
        raise click.UsageError("--actors, --actor-cpus and --actor-gpus: expected --ray with them, found none.")
    downloads = DownloadBar()
    with Engine(device=device, dtype=dtype, on_progress=downloads) as engine:
        fields, values = fields_and_options(engine.plugins.task(task), options)
        columns = None if keep is None else [name.strip() for name in keep.split(",")]
        with Watch(progress, downloads) as watch, stopping(watch if output != "-" else None):
            report = batch(
                task, [Path(name) for name in inputs], output, engine=engine, reading=reading, by_line=by_line,
                keep=columns, ray=cluster, progress=watch, on_note=watch.note, **settings, **fields, **values,
            )  # fmt: skip
    conclude(report.rows, report.errors, report.output)


@batch_group.command("join")
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
def join_command(output: Path) -> None:
    """Write OUTPUT from its shards, once all of them are computed."""
    from nlptasks.batches import join_shards

    rows, errors = join_shards(output)
    conclude(rows, errors, output)


@contextmanager
def stopping(watch: Watch | None) -> Iterator[None]:
    """Say after Ctrl-C how a batch goes on, if it does."""
    try:
        yield
    except (KeyboardInterrupt, CancelledError):
        if watch:
            watch.close()
            if watch.saved is None:
                words = "Stopped before the first new row. The same command goes on from what is saved."
            else:
                begun = "goes on from there" if watch.saved else "begins anew"
                words = f"Stopped; {watch.saved} rows are saved. The same command {begun}."
            click.echo(words, err=True)
        raise


def conclude(rows: int, errors: int, output: Path | None) -> None:
    """Print how many rows were written, and end with exit code 3 if some have no answer."""
    place = f": {output}" if output else ""
    click.echo(f"{plural(rows, 'row')}, {errors} without an answer{place}", err=True)
    if errors:
        click.get_current_context().exit(ROW_ERRORS)


class Watch:
    """Shows the progress of a batch on stderr: as a bar, as lines of JSON, or not at all."""

    def __init__(self, kind: str | None, downloads: DownloadBar) -> None:
        self.saved: int | None = None
        self._kind = kind or ("bar" if sys.stderr.isatty() else "none")
        self._downloads = downloads
        self._bar: Any = None
        self._next = 0.0

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, progress: BatchProgress) -> None:
        self.saved = progress.saved
        if self._kind == "json":
            now = time.monotonic()
            if now >= self._next or progress.rows == progress.total:
                self._next = now + 1.0
                click.echo(json.dumps(progress._asdict()), err=True)
        elif self._kind == "bar":
            self._show(progress)

    def note(self, text: str) -> None:
        """Print a remark on the input."""
        click.echo(text, err=True)

    def close(self) -> None:
        """Remove the bar."""
        self._downloads.close()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, progress: BatchProgress) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._downloads.close()
            self._bar = tqdm(unit=" rows", leave=False, smoothing=0, bar_format=_BAR)
        self._bar.total = progress.total
        self._bar.n = progress.rows
        rate = f"{progress.rate:,.0f} rows/s" if progress.rate else ""
        left = f"{tqdm.format_interval(progress.left)} left" if progress.left else ""
        errors = f"{progress.errors} errors" if progress.errors else ""
        self._bar.set_postfix_str(", ".join(filter(None, [rate, left, errors])))
