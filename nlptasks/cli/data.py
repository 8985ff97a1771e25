"""`nlptasks data check FILE... --task TASK`: what a training would find, without a model."""

from __future__ import annotations

import json
from statistics import quantiles
from typing import Any

import click

from nlptasks.cli.train import as_data_options, data_options


@click.group("data")
def data_group() -> None:
    """Check training data."""


@data_group.command("check")
@click.argument("data", nargs=-1, required=True)
@click.option("--task", "-t", required=True, help="Task that the data is for.")
@data_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check_command(data: tuple[str, ...], task: str, as_json: bool, **columns: Any) -> None:
    """Read DATA as `nlptasks train` would: columns, labels, every bad row with its line (then the exit code is 1)."""
    from nlptasks.plugins import default_plugins
    from nlptasks.settings import Settings
    from nlptasks.training.family import family_trainer

    family = family_trainer(default_plugins().task(task))
    read = family.read(data, as_data_options(**columns), offline=Settings.from_env().offline)
    lengths = [len(family.text_of(row)) for row in read.rows]
    report = {
        "task": task,
        "rows": len(read.rows),
        "labels": read.counts,
        "characters": _spread(lengths),
        "notes": read.notes,
        "warnings": read.warnings,
        "sources": read.sources,
    }
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
        return
    for note in read.notes:
        click.echo(note)
    for warning in read.warnings:
        click.echo(f"Warning: {warning}")
    width = max(map(len, read.counts))
    for name, count in read.counts.items():
        click.echo(f"  {name:<{width}}  {count:>8}  {count / max(1, sum(read.counts.values())):6.1%}")
    shown = ", ".join(f"{name} {value:.0f}" for name, value in _spread(lengths).items())
    click.echo(f"{len(read.rows)} rows, no bad one; characters a text: {shown}")


def _spread(lengths: list[int]) -> dict[str, float]:
    if len(lengths) < 2:
        return {"median": float(lengths[0]), "95 %": float(lengths[0]), "longest": float(lengths[0])}
    cuts = quantiles(lengths, n=20, method="inclusive")
    return {"median": cuts[9], "95 %": cuts[18], "longest": float(max(lengths))}
