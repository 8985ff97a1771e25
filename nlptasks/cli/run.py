"""`nlptasks run TASK [TEXT...]`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from nlptasks import DataError, Engine, GeneratedText, NlptasksError, can_stream, default_plugins
from nlptasks.cli.common import ROW_ERRORS, adapter_option, model_option, placement_options, task_argument, write_fields
from nlptasks.cli.completion import TASK, complete_option
from nlptasks.cli.inputs import Inputs, fields_and_options, reading_options
from nlptasks.data import DataOptions
from nlptasks.surfaces import DownloadBar, in_colour, notes, render, visible

if TYPE_CHECKING:
    from nlptasks.batches import Outcome, TaskRow


class _RunCommand(click.Command):
    """Its help has the fields and options of the task, if one is named: `nlptasks run qa --help`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[TASK] = next((arg for arg in args if not arg.startswith("-")), None)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-").replace("-", "_")
            with contextlib.suppress(NlptasksError):
                task = default_plugins().task(ctx.meta[TASK] or "")
                if name in {*task.options_type.model_fields, *task.input_type.model_fields}:
                    raise click.UsageError(
                        f"{error.option_name} is an option of the task: write -o {name} VALUE.", ctx
                    ) from None
            raise

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
              '{"row": 1, "input": {...}, "result": {...}}. Needs --json or --jsonl.')  # fmt: skip
@click.option("-o", "--option", "options", type=(str, str), multiple=True, metavar="KEY VALUE",
              shell_complete=complete_option, help="Option of the task, or field of its input; `nlptasks run TASK "
              "--help` lists them. Repeatable.")  # fmt: skip
@click.option("--explain", is_flag=True, help="Show how much each word speaks for the answer, with -o explain true.")
@adapter_option
@model_option
@placement_options
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
    explain: bool,
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

    Each row of a table is one input, and a row without an answer costs no other row its answer: its error is written in
    its place, and the exit code is 3. With --lines, a blank line gives the result null, so that line n of --jsonl
    belongs to line n of the text. Answers are written as they come; `nlptasks batch` goes on after a stop.

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
        if explain:
            values["explain"] = True
        engine.choose(resolved, adapter, model, resolved.validate_options(values))
        rows = Inputs(resolved, reading, by_line=by_line, fields=fields).gather(texts, files)
        first = list(islice(rows, 2))
        arguments: dict[str, Any] = {"adapter": adapter, "model": model, **values}
        single = first[0].value if len(first) == 1 else None
        if isinstance(single, str) and not as_json and not as_jsonl and _streams(resolved):
            with engine.stream(task, single, **arguments) as pieces:
                _echo_stream(pieces, "" if values.get("chat") else single)
            return
        outcomes = _outcomes(engine, resolved, chain(first, rows), len(first) == 1, arguments)
        if sys.stderr.isatty() and not sys.stdout.isatty():
            outcomes = iter(tqdm(outcomes, unit=" rows", delay=2, leave=False))
        if as_json or as_jsonl:
            outcomes = _guarded(outcomes)
            lines = (_json_value(resolved, number, one, keep) for number, one in enumerate(_noted(outcomes), start=1))
            for value in lines if as_jsonl else [list(lines)]:
                _print_json(value if as_jsonl or len(first) > 1 else value[0], as_line=as_jsonl)
        else:
            for outcome in _noted(outcomes):
                if outcome.result is not None:
                    text = render(outcome.result, outcome.row.value, several=len(first) > 1, colour=in_colour())
                    click.echo(text, color=in_colour())
    bar.close()


def _outcomes(
    engine: Engine, task: Any, rows: Iterator[TaskRow], single: bool, arguments: Mapping[str, Any]
) -> Iterator[Outcome]:
    from nlptasks.batches import Outcome, iter_answers

    if not single:
        yield from iter_answers(engine, task.name, rows, **arguments)
        return
    # Its faults are the command's, not those of one of many rows.
    (row,) = rows
    if row.error:
        raise DataError(f"{row.place}: {row.error}")
    # An explanation of a long text takes minutes.
    bar = bool(arguments.get("explain")) and sys.stderr.isatty()
    yield Outcome(row, None if row.value is None else engine.run(task.name, row.value, progress=bar, **arguments))


def _guarded(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """The outcomes, without what a task prints, which must not stand between lines of JSON."""
    while True:
        with redirect_stdout(sys.stderr):
            outcome = next(outcomes, None)
        if outcome is None:
            return
        yield outcome


def _noted(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """The outcomes; their errors go to stderr, with their number at the end and exit code 3."""
    rows = errors = 0
    for outcome in outcomes:
        rows += 1
        if outcome.error:
            errors += 1
            click.echo(f"{outcome.row.place or f'input {rows}'}: {outcome.error}", err=True)
        yield outcome
    if errors:
        click.echo(f"{errors} of {rows} inputs have no answer.", err=True)
        click.get_current_context().exit(ROW_ERRORS)


def _streams(task: Any) -> bool:
    """Whether the pieces are the answer itself; other results are parsed from the whole text."""
    return can_stream(task) and issubclass(task.result_type, GeneratedText)


def _echo_stream(stream: Any, source: Any) -> None:
    first = next(pieces := iter(stream), "")  # an error comes before the prompt is printed
    if isinstance(source, str):
        click.echo(visible(source), nl=False)
    for piece in chain([first], pieces):
        click.echo(visible(piece), nl=False)
        sys.stdout.flush()
    click.echo()
    if remarks := notes(stream.result()):
        click.echo(f"({', '.join(remarks)})", err=True)


def _json_value(task: Any, number: int, outcome: Outcome, keep: bool) -> Any:
    """A result, null for a blank line, or an error; with `keep`, the input's own columns beside it, or its fields."""
    row, result = outcome.row, outcome.result
    if row.value is None and not outcome.error:
        return None
    error = {"error": outcome.error} if outcome.error else {}
    if not keep:
        return error or result
    fields = dict(row.fields) or (None if row.value is None else task.as_fields(row.value))
    return {"row": number, "input": fields, "result": result, **error}


def _print_json(value: Any, *, as_line: bool) -> None:
    from pydantic_core import to_json

    indent = None if as_line else 2
    click.echo(to_json(value, indent=indent, inf_nan_mode="null", serialize_unknown=True).decode())
