"""What the batch page shows: HTML, and values for Gradio's tables and bar plots."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from nlptasks import Result
from nlptasks.data import Table
from nlptasks_ui import html
from nlptasks_ui.amounts import count, duration
from nlptasks_ui.batch.charts import Chart
from nlptasks_ui.batch.export import table_of
from nlptasks_ui.batch.run import Batch, Outcome, Progress

PREVIEW_ROWS = 20
"""The most rows of a preview."""

_PROBLEMS = 10
_CLIP = 160
_COLUMN_LIMIT = 12
_LEVEL = 40
"""The most characters of names that fit below the bars side by side, on a phone too."""


def summary(table: Table) -> str:
    """The size of a table, and all that could not be read; the first problems are visible at once."""
    parts = [html.element("p", html.text(f"{count(len(table.rows), 'row')} in {count(len(table.columns), 'column')}."))]
    problems = [*table.notes, *table.problems]
    if problems:
        lines = [html.element("li", html.text(problem)) for problem in problems]
        parts += [
            html.alert("Not everything could be read. Left out:"),
            html.element("ul", *lines[:_PROBLEMS], class_="nlp-list"),
        ]
        if len(lines) > _PROBLEMS:
            more = html.element("summary", f"{len(lines) - _PROBLEMS} more")
            parts.append(html.element("details", more, html.element("ul", *lines[_PROBLEMS:], class_="nlp-list")))
    return "".join(parts)


def preview(table: Table) -> dict[str, Any]:
    """The first rows of a table, with long texts shortened."""
    columns = table.columns[:_COLUMN_LIMIT]
    cells = [[_clip(row.fields.get(column)) for column in columns] for row in table.rows[:PREVIEW_ROWS]]
    return {"headers": list(columns), "data": cells}


def results(task: str, table: Table, outcomes: Sequence[Outcome | None], read: Collection[str]) -> dict[str, Any]:
    """The first processed rows: the columns that the task `read`, and its results without model, adapter and the like.

    Columns with nested values as JSON are omitted; their texts have columns of their own.
    """
    reached = [(row, outcome) for row, outcome in zip(table.rows, outcomes, strict=True) if outcome][:PREVIEW_ROWS]
    columns, cells = table_of(task, [row for row, _ in reached], [outcome for _, outcome in reached])
    rows = list(cells)
    hidden = {f"{task}.{name}" for name in Result.model_fields} | (set(table.columns) - set(read))
    visible = [
        column
        for column in columns
        if column not in hidden
        and any(row.get(column) not in (None, "") for row in rows)
        and (column in read or not any(str(row.get(column)).startswith("[{") for row in rows))
    ]
    # The error of a row stands right beside its input.
    visible.sort(key=lambda column: (column not in read, column != columns[-1]))
    visible = visible[:_COLUMN_LIMIT]
    short = [column if column in read else column.removeprefix(f"{task}.") for column in visible]
    heads = visible if len(set(short)) < len(short) else short
    return {"headers": heads, "data": [[_clip(row.get(column)) for column in visible] for row in rows]}


def progress(step: Progress, loading: str = "") -> str:
    """A progress bar with its numbers in words; while a model is loading, `loading` says so instead."""
    if loading:
        return html.status(f"{loading}, {step.seconds:.0f} s")
    words = [f"{step.completed:,} of {count(step.total, 'row')}"]
    if step.rate:
        words.append(f"{step.rate:,.0f} rows/s" if step.rate >= 10 else f"{step.rate:.1f} rows/s")
    if step.left is not None and step.completed < step.total:
        words.append(f"{duration(step.left)} left")
    if step.failed:
        words.append(f"{count(step.failed, 'row')} failed")
    return html.box("progress", _bar(step), html.element("p", html.text(", ".join(words))))


def ended(batch: Batch) -> str:
    """How the run ended, and how many rows have results."""
    step = batch.progress()
    failed = f" {count(step.failed, 'row')} failed: see the error column." if step.failed else ""
    partial = f"{step.completed:,} of {count(step.total, 'row')} processed; their results are below.{failed}"
    if batch.error:
        return html.box("progress", _bar(step), html.alert(f"{batch.error} {partial}"))
    took = f"{count(step.completed, 'row')} in {duration(step.seconds)}"
    words = f"Done: {took}.{failed}" if batch.complete else f"Stopped. {partial}"
    return html.box("progress", _bar(step), html.element("p", html.text(words), role="status"))


def _bar(step: Progress) -> str:
    return html.element("progress", value=step.completed, max=max(1, step.total), aria_label="Rows processed")


def bars(chart: Chart) -> Any:
    """A chart as a Gradio bar plot."""
    import gradio as gr
    import pandas

    frame = pandas.DataFrame({chart.axis: chart.names, chart.counted: chart.counts})
    return gr.BarPlot(
        value=frame, x=chart.axis, y=chart.counted, title=chart.title, sort=list(chart.names),
        x_label_angle=-40 if sum(map(len, chart.names)) > _LEVEL else 0, y_lim=[0, None], visible=True,
    )  # fmt: skip


def counts(charts: Sequence[Chart]) -> str:
    """The charts' numbers as tables, for users who cannot see the bars or want to copy the numbers."""
    parts = []
    for chart in charts:
        pairs = [(name, count) for name, count in zip(chart.names, chart.counts, strict=True) if count]
        rows = [
            html.element("tr", html.element("th", html.text(name), scope="row"), html.element("td", f"{count:,}"))
            for name, count in pairs
        ]
        caption = html.element("caption", html.text(chart.title))
        parts.append(html.element("table", caption, *rows, class_="nlp-table"))
    if not parts:
        return ""
    return html.element("details", html.element("summary", "Chart data as tables"), html.box("counts", *parts))


def _clip(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    words = "" if value is None else str(value)
    return words if len(words) <= _CLIP else f"{words[:_CLIP]}…"
