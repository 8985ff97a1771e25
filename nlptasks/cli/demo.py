"""`nlptasks demo`: the first look."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from nlptasks.cli.common import DownloadBar
from nlptasks.cli.render import render


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Every typed result as one line of JSON.")
def demo_command(as_json: bool) -> None:
    """Run every task on its own example sentences."""
    from nlptasks.engine import Engine

    bar = DownloadBar()
    with Engine(on_progress=bar) as engine:
        for name, task in sorted(engine.plugins.tasks.items()):
            if not task.examples:
                continue
            started = time.perf_counter()
            options: dict[str, Any] = (
                {"max_new_tokens": 60} if "max_new_tokens" in task.options_type.model_fields else {}
            )
            results = engine.run(name, list(task.examples), **options)
            bar.close()
            if as_json:
                for result in results:
                    click.echo(json.dumps({"task": name, "result": result.model_dump(mode="json")}, ensure_ascii=False))
                continue
            click.echo(click.style(f"{name}: {task.summary}", bold=True))
            for example, result in zip(task.examples, results, strict=True):
                shown = example if isinstance(example, str) else _plain(example)
                click.echo("  " + render(result, shown).replace("\n", "\n  "))
            model = f"{results[0].model}" + (f" + adapter {results[0].adapter}" if results[0].adapter else "")
            click.echo(
                click.style(
                    f"  {type(results[0]).__name__} by {model}, {time.perf_counter() - started:.1f} s\n", dim=True
                )
            )


def _plain(example: object) -> str:
    """An example's texts without its field names."""
    if isinstance(example, str):
        return example
    if isinstance(example, dict):
        return " | ".join(_plain(value) for key, value in example.items() if key != "role")
    if isinstance(example, list | tuple):
        return " | ".join(_plain(value) for value in example)
    return str(example)
