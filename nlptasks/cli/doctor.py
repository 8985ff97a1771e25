"""`nlptasks doctor`: everything that a bug report needs."""

from __future__ import annotations

from typing import Any

import click

from nlptasks import Engine, NlptasksError, PluginRecord, Settings
from nlptasks.cli.common import json_option, print_json
from nlptasks.store import cached_bases, reachable_sources
from nlptasks.surfaces import versions


@click.command()
@json_option
@click.option("--no-network", is_flag=True, help="Do not check whether the download sources can be reached.")
def doctor_command(as_json: bool, no_network: bool) -> None:
    """Show versions, device, dtype, folders, plugins and download sources: what a bug report needs."""
    report = examine(Settings.from_env(), network=not no_network)
    if as_json:
        print_json(report)
        return
    for section, rows in report.items():
        click.echo(click.style(section, bold=True))
        for name, value in rows.items():
            click.echo(f"  {name:24} {value}")


def examine(settings: Settings, *, network: bool) -> dict[str, dict[str, Any]]:
    """The report by section; takes a few seconds at most."""
    engine = Engine(settings=settings)
    placement, plugins = engine.placement(), engine.plugins
    graphs = None if settings.backend == "torch" else settings.graphs
    report: dict[str, dict[str, Any]] = {
        "versions": versions(),
        "computing": {
            "device": f"{placement.device} ({placement.device_reason})",
            "dtype": f"{placement.dtype} ({placement.dtype_reason})",
            "int8": _int8(),
            "readers": "{} ({})".format(*placement.reading_engine(graphs)),
            "language models": "{} ({})".format(*placement.writing_engine("openvino-genai", graphs)),
            "translators": "{} ({})".format(*placement.writing_engine("ctranslate2", graphs)),
            "threads": placement.num_threads,
        },
        "folders": {"cache": str(settings.cache), "data": str(settings.data)},
        "cached bases": {base.name: f"{base.bytes / 1e6:.0f} MB from {base.source}" for base in cached_bases(settings)},
        "plugins": {record.name: _plugin(record) for record in plugins.records},
        "disabled plugins": {failure.name: failure.reason for failure in plugins.failures},
        "names in dispute": {conflict.name: conflict.reason for conflict in plugins.conflicts},
    }
    if network:
        report["sources"] = {
            f"{status.base}: {status.source}": "reachable" if status.reachable else status.reason
            for status in reachable_sources(settings)
        }
    return report


def _plugin(record: PluginRecord) -> str:
    text = f"{', '.join(record.tasks) or 'no task'}, loaded in {record.seconds:.2f} s"
    return f"{text}. {record.warning}" if record.warning else text


def _int8() -> str:
    """Whether dtype int8 is available, or why not."""
    try:
        Engine(device="cpu", dtype="int8").placement()
    except NlptasksError as error:
        return str(error)
    return "available, on the CPU"
