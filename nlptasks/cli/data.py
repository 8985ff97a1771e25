"""`nlptasks data check FILE... --task TASK`: what a training would find, without a model."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from nlptasks import Settings, default_plugins
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
    from nlptasks.training import check_data, family_trainer

    family = family_trainer(default_plugins().task(task))
    found = check_data(family, data, as_data_options(**columns), offline=Settings.from_env().offline)
    if as_json:
        report = {"task": task, **dataclasses.asdict(found)}
        report["labels"] = report.pop("counts")
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
        return
    for note in found.notes:
        click.echo(note)
    for warning in found.warnings:
        click.echo(f"Warning: {warning}")
    width = max(map(len, found.counts))
    for name, count in found.counts.items():
        click.echo(f"  {name:<{width}}  {count:>8}  {count / max(1, sum(found.counts.values())):6.1%}")
    shown = ", ".join(f"{name} {value:.0f}" for name, value in found.characters.items())
    click.echo(f"{found.rows} rows, no bad one; characters a text: {shown}")
