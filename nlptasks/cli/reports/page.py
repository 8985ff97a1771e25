"""The report of `nlptasks eval` as one HTML page without scripts, which needs no other file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nlptasks import DataError
from nlptasks.cli.reports import tables
from nlptasks.training import Comparison, EvalReport

_TEMPLATE = Path(__file__).with_name("page.html.j2")

_WIDTH = 400
"""Characters of a text among the worst rows."""


def write_page(file: Path, report: EvalReport | Comparison) -> None:
    """Write a report as a page.

    Raises:
        DataError: the file cannot be written.
    """
    from jinja2 import Environment, StrictUndefined

    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_TEMPLATE.read_text("utf-8"))
    reports = [report.new, report.old] if isinstance(report, Comparison) else [report]
    rows = reports[0].rows
    text = template.render(
        title=f"{reports[0].task} on {rows:,} {'row' if rows == 1 else 'rows'}",
        differences=tables.differences(report) if isinstance(report, Comparison) else None,
        reports=list(map(_content, reports)),
    )
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{file}: expected a file that can be written, found an error ({error.strerror}).") from error


def _content(report: EvalReport) -> dict[str, Any]:
    """What the template shows of a report."""
    return {
        "who": tables.who(report),
        "metrics": tables.metrics(report),
        "notes": tables.notes(report),
        "labels": tables.labels(report),
        "confusion": tables.confusion(report),
        "shares": [[count / max(1, sum(counts)) for count in counts] for counts in report.confusion],
        "slices": tables.slices(report),
        "calibration": report.calibration,
        "worst": tables.worst(report, _WIDTH),
    }
