"""The state of a training and the comparison before and after it, as HTML."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from nlptasks.surfaces import as_sentence
from nlptasks_ui import html
from nlptasks_ui.amounts import count, duration
from nlptasks_ui.training.history import History
from nlptasks_ui.training.jobs import Job, State

ROWS = 12
"""The most held-out rows that are visible at once; a click shows the others."""

MAX_MATRIX = 12
"""The most labels of a confusion matrix."""

_CLIP = 220
_LOWER_IS_BETTER = ("loss", "perplexity", "ece")


def title(job: Job) -> str:
    """A training in one line, for a list."""
    started = time.strftime("%d %b %H:%M", time.strptime(job.id[:15], "%Y%m%d-%H%M%S"))
    return f"{job.plan.name} ({job.plan.task}), {started}, {job.state}"


def head(job: Job, history: History) -> str:
    """The progress of a training, and what it is doing or how it ended."""
    state = job.state
    parts = [_bar(history)] if history.total else []
    parts.append(_state(job, history, state))
    return html.box("progress", *parts)


def _bar(history: History) -> str:
    return html.element("progress", value=history.completed, max=max(1, history.total), aria_label="Steps completed")


def _state(job: Job, history: History, state: State) -> str:
    outcome = job.outcome
    match state:
        case "running" | "finishing" | "stopping" if history.phase:
            # The last step is behind it: it can neither be stopped nor finished earlier.
            return html.status(f"All steps are done. The training now {history.phase}")
        case "starting":
            return html.status("Starting: loading the data and the base model")
        case "running":
            return (
                html.element("p", html.text(_pace(history)), role="status") if history.total else html.status("Loading")
            )
        case "stopping":
            return html.status("Stopping after the current step, with a checkpoint")
        case "finishing":
            return html.status("Finishing after the current step, with the best weights so far as the adapter")
        case "finished":
            report = outcome["report"]
            warnings = (html.box("warn", html.text(as_sentence(words))) for words in report.get("warnings", ()))
            return html.element("p", html.text(_finished(job, report)), role="status") + "".join(warnings)
        case "stopped":
            return html.element("p", html.text(outcome.get("text") or "Stopped."), role="status")
        case "failed":
            return html.alert(outcome["text"])
    words = "The training process ended unexpectedly: it was killed, or the machine was shut down."
    return html.alert(f"{words} “Continue” resumes from the last checkpoint.") + html.element(
        "pre", html.text(job.log_tail()), class_="nlp-trace", tabindex="0"
    )


def _pace(history: History) -> str:
    words = [f"Step {history.completed:,} of {history.total:,}"]
    if history.total and history.epochs:
        words.append(f"epoch {history.epochs * history.completed / history.total:.2f} of {history.epochs:g}")
    left = history.seconds_left
    if left is not None:
        words.append(f"{duration(left)} left")
    return ", ".join(words)


def _finished(job: Job, report: Mapping[str, Any]) -> str:
    value = report["metrics"].get(report["headline"])
    measured = (
        ""
        if value is None
        else f" On {count(report['held_out_rows'], 'held-out row')}: {report['headline']} {value:.4f}."
    )
    early = " Training stopped early." if report["stopped_early"] else ""
    product = f"The adapter {job.plan.name!r}" if report["method"] == "lora" else "The model"
    effort = f"{count(report['steps'], 'step')} in {duration(report['seconds'])}"
    # Reports of version 0.1 do not say whether it is.
    ended = "is ready" if report.get("ready", True) else "is saved"
    return f"{product} {ended}, after {effort}.{early}{measured}"


def comparison(values: Mapping[str, Any]) -> str:
    """Before and after training: metrics, confusion matrices or the scores of each type, and the rows."""
    before, after = values["before"], values["after"]
    parts = [html.element("h2", "Before and after"), _summary(values), _metrics(before, after)]
    parts += [html.alert(f"{side['title']}: {side['problem']}") for side in (before, after) if side["problem"]]
    sides = [side for side in (before, after) if side["confusion"] and len(side["labels"]) <= MAX_MATRIX]
    if sides:
        parts.append(html.box("columns", *map(_confusion, sides)))
    else:
        parts.append(html.box("columns", *(_types(side) for side in (before, after) if side["table"])))
    parts.append(_rows(values["rows"], before["title"], after["title"]))
    return html.box("result", *parts)


def _summary(values: Mapping[str, Any]) -> str:
    compared, held_out = len(values["rows"]), values["held_out"]
    changed = sum(row["before"] != row["after"] for row in values["rows"])
    total = count(held_out, "held-out row")
    rows = total if compared == held_out else f"{compared:,} of {total}"
    return html.element("p", html.text(f"Compared on {rows}; changed answers: {changed:,}."), class_="nlp-note")


def _metrics(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    names = list(dict.fromkeys([*before["metrics"], *after["metrics"]]))
    rows = [
        html.element(
            "tr",
            html.element("th", html.text(name), scope="row"),
            *(html.element("td", _number(side["metrics"].get(name))) for side in (before, after)),
            _change(name, before["metrics"].get(name), after["metrics"].get(name)),
        )
        for name in names
    ]
    heads = ("Metric", before["title"], after["title"], "Change")
    head = html.element("tr", *(html.element("th", html.text(name), scope="col") for name in heads))
    inner = html.element("table", html.element("thead", head), html.element("tbody", *rows), class_="nlp-table")
    return html.box("wide", inner)


def _change(name: str, before: float | None, after: float | None) -> str:
    if before is None or after is None or name.endswith("threshold"):
        return html.element("td")
    better = (after < before) if name in _LOWER_IS_BETTER else (after > before)
    kind = "" if abs(after - before) < 5e-5 else ("nlp-better" if better else "nlp-worse")
    return html.element("td", f"{after - before:+.4f}", class_=kind or None)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _confusion(side: Mapping[str, Any]) -> str:
    """A confusion matrix: the darker a cell, the larger its share of the row."""
    labels, counts = side["labels"], side["confusion"]
    heads = [html.element("td"), *(html.element("th", html.text(name), scope="col") for name in labels)]
    rows = []
    for name, line in zip(labels, counts, strict=True):
        total = max(1, sum(line))
        cells = [
            html.element(
                "td",
                f"{count:,}",
                style=f"--share: {count / total:.3f}",
                class_=f"nlp-cell{' nlp-right' if hit else ''}",
            )
            for count, hit in ((count, labels[place] == name) for place, count in enumerate(line))
        ]
        rows.append(html.element("tr", html.element("th", html.text(name), scope="row"), *cells))
    caption = html.element("caption", html.text(f"{side['title']}: rows are right labels, columns predictions"))
    inner = html.element(
        "table", caption, html.element("thead", html.element("tr", *heads)), html.element("tbody", *rows),
        class_="nlp-table nlp-matrix",
    )  # fmt: skip
    return html.box("wide", inner)


def _types(side: Mapping[str, Any]) -> str:
    names = list(dict.fromkeys(name for row in side["table"] for name in row))
    rows = [[_cell(row.get(name)) for name in names] for row in side["table"]]
    return html.box("pane", html.element("h4", html.text(side["title"])), html.table(names, rows))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else str(value)


def _rows(rows: Sequence[Mapping[str, str]], before: str, after: str) -> str:
    heads = ("Held-out row", "Right answer", before, after)
    lines = [tuple(_clip(row[name]) for name in ("text", "right", "before", "after")) for row in rows]
    if not lines:
        return ""
    parts = [html.element("h2", "Rows (changed answers first)"), html.table(heads, lines[:ROWS])]
    if len(lines) > ROWS:
        more = html.element("summary", f"{len(lines) - ROWS:,} more")
        parts.append(html.element("details", more, html.table(heads, lines[ROWS:])))
    return "".join(parts)


def _clip(words: str) -> str:
    return words if len(words) <= _CLIP else f"{words[:_CLIP]}…"
