"""`nlptasks run TASK [TEXT...]`."""

from __future__ import annotations

import contextlib
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import click

from nlptasks import Engine, GeneratedText, NlptasksError, can_stream, default_plugins
from nlptasks.cli.common import adapter_option, model_option, task_argument, write_fields
from nlptasks.cli.completion import TASK, complete_option
from nlptasks.cli.inputs import Input, Inputs, fields_and_options, reading_options
from nlptasks.data import DataOptions
from nlptasks.surfaces import DownloadBar, in_colour, render, visible


class _RunCommand(click.Command):
    """Its help has the fields and options of the task, if one is named: `nlptasks run qa --help`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[TASK] = next((arg for arg in args if not arg.startswith("-")), None)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        with contextlib.suppress(NlptasksError):
            if name := ctx.meta[TASK]:
                write_fields(default_plugins().task(name), formatter)


@click.command(cls=_RunCommand)
@task_argument
@click.argument("texts", metavar="[TEXT | -]...", nargs=-1)
@click.option("-f", "--file", "files", type=click.Path(exists=True, dir_okay=False, path_type=Path), multiple=True,
              help="File of inputs: .txt, .csv, .tsv, .json, .jsonl, .parquet, .arrow, .xlsx or .conll, each also "
              "with .gz. Repeatable.")  # fmt: skip
@reading_options
@click.option("--keep", is_flag=True, help="Print each result with its input and all columns of its row, as "
              '{"input": {...}, "result": {...}}. Needs --json or --jsonl.')  # fmt: skip
@click.option("-o", "--option", "options", type=(str, str), multiple=True, metavar="KEY VALUE",
              shell_complete=complete_option, help="Option of the task, or field of its input; `nlptasks run TASK "
              "--help` lists them. Repeatable.")  # fmt: skip
@adapter_option
@model_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16, float16 or int8.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an object, or an array for several inputs.")
@click.option("--jsonl", "as_jsonl", is_flag=True, help="Print one JSON object per line.")
def run_command(
    task: str,
    texts: tuple[str, ...],
    files: tuple[Path, ...],
    by_line: bool,
    reading: DataOptions,
    keep: bool,
    options: tuple[tuple[str, str], ...],
    adapter: str | None,
    model: str | None,
    device: str,
    dtype: str,
    as_json: bool,
    as_jsonl: bool,
) -> None:
    """Run TASK on texts, files or standard input (-).

    \b
    nlptasks run sentiment "I loved it."
    nlptasks run sentiment -f reviews.csv --jsonl > results.jsonl
    nlptasks run sentiment -f orders.xlsx --columns text=remark --keep --jsonl
    cat letter.txt | nlptasks run sentiment -

    Each row of a table is one input. With --lines, a blank line gives the result null, so that line n of --jsonl
    belongs to line n of the text.

    A task that needs two texts takes the second from -f, standard input or -o:

    \b
    nlptasks run qa "Who wrote it?" "When?" -f book.txt
    cat book.txt | nlptasks run qa "Who wrote it?"
    nlptasks run qa "When does it end?" -o context "The lease ends on 1 May."
    """
    if keep and not (as_json or as_jsonl):
        raise click.UsageError("--keep: expected --json or --jsonl beside it, found none.")
    bar = DownloadBar()
    with Engine(device=device, dtype=dtype, on_progress=bar) as engine:
        resolved = engine.plugins.task(task)
        fields, values = fields_and_options(resolved, options)
        inputs = Inputs(resolved, reading, by_line=by_line, fields=fields).gather(texts, files)
        arguments: dict[str, Any] = {"adapter": adapter, "model": model, **values}
        if len(inputs) == 1 and not fields and not as_json and not as_jsonl and _streams(resolved):
            with engine.stream(task, inputs[0].value, **arguments) as pieces:
                _echo_stream(pieces, "" if values.get("chat") else inputs[0].value)
            return
        filled = [one.value for one in inputs if one.value is not None]
        progress = len(filled) >= 64 and sys.stderr.isatty()
        # What a task prints must not stand between the lines of the JSON.
        with redirect_stdout(sys.stderr) if as_json or as_jsonl else nullcontext():
            answers = iter(engine.run(task, filled, progress=progress, **arguments))
    bar.close()
    results = [None if one.value is None else next(answers) for one in inputs]
    if as_json or as_jsonl:
        if keep:
            pairs = zip(inputs, results, strict=True)
            results = [result and _with_input(resolved, one, result) for one, result in pairs]
        _print_json(results, as_lines=as_jsonl)
        return
    colour = in_colour()
    for result, one in zip(results, inputs, strict=True):
        if result is not None:
            click.echo(render(result, one.value, several=len(inputs) > 1, colour=colour), color=colour)


def _streams(task: Any) -> bool:
    """Whether the pieces are the answer itself; other results are parsed from the whole text."""
    return can_stream(task) and issubclass(task.result_type, GeneratedText)


def _echo_stream(pieces: Any, source: Any) -> None:
    if isinstance(source, str):
        click.echo(visible(source), nl=False)
    for piece in pieces:
        click.echo(visible(piece), nl=False)
        sys.stdout.flush()
    click.echo()


def _with_input(task: Any, one: Input, result: Any) -> dict[str, Any]:
    """A result with its input: all columns of its row, or the input's fields if it has no row."""
    fields = dict(one.row.fields) if one.row and not one.row.bare else task.as_fields(one.value)
    return {"input": fields, "result": result}


def _print_json(values: list[Any], *, as_lines: bool) -> None:
    from pydantic_core import to_json

    for value in values if as_lines else [values if len(values) > 1 else values[0]]:
        indent = None if as_lines else 2
        click.echo(to_json(value, indent=indent, inf_nan_mode="null", serialize_unknown=True).decode())
