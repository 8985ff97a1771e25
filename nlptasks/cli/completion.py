"""What the shell offers after Tab: tasks, adapters, base models, and the options of a task."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from nlptasks import NlptasksError, Settings, default_plugins

TASK = "nlptasks.task"
"""Key in a context's `meta` of the first argument, which stands there before the arguments are parsed."""


def complete_task(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """The tasks of the installed plugins."""
    return [
        CompletionItem(name, help=task.summary)
        for name, task in default_plugins().tasks.items()
        if name.startswith(typed)
    ]


def complete_adapter(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """The adapters of the store for the command's task, and `none` for the bare base."""
    from nlptasks.store import AdapterStore

    try:
        names = AdapterStore(Settings.from_env()).names(context.params.get("task") or "*")
    except NlptasksError:
        return []
    return _items([*names, "none"], typed)


def complete_base(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """The base models of the catalog and of plugins."""
    from nlptasks.store import CATALOG

    return _items([*CATALOG, *default_plugins().bases], typed)


def complete_option(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """The names of the options and input fields of the command's task."""
    task = default_plugins().tasks.get(context.params.get("task") or context.meta.get(TASK) or "")
    if task is None:
        return []
    fields = {**task.options_type.model_fields, **task.input_type.model_fields}
    return [CompletionItem(name, help=field.description) for name, field in fields.items() if name.startswith(typed)]


def _items(names: Iterable[str], typed: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(typed)]
