"""`nlptasks run TASK [TEXT...]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from nlptasks import Engine, GeneratedText, can_stream
from nlptasks.cli.inputs import Input, Inputs, fields_and_options, file_options, reading
from nlptasks.surfaces import DownloadBar, in_colour, render, visible


@click.command()
@click.argument("task")
@click.argument("texts", metavar="[TEXT | -]...", nargs=-1)
@click.option("-f", "--file", "files", type=click.Path(exists=True, dir_okay=False, path_type=Path), multiple=True,
              help="Read inputs from a file: .txt, .csv, .tsv, .json, .jsonl, .parquet, .arrow, .xlsx, .conll, each "
              "also with .gz; may be repeated.")  # fmt: skip
@click.option("--lines", "by_line", is_flag=True, help="Every line of a text file or of standard input is one input.")
@file_options
@click.option("--keep", is_flag=True, help="With --json or --jsonl: each answer beside all columns of its row, as "
              'in {"input": {...}, "result": {...}}.')  # fmt: skip
@click.option("-o", "--option", "options", type=(str, str), multiple=True, metavar="KEY VALUE",
              help="A task option or a field of its input; see `nlptasks tasks`.")  # fmt: skip
@click.option("-a", "--adapter", help="Name in your store, folder, Hub id, or `none`.")
@click.option("-m", "--model", help="Base: catalog name, ORG/NAME[@revision] or folder.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16, float16 or int8.")
@click.option("--json", "as_json", is_flag=True, help="One JSON value: an object, or an array for several inputs.")
@click.option("--jsonl", "as_jsonl", is_flag=True, help="One JSON object a line.")
def run_command(
    task: str,
    texts: tuple[str, ...],
    files: tuple[Path, ...],
    by_line: bool,
    columns: tuple[str, ...],
    encoding: str | None,
    sheet: str | None,
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
    nlptasks run sentiment -f reviews.csv --jsonl > answers.jsonl
    nlptasks run sentiment -f orders.xlsx --columns text=remark --keep --jsonl
    cat letter.txt | nlptasks run sentiment -

    A table's columns are read by their names; with --columns others too. A blank line has the answer null, so that
    line n of --jsonl answers line n of a text.

    A task that needs two texts takes the second from -f, from standard input or from -o.

    \b
    nlptasks run qa "Who wrote it?" "When?" -f book.txt
    cat book.txt | nlptasks run qa "Who wrote it?"
    nlptasks run qa "When does it end?" -o context "The lease ends on 1 May."
    """
    if keep and not (as_json or as_jsonl):
        raise click.UsageError("--keep: expected --json or --jsonl beside it, found none.")
    file_reading = reading(columns, encoding, sheet)
    bar = DownloadBar()
    with Engine(device=device, dtype=dtype, on_progress=bar) as engine:
        found = engine.plugins.task(task)
        fields, values = fields_and_options(found, options)
        inputs = Inputs(found, file_reading, by_line=by_line, fields=fields).gather(texts, files)
        shared: dict[str, Any] = {"adapter": adapter, "model": model}
        if len(inputs) == 1 and not fields and not as_json and not as_jsonl and _streams(found):
            with engine.stream(task, inputs[0].value, **shared, **values) as pieces:
                _echo_stream(pieces, inputs[0].value)
            return
        filled = [one.value for one in inputs if one.value is not None]
        progress = len(filled) >= 64 and sys.stderr.isatty()
        answers = iter(engine.run(task, filled, progress=progress, **shared, **values))
    bar.close()
    results = [None if one.value is None else next(answers) for one in inputs]
    if as_json or as_jsonl:
        if keep:
            results = [result and _kept(found, one, result) for one, result in zip(inputs, results, strict=True)]
        _print_json(results, as_lines=as_jsonl)
    else:
        _print(results, inputs)


def _streams(task: Any) -> bool:
    """Whether the pieces are the answer as they come; other results are read out of the text first."""
    return can_stream(task) and issubclass(task.result_type, GeneratedText)


def _echo_stream(pieces: Any, source: Any) -> None:
    if isinstance(source, str):
        click.echo(visible(source), nl=False)
    for piece in pieces:
        click.echo(visible(piece), nl=False)
        sys.stdout.flush()
    click.echo()


def _kept(task: Any, one: Input, result: Any) -> dict[str, Any]:
    """A result beside what was read: all columns of its row, or the input's fields where there are no columns."""
    fields = dict(one.row.fields) if one.row and not one.row.bare else task.as_fields(one.value)
    return {"input": fields, "result": result}


def _print_json(values: list[Any], *, as_lines: bool) -> None:
    from pydantic_core import to_json

    for value in values if as_lines else [values if len(values) > 1 else values[0]]:
        indent = None if as_lines else 2
        click.echo(to_json(value, indent=indent, inf_nan_mode="null", serialize_unknown=True).decode())


def _print(results: list[Any], inputs: list[Input]) -> None:
    colour = in_colour()
    for result, one in zip(results, inputs, strict=True):
        if result is not None:
            click.echo(render(result, one.value, several=len(inputs) > 1, colour=colour), color=colour)
