"""`nlptasks run TASK [TEXT...]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from nlptasks import Engine, GeneratedText, can_stream
from nlptasks.cli.inputs import fields_and_options, gather
from nlptasks.surfaces import DownloadBar, in_colour, render, visible


@click.command()
@click.argument("task")
@click.argument("texts", metavar="[TEXT | -]...", nargs=-1)
@click.option("-f", "--file", "files", type=click.Path(exists=True, dir_okay=False, path_type=Path), multiple=True,
              help="Read inputs from a .txt, .jsonl, .csv or .tsv file; may be repeated.")  # fmt: skip
@click.option("--lines", "by_line", is_flag=True, help="Every line of a text file or of standard input is one input.")
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
    cat letter.txt | nlptasks run sentiment -

    A task that needs two texts takes the second from -f, from standard input or from -o.

    \b
    nlptasks run qa "Who wrote it?" "When?" -f book.txt
    cat book.txt | nlptasks run qa "Who wrote it?"
    nlptasks run qa "When does it end?" -o context "The lease ends on 1 May."
    """
    bar = DownloadBar()
    with Engine(device=device, dtype=dtype, on_progress=bar) as engine:
        found = engine.plugins.task(task)
        fields, values = fields_and_options(found, options)
        inputs = gather(found, texts, files, by_line, fields)
        shared: dict[str, Any] = {"adapter": adapter, "model": model}
        if len(inputs) == 1 and not fields and not as_json and not as_jsonl and _streams(found):
            with engine.stream(task, inputs[0], **shared, **values) as pieces:
                _echo_stream(pieces, inputs[0])
            return
        many = len(inputs) > 1
        progress = len(inputs) >= 64 and sys.stderr.isatty()
        given: Any = inputs if many else inputs[0] if inputs else None
        answers = engine.run(task, given, progress=progress, **shared, **values)
    bar.close()
    _print(answers if many else [answers], inputs, as_json=as_json, as_jsonl=as_jsonl, many=many)


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


def _print(results: list[Any], inputs: list[Any], *, as_json: bool, as_jsonl: bool, many: bool) -> None:
    if as_jsonl:
        for result in results:
            click.echo(result.model_dump_json())
    elif as_json:
        dumped = [result.model_dump(mode="json") for result in results]
        click.echo(json.dumps(dumped if many else dumped[0], ensure_ascii=False, indent=2))
    else:
        colour = in_colour()
        for result, source in zip(results, inputs, strict=True):
            click.echo(render(result, source, several=many, colour=colour), color=colour)
