"""What the batch page shows: HTML for people, tables and bars for gradio's components."""

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

FIRST = 20
"""Rows of a preview."""

_PROBLEMS = 10
_CLIP = 160
_COLUMN_LIMIT = 12
_LEVEL = 40
"""Characters that fit below the bars side by side, on a phone too."""


def found(table: Table) -> str:
    """How many rows there are, and all that is not read, the first of it at once."""
    parts = [html.element("p", html.text(f"{count(len(table.rows), 'row')} in {count(len(table.columns), 'column')}."))]
    left_out = [*table.notes, *table.problems]
    if left_out:
        lines = [html.element("li", html.text(problem)) for problem in left_out]
        parts += [
            html.alert("Not everything is read. This is left out:"),
            html.element("ul", *lines[:_PROBLEMS], class_="nlp-list"),
        ]
        if len(lines) > _PROBLEMS:
            more = html.element("summary", f"{len(lines) - _PROBLEMS} more")
            parts.append(html.element("details", more, html.element("ul", *lines[_PROBLEMS:], class_="nlp-list")))
    return "".join(parts)


def preview(table: Table) -> dict[str, Any]:
    """The first rows of a table, long texts shortened."""
    columns = table.columns[:_COLUMN_LIMIT]
    cells = [[_clip(row.fields.get(column)) for column in columns] for row in table.rows[:FIRST]]
    return {"headers": list(columns), "data": cells}


def results(task: str, table: Table, outcomes: Sequence[Outcome | None], read: Collection[str]) -> dict[str, Any]:
    """The first rows that were reached: the columns that were `read`, and what the task said, but not who said it.

    What stands as JSON in the files is left out; its texts have columns of their own.
    """
    reached = [(row, outcome) for row, outcome in zip(table.rows, outcomes, strict=True) if outcome][:FIRST]
    columns, rows = table_of(task, [row for row, _ in reached], [outcome for _, outcome in reached])
    shown = list(rows)
    hidden = {f"{task}.{name}" for name in Result.model_fields} | (set(table.columns) - set(read))
    told = [
        column
        for column in columns
        if column not in hidden
        and any(row.get(column) not in (None, "") for row in shown)
        and (column in read or not any(str(row.get(column)).startswith("[{") for row in shown))
    ]
    # Why a row has no result stands beside the row, not behind all that the others have.
    told.sort(key=lambda column: (column not in read, column != columns[-1]))
    told = told[:_COLUMN_LIMIT]
    short = [column if column in read else column.removeprefix(f"{task}.") for column in told]
    heads = told if len(set(short)) < len(short) else short
    return {"headers": heads, "data": [[_clip(row.get(column)) for column in told] for row in shown]}


def progress(step: Progress, loading: str = "") -> str:
    """A bar with its numbers in words; `loading` is what the computation waits for."""
    if loading:
        return html.status(f"{loading}, {step.seconds:.0f} s")
    words = [f"{step.done:,} of {count(step.total, 'row')}"]
    if step.rate:
        words.append(f"{step.rate:,.0f} rows/s" if step.rate >= 10 else f"{step.rate:.1f} rows/s")
    if step.left is not None and step.done < step.total:
        words.append(f"{duration(step.left)} left")
    if step.failed:
        words.append(f"{count(step.failed, 'row')} without a result")
    bar = html.element("progress", value=step.done, max=max(1, step.total), aria_label="Rows done")
    return html.box("progress", bar, html.element("p", html.text(", ".join(words))))


def ended(batch: Batch) -> str:
    """How the run ended, and what was kept."""
    step = batch.progress()
    failed = (
        f" {count(step.failed, 'row')} could not be answered; the column of errors says why." if step.failed else ""
    )
    took = f"{count(step.done, 'row')} in {duration(step.seconds)}"
    bar = html.element("progress", value=step.done, max=max(1, step.total), aria_label="Rows done")
    kept = f"{step.done:,} of {count(step.total, 'row')} are done and kept.{failed}"
    if batch.error:
        return html.box("progress", bar, html.alert(f"{batch.error} {kept}"))
    words = f"Stopped. {kept}" if not batch.complete else f"Done: {took}.{failed}"
    return html.box("progress", bar, html.element("p", html.text(words), role="status"))


def bars(chart: Chart) -> Any:
    """A chart as gradio's own bar plot."""
    import gradio as gr
    import pandas

    frame = pandas.DataFrame({chart.axis: chart.names, chart.counted: chart.counts})
    return gr.BarPlot(
        value=frame, x=chart.axis, y=chart.counted, title=chart.title, sort=list(chart.names),
        x_label_angle=-40 if sum(map(len, chart.names)) > _LEVEL else 0, y_lim=[0, None], visible=True,
    )  # fmt: skip


def counts(charts: Sequence[Chart]) -> str:
    """The charts' numbers as tables, for those who cannot see bars or want to copy them."""
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
    return html.element("details", html.element("summary", "The charts in numbers"), html.box("counts", *parts))


def _clip(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    words = "" if value is None else str(value)
    return words if len(words) <= _CLIP else f"{words[:_CLIP]}…"
