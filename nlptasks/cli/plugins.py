"""`nlptasks plugins` and `nlptasks tasks`: what is installed, what it brought, what is off and why."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click
from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from nlptasks import Plugins, Task, default_plugins
from nlptasks.surfaces import origin


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plugins_command(as_json: bool) -> None:
    """Show the installed plugins; for one that is off, the reason and the traceback."""
    plugins = _loaded_plugins()
    if as_json:
        _print_json(
            {
                "plugins": [asdict(record) for record in plugins.records],
                "failures": [asdict(failure) for failure in plugins.failures],
                "left_out": plugins.left_out,
            }
        )
        return
    for record in plugins.records:
        click.echo(f"{record.name}  ({origin(record)})")
        if record.tasks:
            click.echo(f"  tasks     {', '.join(record.tasks)}")
        if record.commands:
            click.echo(f"  commands  {', '.join(record.commands)}")
    for failure in plugins.failures:
        click.echo(f"{failure.plugin}  ({origin(failure)})  OFF")
        click.echo(f"  {failure.reason}")
        click.echo("".join(f"    {line}\n" for line in failure.traceback.splitlines()), nl=False)
    if plugins.left_out:
        click.echo(f"NLPTASKS_LOAD_PLUGINS leaves out: {', '.join(plugins.left_out)}.")
    elif not plugins.records and not plugins.failures:
        click.echo("No plugin is installed.")


@click.command("tasks")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array, with the schemas of each task.")
def tasks_command(as_json: bool) -> None:
    """List the tasks that can be run."""
    plugins = _loaded_plugins()
    if as_json:
        _print_json([_describe(task, plugins) for task in plugins.tasks.values()])
        return
    width = max(map(len, plugins.tasks), default=0)
    for name, task in plugins.tasks.items():
        click.echo(f"{name:<{width}}  {task.summary}".rstrip())
    if not plugins.tasks:
        click.echo("No task is loaded; `nlptasks plugins` shows why.")


def _loaded_plugins() -> Plugins:
    """The plugins after their commands were added too: one that fails there is off as well."""
    root = click.get_current_context().find_root()
    if isinstance(root.command, click.Group):
        root.command.list_commands(root)
    return default_plugins()


def _describe(task: Task[Any, Any, Any], plugins: Plugins) -> dict[str, Any]:
    owner = plugins.owner(task.name)
    return {
        "name": task.name,
        "aliases": task.aliases,
        "family": task.family,
        "summary": task.summary,
        "plugin": owner and owner.name,
        "distribution": owner and owner.distribution,
        "version": owner and owner.version,
        "base": task.untrained_base or task.recipe.base,
        "hub_base": task.hub_base,
        "input": _schema(task.input_type),
        "options": _schema(task.options_type),
        "result": _schema(task.result_type),
    }


def _schema(model: type[BaseModel]) -> dict[str, Any] | None:
    """None for a type that has no JSON schema: one odd task must not hide the others."""
    try:
        return model.model_json_schema()
    except PydanticUserError:
        return None


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
