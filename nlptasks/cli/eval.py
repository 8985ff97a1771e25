"""`nlptasks eval TASK DATA... [-a ADAPTER] [--compare]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nlptasks import DataError, Engine
from nlptasks.cli.common import adapter_option, model_option, option_values, placement_options, task_argument
from nlptasks.cli.train import as_data_options, data_options
from nlptasks.surfaces import DownloadBar

if TYPE_CHECKING:
    from nlptasks.training import Comparison, EvalReport


@click.command()
@task_argument
@click.argument("data", nargs=-1, required=True)
@adapter_option
@model_option
@click.option("--compare", is_flag=True, help="Also measure the task without -a and -m, on the same rows.")
@click.option(
    "--perplexity", "as_text", is_flag=True, help="DATA is plain text; measure how well the model predicts it."
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    help="Tokens of a window for --perplexity; by default 1024, if the model reads as many.",
)
@click.option(
    "--stride", type=click.IntRange(min=1), help="Tokens from one window to the next; by default half a window."
)
@data_options
@click.option("-o", "--option", "pairs", type=(str, str), multiple=True, metavar="KEY VALUE",
              help="Option of the task, as in -o threshold 0.5; may be repeated.")  # fmt: skip
@placement_options
@click.option("--predictions", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write each row's answer as a line of JSON.")  # fmt: skip
@click.option("--slice", "slices", multiple=True, metavar="COLUMN",
              help="Also measure the rows of each value of a column, such as a domain; may be repeated.")  # fmt: skip
@click.option("--report", "page", type=click.Path(dir_okay=False), metavar="FILE.html",
              help="Write the report as an HTML page.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the reports as one JSON value.")
def eval_command(
    task: str,
    data: tuple[str, ...],
    adapter: str | None,
    model: str | None,
    compare: bool,
    as_text: bool,
    window: int | None,
    stride: int | None,
    device: str,
    dtype: str,
    predictions: str | None,
    slices: tuple[str, ...],
    page: str | None,
    as_json: bool,
    pairs: tuple[tuple[str, str], ...],
    **columns: Any,
) -> None:
    """Measure TASK on labelled DATA, exactly as it is served.

    \b
    nlptasks eval sentiment test.csv
    nlptasks eval sentiment test.csv -a mine --compare
    nlptasks eval generation novel.txt --perplexity --stride 512
    """
    from nlptasks.cli.reports.page import write_page
    from nlptasks.cli.reports.tables import as_text as text_of
    from nlptasks.training import compare as compare_reports
    from nlptasks.training import evaluate, perplexity

    if compare and adapter is None and model is None:
        raise click.UsageError("--compare: expected -a ADAPTER or -m MODEL to compare with the default, found none.")
    if as_text and (slices or page or predictions):
        raise click.UsageError("--slice, --report, --predictions: expected none beside --perplexity.")
    if not as_text and (window or stride):
        raise click.UsageError("--window, --stride: expected --perplexity beside them, found none.")
    if page and Path(page).suffix.lower() not in {".html", ".htm"}:
        raise click.UsageError(f"--report: expected a name that ends in .html, found {page!r}.")
    _check_outputs([Path(name) for name in (page, predictions) if name], data)
    options = as_data_options(**columns)
    progress = sys.stderr.isatty()
    with DownloadBar() as bar, Engine(device=device, dtype=dtype, on_progress=bar) as engine:
        shared: dict[str, Any] = {"engine": engine, "progress": progress}
        if as_text:
            shared |= {"window": window, "stride": stride, "encoding": options.encoding}
            choices: list[dict[str, Any]] = [{"adapter": adapter, "model": model}, {}]
            texts = [perplexity(task, data, **choice, **shared) for choice in choices[: 1 + compare]]
            dumped = [report.as_dict() for report in texts]
            click.echo(_json(dumped if compare else dumped[0]) if as_json else "\n\n".join(map(text_of, texts)))
            return
        shared |= option_values(pairs, engine.plugins.task(task).options_type)
        measure: Any = compare_reports if compare else evaluate
        report: EvalReport | Comparison = measure(
            task, data, adapter=adapter, model=model, options=options, predictions=predictions, slices=slices, **shared
        )
    if page:
        write_page(Path(page), report)
    if as_json:
        click.echo(_json(report.as_dict()))
        return
    click.echo(text_of(report))


def _check_outputs(outputs: list[Path], data: tuple[str, ...]) -> None:
    """Refuse files that would replace the data or each other, or have no folder, before anything is measured."""
    taken = {Path(name).expanduser().resolve() for name in data if not name.startswith("hub:")}
    for output in outputs:
        if output.resolve() in taken:
            raise DataError(f"{output}: expected a file of its own to write to, found one that is named twice.")
        if not output.absolute().parent.is_dir():
            raise DataError(f"{output}: expected a folder that exists, found none: make {output.parent} first.")
        taken.add(output.resolve())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
