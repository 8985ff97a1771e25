"""What the batch page shows: HTML, and values for Gradio's tables and bar plots."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from nlptasks import Result
from nlptasks.data import Table
from nlptasks_ui import html
from nlptasks_ui.amounts import count, duration
from nlptasks_ui.batch.answers import Page
from nlptasks_ui.batch.charts import Chart
from nlptasks_ui.batch.runs import Request, Run, Status
from nlptasks_ui.batch.tables import Upload

PREVIEW_ROWS = 5
"""The most rows of a preview."""

NO_RUNS = html.element("p", "No runs yet: start one in the tab “New run”.", class_="nlp-note")

_PROBLEMS = 10
_CLIP = 160
_COLUMN_LIMIT = 12
_LEVEL = 40
"""The most characters of names that fit below the bars side by side, on a phone too."""

_HIDDEN = Result.model_fields.keys() - {"note"}
"""Fields of every result that the table omits; the downloads have them."""


def summary(upload: Upload) -> str:
    """The size of a table, and what cannot be read in its first rows."""
    table = upload.table
    rows = count(len(table.rows) + len(table.problems), "row")
    size = f"{'' if upload.whole else 'More than '}{rows} in {count(len(table.columns), 'column')}."
    parts = [html.element("p", html.text(size))]
    problems = [*table.notes, *table.problems]
    if problems:
        lines = [html.element("li", html.text(problem)) for problem in problems]
        parts += [
            html.alert("Not everything can be read. Such rows get an error instead of an answer:"),
            html.element("ul", *lines[:_PROBLEMS], class_="nlp-list"),
        ]
        if len(lines) > _PROBLEMS:
            more = html.element("summary", f"{len(lines) - _PROBLEMS} more")
            parts.append(html.element("details", more, html.element("ul", *lines[_PROBLEMS:], class_="nlp-list")))
    return "".join(parts)


def preview(table: Table) -> str:
    """The first rows of a table, with long texts shortened."""
    columns = table.columns[:_COLUMN_LIMIT]
    rows = table.rows[:PREVIEW_ROWS]
    cells = [
        [str(number), *(_words(row.fields.get(column)) for column in columns)] for number, row in enumerate(rows, 1)
    ]
    return html.table(["row", *columns], cells)


def title(run: Run, status: Status) -> str:
    """A run in one line, for a list."""
    started = time.strftime("%d %b %H:%M", time.localtime(run.created))
    rows = status.total or status.rows
    size = [count(rows, "row")] if rows else []
    return ", ".join([run.name, run.request.task, started, *size, status.state])


def head(status: Status, loading: str = "") -> str:
    """How far a run is, or how it ended; while a model is loaded, `loading` says so."""
    bar = html.element("progress", value=status.rows, max=max(1, status.total or 0), aria_label="Rows answered")
    match status.state:
        case "waiting":
            return html.status("Waiting for another run to end")
        case "stopping":
            return html.box("progress", bar, html.status("Stopping"))
        case "running" if loading:
            return html.status(f"{loading}, {status.seconds:.0f} s")
        case "running":
            words = html.element("p", html.text(_pace(status)))
        case "done":
            words = html.element("p", html.text(f"Done: {_finished(status)}."), role="status")
        case "stopped":
            words = html.element("p", html.text(f"Stopped after {_finished(status)}."), role="status")
        case "failed":
            words = html.alert(f"{status.text} Answered so far: {_finished(status)}.")
    return html.box("progress", bar, words)


def _pace(status: Status) -> str:
    of = f" of {count(status.total, 'row')}" if status.total else " rows"
    words = [f"{status.rows:,}{of}"]
    if status.rate:
        words.append(f"{status.rate:,.0f} rows/s" if status.rate >= 10 else f"{status.rate:.1f} rows/s")
    if status.left is not None and status.total and status.rows < status.total:
        words.append(f"{duration(status.left)} left")
    return ", ".join([*words, *_errors(status)])


def _finished(status: Status) -> str:
    of = f" of {status.total:,}" if status.total and status.total != status.rows else ""
    rows = f"{status.rows:,}{of} rows" if of else count(status.rows, "row")
    return ", ".join([f"{rows} in {duration(status.seconds)}", *_errors(status)])


def _errors(status: Status) -> list[str]:
    return [f"{count(status.errors, 'row')} without an answer"] if status.errors else []


def table(page: Page, request: Request) -> str:
    """Rows with their number, the columns of the answer, and those of the input, first the ones that the task read."""
    if not page.rows:
        return ""
    prefix = f"{request.task}."
    names = dict.fromkeys(name for row in page.rows for name in row if name != "row")
    words = {name: [_words(row.get(name)) for row in page.rows] for name in names}
    answers = [name for name in names if name.startswith(prefix) and name.removeprefix(prefix) not in _HIDDEN]
    # The answer itself, and what is more than a repetition of it.
    shows = [name for name in answers[1:] if any(words[name]) and words[name] != words[answers[0]]]
    read = [column for column in request.columns.values() if column in names]
    rest = [name for name in names if name not in read and not name.startswith(prefix)]
    columns = [*answers[:1], *shows, *dict.fromkeys(read), *rest][:_COLUMN_LIMIT]
    rows = zip((f"{row['row']:,}" for row in page.rows), *(words[name] for name in columns), strict=True)
    return html.table(["row", *columns], rows)


def place(page: Page) -> str:
    """Which rows the table shows."""
    if not page.total:
        return "No row."
    return f"Rows {page.first + 1:,} to {page.first + len(page.rows):,} of {page.total:,}"


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


def _words(value: Any) -> str:
    """A cell in words, clipped: spans and labels are listed, other nested values are JSON."""
    match value:
        case None:
            return ""
        case float():
            words = f"{value:.4g}"
        case list():
            words = "; ".join(map(_words, value))
        case {"label": str(label), "text": str(text)}:
            words = f"{text} ({label})"
        case {"label": str(label), "score": float(score)}:
            words = f"{label} {score:.3f}"
        case dict():
            words = json.dumps(value, ensure_ascii=False, default=str)
        case _:
            words = str(value)
    return words if len(words) <= _CLIP else f"{words[:_CLIP]}…"
