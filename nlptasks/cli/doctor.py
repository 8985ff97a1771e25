"""`nlptasks doctor`: everything a bug report needs, and what may be wrong here."""

from __future__ import annotations

import json
from typing import Any

import click

from nlptasks import Engine, NlptasksError, Settings
from nlptasks.store import cached_bases, reachable_sources
from nlptasks.surfaces import versions


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--no-network", is_flag=True, help="Do not ask whether the sources can be reached.")
def doctor_command(as_json: bool, no_network: bool) -> None:
    """Show versions, device, number format, cache, plugins and sources."""
    report = examine(Settings.from_env(), network=not no_network)
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    for section, rows in report.items():
        click.echo(click.style(section, bold=True))
        for name, value in rows.items():
            click.echo(f"  {name:24} {value}")


def examine(settings: Settings, *, network: bool) -> dict[str, dict[str, Any]]:
    """The doctor's findings by section; takes a few seconds at most."""
    engine = Engine(settings=settings)
    placement, plugins = engine.placement(), engine.plugins
    report: dict[str, dict[str, Any]] = {
        "versions": versions(),
        "computing": {
            "device": f"{placement.device} ({placement.device_reason})",
            "dtype": f"{placement.dtype} ({placement.dtype_reason})",
            "int8": _int8(),
            "threads": placement.num_threads,
        },
        "folders": {"cache": str(settings.cache), "data": str(settings.data)},
        "cached bases": {base.name: f"{base.bytes / 1e6:.0f} MB from {base.source}" for base in cached_bases(settings)},
        "plugins": {record.name: ", ".join(record.tasks) or "no task" for record in plugins.records},
        "plugins that are off": {failure.plugin: failure.reason for failure in plugins.failures},
    }
    if network:
        report["sources"] = {
            f"{status.base}: {status.source}": "reachable" if status.reachable else status.reason
            for status in reachable_sources(settings)
        }
    return report


def _int8() -> str:
    """Whether dtype int8 can be asked for, or why not."""
    try:
        Engine(device="cpu", dtype="int8").placement()
    except NlptasksError as error:
        return str(error)
    return "can be asked for, on the CPU"
