"""`nlptasks plugins` and `nlptasks tasks`: what is installed, what it provides, what is disabled and why."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from nlptasks import AnyTask, Plugins, default_plugins
from nlptasks.cli.common import json_option, print_json, write_fields
from nlptasks.cli.completion import complete_task
from nlptasks.surfaces import origin


@click.group("plugins", invoke_without_command=True)
@json_option
@click.pass_context
def plugins_group(context: click.Context, as_json: bool) -> None:
    """List the installed plugins; for a disabled one, print the reason and the traceback."""
    if context.invoked_subcommand:
        return
    plugins = _loaded_plugins()
    if as_json:
        print_json(
            {
                "plugins": [asdict(record) for record in plugins.records],
                "failures": [asdict(failure) for failure in plugins.failures],
                "conflicts": [asdict(conflict) for conflict in plugins.conflicts],
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
        click.echo(f"  loaded    in {record.seconds:.2f} s")
        if record.warning:
            click.echo(f"  slow      {record.warning}")
    for failure in plugins.failures:
        click.echo(f"{failure.name}  ({origin(failure)})  DISABLED")
        click.echo(f"  {failure.reason}")
        click.echo("".join(f"    {line}\n" for line in failure.traceback.splitlines()), nl=False)
    for conflict in plugins.conflicts:
        click.echo(conflict.reason)
    if plugins.left_out:
        click.echo(f"NLPTASKS_LOAD_PLUGINS leaves out: {', '.join(plugins.left_out)}.")
    elif not plugins.records and not plugins.failures:
        click.echo("No plugin is installed.")


@plugins_group.command("prefer")
@click.argument("plugin", metavar="PACKAGE")
@click.argument("task")
def prefer_command(plugin: str, task: str) -> None:
    """Give the name TASK, which several plugins claim, to the one of PACKAGE.

    \b
    nlptasks plugins prefer nlptasks-reviews sentiment
    nlptasks plugins prefer nlptasks sentiment
    """
    plugins = _loaded_plugins()
    plugins.prefer(plugin, task)
    owner = plugins.owner(plugins.task(task).name)
    click.echo(f"{task} now belongs to {owner.key if owner else plugin}.")


@click.command("tasks")
@click.argument("task", required=False, shell_complete=complete_task)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the input, option and result schemas.")
@click.pass_context
def tasks_command(context: click.Context, task: str | None, as_json: bool) -> None:
    """List the tasks that you can run, or the input and the options of TASK."""
    plugins = _loaded_plugins()
    chosen = plugins.task(task) if task else None
    if as_json:
        rows = [_describe(one, plugins) for one in ([chosen] if chosen else plugins.tasks.values())]
        print_json(rows[0] if chosen else rows)
        return
    if chosen:
        formatter = context.make_formatter()
        formatter.write(f"{chosen.name}: {chosen.summary}\n")
        write_fields(chosen, formatter)
        click.echo(formatter.getvalue(), nl=False)
        return
    width = max(map(len, plugins.tasks), default=0)
    for name, one in plugins.tasks.items():
        click.echo(f"{name:<{width}}  {one.summary}".rstrip())
    if not plugins.tasks:
        click.echo("No task is loaded; `nlptasks plugins` shows why.")


def _loaded_plugins() -> Plugins:
    """The plugins once their commands have been added: one that fails there is disabled as well."""
    root = click.get_current_context().find_root()
    if isinstance(root.command, click.Group):
        root.command.list_commands(root)
    return default_plugins()


def _describe(task: AnyTask, plugins: Plugins) -> dict[str, Any]:
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
