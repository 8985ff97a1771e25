"""`nlptasks run TASK [TEXT...]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from nlptasks.cli.common import DownloadBar, lines, option_values, read_inputs, read_stdin
from nlptasks.cli.render import render


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
@click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16 or float16.")
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
    """
    from nlptasks.engine import Engine

    values = option_values(options)
    bar = DownloadBar()
    with Engine(device=device, dtype=dtype, on_progress=bar) as engine:
        accepts = engine.plugins.task(task).input_type.model_fields
        inputs = _gather(texts, files, by_line, wanted=not any(name in accepts for name in values))
        shared: dict[str, Any] = {"adapter": adapter, "model": model}
        if len(inputs) == 1 and not as_json and not as_jsonl and _streams(engine, task):
            with engine.stream(task, inputs[0], **shared, **values) as pieces:
                _echo_stream(pieces, inputs[0])
            return
        many = len(inputs) > 1
        progress = len(inputs) >= 64 and sys.stderr.isatty()
        given: Any = inputs if many else inputs[0] if inputs else None
        found = engine.run(task, given, progress=progress, **shared, **values)
    bar.close()
    _print(found if many else [found], inputs, as_json=as_json, as_jsonl=as_jsonl, many=many)


def _gather(texts: tuple[str, ...], files: tuple[Path, ...], by_line: bool, *, wanted: bool) -> list[Any]:
    """The inputs in the order they were named; piped input when nothing was."""
    inputs: list[Any] = []
    for text in texts:
        if text == "-":
            inputs += lines(read_stdin()) if by_line else [read_stdin()]
        else:
            inputs.append(text)
    for file in files:
        inputs += read_inputs(file, by_line)
    if not inputs and wanted:
        if sys.stdin.isatty():
            raise click.UsageError("Expected a TEXT, -f FILE or input on standard input, found none.")
        whole = read_stdin()
        inputs = lines(whole) if by_line else [whole]
    return inputs


def _streams(engine: Any, task: str) -> bool:
    from nlptasks.families.text_to_text import can_stream

    return can_stream(engine.plugins.task(task))


def _echo_stream(pieces: Any, source: Any) -> None:
    if isinstance(source, str):
        click.echo(source, nl=False)
    for piece in pieces:
        click.echo(piece, nl=False)
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
        for result, source in zip(results, inputs or [None] * len(results), strict=True):
            shown = source if isinstance(source, str) else json.dumps(source, ensure_ascii=False)
            click.echo(render(result, shown if many else None))
