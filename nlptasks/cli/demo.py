"""`nlptasks demo`: the first look."""

from __future__ import annotations

import json
import time
from textwrap import indent
from typing import Any

import click

from nlptasks import Engine, UnsupportedModelError
from nlptasks.surfaces import DownloadBar, in_colour, render


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per result.")
def demo_command(as_json: bool) -> None:
    """Run every task on its example sentences."""
    bar = DownloadBar()
    with Engine(on_progress=bar) as engine:
        for name, task in sorted(engine.plugins.tasks.items()):
            if not task.examples:
                continue
            start = time.perf_counter()
            writes = "max_new_tokens" in task.options_type.model_fields
            options: dict[str, Any] = {**task.example_options, **({"max_new_tokens": 60} if writes else {})}
            try:
                results = engine.run(name, list(task.examples), **options)
            except UnsupportedModelError as error:
                # A task that is installed before its adapter is trained must not hide the others.
                click.echo(f"{name}: {error}", err=True)
                continue
            finally:
                bar.close()
            if not as_json:
                _show(f"{name}: {task.summary}", results, task.examples, time.perf_counter() - start)
            for result in results if as_json else ():
                click.echo(json.dumps({"task": name, "result": result.model_dump(mode="json")}, ensure_ascii=False))


def _show(title: str, results: Any, examples: Any, seconds: float) -> None:
    colour = in_colour()
    click.echo(click.style(title, bold=True), color=colour)
    for example, result in zip(examples, results, strict=True):
        click.echo(indent(render(result, example, several=True, colour=colour), "  "), color=colour)
    kind, model, adapter = type(results[0]).__name__, results[0].model, results[0].adapter
    by = f"{model} + adapter {adapter}" if adapter else model
    click.echo(click.style(f"  {kind} by {by}, {seconds:.1f} s\n", dim=True), color=colour)
