"""`nlptasks eval TASK DATA... [-a ADAPTER] [--compare]`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from nlptasks import Engine
from nlptasks.cli.common import adapter_option, model_option, option_values, placement_options, task_argument
from nlptasks.cli.train import as_data_options, data_options
from nlptasks.surfaces import DownloadBar

if TYPE_CHECKING:
    from nlptasks.training import EvalReport, PerplexityReport

_NAMES = {
    "f1": "F1",
    "best_f1": "best F1",
    "best_threshold": "best null threshold",
    "has_answer_f1": "F1 with an answer",
    "macro_f1": "macro F1",
    "mcc": "Matthews correlation",
    "ece": "calibration error",
    "loss": "negative log-likelihood",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeLsum": "ROUGE-Lsum",
    "bleu": "BLEU",
    "chrf": "chrF",
}
"""Metrics whose name to display is not their name in code."""


def _name(metric: str) -> str:
    return _NAMES.get(metric, metric.replace("_", " "))


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
    from nlptasks.training import compare as compare_reports
    from nlptasks.training import evaluate, perplexity

    if compare and adapter is None and model is None:
        raise click.UsageError("--compare: expected -a ADAPTER or -m MODEL to compare with the default, found none.")
    if not as_text and (window or stride):
        raise click.UsageError("--window, --stride: expected --perplexity beside them, found none.")
    options = as_data_options(**columns)
    progress = sys.stderr.isatty()
    with DownloadBar() as bar, Engine(device=device, dtype=dtype, on_progress=bar) as engine:
        shared: dict[str, Any] = {"engine": engine, "progress": progress}
        measure: Any = perplexity if as_text else evaluate
        if as_text:
            shared |= {"window": window, "stride": stride, "encoding": options.encoding}
        else:
            shared |= {"options": options, "predictions": predictions}
            shared |= option_values(pairs, engine.plugins.task(task).options_type)
        if compare and not as_text:
            reports: list[Any] = list(compare_reports(task, data, adapter=adapter, model=model, **shared))
        else:
            choices = [{"adapter": adapter, "model": model}, {}][: 1 + compare]
            reports = [measure(task, data, **choice, **shared) for choice in choices]
    if as_json:
        dumped = [report.as_dict() for report in reports]
        click.echo(json.dumps(dumped if compare else dumped[0], ensure_ascii=False, indent=2))
        return
    if as_text:
        click.echo("\n\n".join(map(_predicted, reports)))
        return
    click.echo(_comparison(reports) if compare else _one(reports[0]))


def _predicted(report: PerplexityReport) -> str:
    rows: list[tuple[str, ...]] = [
        ("perplexity by token", f"{report.token_perplexity:.2f}", f"{report.tokens} tokens"),
        ("perplexity by word", f"{report.word_perplexity:.2f}", f"{report.words} words"),
        ("negative log-likelihood", f"{report.loss:.4f}", "nats a token"),
    ]
    where = f"windows of {report.window} tokens, stride {report.stride}"
    return "\n".join([f"{report.task}: {_who(report)}, {where}", "", *_table(("", "", ""), rows)[1:]])


def _one(report: EvalReport) -> str:
    lines = [f"{report.task}: {_who(report)} on {report.rows} rows", ""]
    lines += [f"  {_name(name):<24}{value:.4f}" for name, value in report.metrics.items()]
    lines.append(f"  {'texts per second':<24}{report.texts_per_second:.1f}")
    lines += _notes(report)
    if report.table:
        columns = [name for name in report.table[0] if name not in {"label", "rows"}]
        head = ("", *(_name(name) for name in columns), "rows")
        lines += ["", *_table(head, _label_rows(report, columns))]
    if report.confusion:
        head = ("right \\ answered", *report.labels)
        rows = [(name, *map(str, counts)) for name, counts in zip(report.labels, report.confusion, strict=True)]
        lines += ["", *_table(head, rows)]
    return "\n".join(lines)


def _comparison(reports: list[EvalReport]) -> str:
    new, old = reports
    rows: list[tuple[str, ...]] = [
        (_name(name), f"{value:.4f}", f"{old.metrics[name]:.4f}", f"{value - old.metrics[name]:+.4f}")
        for name, value in new.metrics.items()
    ]
    speeds = (new.texts_per_second, old.texts_per_second)
    rows.append(("texts per second", *(f"{speed:.1f}" for speed in speeds), f"{speeds[0] - speeds[1]:+.1f}"))
    head = ("", _who(new), _who(old), "difference")
    return "\n".join([f"{new.task} on {new.rows} rows", "", *_table(head, rows), *_notes(new)])


def _who(report: EvalReport | PerplexityReport) -> str:
    return f"{report.adapter} on {report.model}" if report.adapter else report.model


def _label_rows(report: EvalReport, columns: list[str]) -> list[tuple[str, ...]]:
    return [(str(row["label"]), *(f"{row[name]:.4f}" for name in columns), str(row["rows"])) for row in report.table]


def _notes(report: EvalReport) -> list[str]:
    notes = [f"  {note}" for note in report.notes]
    if report.windowed:
        notes.append(f"  {report.windowed} texts were read in several windows")
    if report.truncated:
        notes.append(f"  {report.truncated} texts were cut")
    return notes


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell: names to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return [
        "  "
        + "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
