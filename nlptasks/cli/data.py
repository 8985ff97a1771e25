"""`nlptasks data check DATA... --task TASK`: what a training would read, without a model."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from nlptasks import Settings, default_plugins
from nlptasks.cli.common import json_option, print_json
from nlptasks.cli.train import as_data_options, data_options
from nlptasks.data import plural


@click.group("data")
def data_group() -> None:
    """Check training data."""


@data_group.command("check", short_help="Check the columns, labels and rows of training data.")
@click.argument("data", nargs=-1, required=True)
@click.option("--task", "-t", required=True, help="Task that the data is for.")
@data_options
@click.option("--multi-label", is_flag=True, default=None, help="A row may have several labels.")
@json_option
def check_command(data: tuple[str, ...], task: str, as_json: bool, multi_label: bool | None, **columns: Any) -> None:
    """Check DATA as `nlptasks train` would read it, without training.

    Prints the columns that are used, the rows of each label and the lengths of the texts. Faulty rows are listed with
    their line numbers, and the exit code is 1.
    """
    from nlptasks.training import check_data, family_trainer

    family = family_trainer(default_plugins().task(task), multi_label=multi_label)
    report = check_data(family, data, as_data_options(**columns), offline=Settings.from_env().offline)
    if as_json:
        fields = dataclasses.asdict(report)
        print_json({"task": task, **fields, "labels": fields.pop("counts")})
        return
    for note in report.notes:
        click.echo(note)
    for warning in report.warnings:
        click.echo(f"Warning: {warning}")
    width = max(map(len, report.counts))
    for name, count in report.counts.items():
        click.echo(f"  {name:<{width}}  {count:>8}  {count / max(1, sum(report.counts.values())):6.1%}")
    lengths = ", ".join(f"{name} {value:.0f}" for name, value in report.characters.items())
    click.echo(f"{plural(report.rows, 'row')}, all valid; characters per text: {lengths}")
