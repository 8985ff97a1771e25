"""The report of `nlptasks eval` as tables, and these as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nlptasks.data import plural
from nlptasks.surfaces import one_line, visible
from nlptasks.training import Comparison, EvalReport, PerplexityReport

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


_WORST = 5
"""Rows with the worst answers that are printed; --json and --report have more."""


class Grid(NamedTuple):
    """The head of a table, and its rows."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def metric_name(metric: str) -> str:
    """A metric's name, to display."""
    return _NAMES.get(metric, metric.replace("_", " "))


def who(report: EvalReport | PerplexityReport) -> str:
    """What was measured."""
    return f"{report.adapter} on {report.model}" if report.adapter else report.model


def metrics(report: EvalReport) -> Grid:
    """Every metric with its interval, and the speed."""
    rows = [
        (metric_name(name), f"{value:.4f}", _range(*report.intervals[name]) if name in report.intervals else "")
        for name, value in report.metrics.items()
    ]
    return Grid(("", "", "95% interval"), [*rows, ("texts per second", f"{report.texts_per_second:.1f}", "")])


def labels(report: EvalReport) -> Grid | None:
    """The metrics of each label or kind."""
    if not report.table:
        return None
    columns = [name for name in report.table[0] if name not in {"label", "rows"}]
    rows = [(str(row["label"]), *(f"{row[name]:.4f}" for name in columns), str(row["rows"])) for row in report.table]
    return Grid(("", *map(metric_name, columns), "rows"), rows)


def confusion(report: EvalReport) -> Grid | None:
    """How many rows of each label were answered with each."""
    if not report.confusion:
        return None
    rows = [(name, *map(str, counts)) for name, counts in zip(report.labels, report.confusion, strict=True)]
    return Grid(("right \\ answered", *report.labels), rows)


def slices(report: EvalReport) -> Grid | None:
    """The metric on parts of the rows."""
    if not report.slices:
        return None
    rows = [
        (
            f"{one.by}: {'(none)' if one.name is None else one_line(one.name, 60)}",
            f"{one.value:.4f}",
            _range(one.low, one.high),
            str(one.rows),
        )
        for one in report.slices
    ]
    return Grid(("", metric_name(report.metric), "95% interval", "rows"), rows)


def worst(report: EvalReport, width: int, most: int | None = None) -> Grid | None:
    """The rows with the worst answers, in texts of at most `width` characters."""
    if not report.worst:
        return None
    rows = [
        (
            row.place,
            *(visible(one_line(part, width)) for part in (row.text, row.right, row.answer)),
            "" if row.score is None else f"{row.score:.2f}",
            f"{row.quality:.2f}",
        )
        for row in report.worst[:most]
    ]
    return Grid(("row", "text", "right answer", "answer", "score", metric_name(report.metric)), rows)


def differences(both: Comparison) -> Grid:
    """Both systems' metrics, and how far they differ."""
    new, old = both.new, both.old
    rows: list[tuple[str, ...]] = []
    for name, value in new.metrics.items():
        gap = both.differences.get(name)
        tested = (_range(gap.low, gap.high), f"{gap.p_value:.3f}") if gap else ("", "")
        numbers = (f"{value:.4f}", f"{old.metrics[name]:.4f}", f"{value - old.metrics[name]:+.4f}")
        rows.append((metric_name(name), *numbers, *tested))
    speeds = (new.texts_per_second, old.texts_per_second)
    rows.append(("texts per second", *(f"{speed:.1f}" for speed in speeds), f"{speeds[0] - speeds[1]:+.1f}", "", ""))
    return Grid(("", who(new), who(old), "difference", "95% interval", "p-value"), rows)


def notes(report: EvalReport) -> list[str]:
    """How the rows were read."""
    lines = list(report.notes)
    if report.windowed:
        lines.append(f"{plural(report.windowed, 'text')} read in several windows")
    if report.truncated:
        lines.append(f"{plural(report.truncated, 'text')} cut")
    return lines


def as_text(report: EvalReport | Comparison | PerplexityReport) -> str:
    """A report to print."""
    if isinstance(report, PerplexityReport):
        return _predicted(report)
    if isinstance(report, Comparison):
        head, grids, shows = f"{report.new.task} on {plural(report.new.rows, 'row')}", [differences(report)], report.new
    else:
        head, shows = f"{report.task}: {who(report)} on {plural(report.rows, 'row')}", report
        grids = [metrics(report)]
    lines = [head, "", *_table(grids[0]), *(f"  {note}" for note in notes(shows))]
    if isinstance(report, EvalReport):
        for grid in filter(None, (labels(report), confusion(report), slices(report))):
            lines += ["", *_table(grid)]
        if bad := worst(report, 60, _WORST):
            lines += ["", f"  Worst answers by {metric_name(report.metric)}:", *(_bad(*row) for row in bad.rows)]
    return "\n".join(lines)


def _bad(place: str, text: str, right: str, answer: str, score: str, quality: str) -> str:
    sure = f", score {score}" if score else ""
    return f"    {place}: {answer} ({quality}{sure}); right: {right}; text: {text}"


def _predicted(report: PerplexityReport) -> str:
    rows: list[tuple[str, ...]] = [
        ("perplexity by token", f"{report.token_perplexity:.2f}", plural(report.tokens, "token")),
        ("perplexity by word", f"{report.word_perplexity:.2f}", plural(report.words, "word")),
        ("negative log-likelihood", f"{report.loss:.4f}", "nats a token"),
    ]
    where = f"windows of {report.window} tokens, stride {report.stride}"
    return "\n".join([f"{report.task}: {who(report)}, {where}", "", *_table(Grid(("", "", ""), rows))[1:]])


def _range(low: float, high: float) -> str:
    return f"{low:.4f} to {high:.4f}"


def _table(grid: Grid) -> list[str]:
    """Columns as wide as their widest cell: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(grid.head, *grid.rows, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (grid.head, *grid.rows)
    ]
