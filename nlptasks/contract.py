"""What a plugin's hooks may register: each check raises `Refused` with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from nlptasks.backends import BUILT_IN
from nlptasks.definitions import check_task_class
from nlptasks.discovery import Refused, Source
from nlptasks.model import Head
from nlptasks.results import Result
from nlptasks.task import AnyTask

View = Callable[[Any, Any], str]
"""A result and its input as HTML."""

ViewOf = type[Result] | str
"""What a view is for: a type of results, or a task by its name."""

_ADDRESS = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


def check_task(
    task: AnyTask, source: Source, registered: Iterable[tuple[Source, AnyTask]], heads: Mapping[str, Head]
) -> None:
    """A usable task, whose bases and heads hide none that is `registered`."""
    problems = check_task_class(task)
    if problems:
        raise Refused(f"Its task {type(task).__name__} is not usable: {'; '.join(problems)}.")
    for other, item in registered:
        for base in task.bases.keys() & item.bases.keys():
            # Tasks may share a base, but no base hides another of its name.
            if task.bases[base] != item.bases[base]:
                owner = f"its task {item.name!r}" if other.key == source.key else repr(other.key)
                raise Refused(f"Its task {task.name!r} ships a base {base!r}, but the name belongs to {owner}.")
    if unlike := next((head for head in task.heads if heads.get(head.verb, head) != head), None):
        raise Refused(f"Its task {task.name!r} defines another head for the verb {unlike.verb!r}.")


def check_view(
    target: ViewOf, view: View, hook: Callable[..., Any], tasks: Iterable[AnyTask], taken: Collection[ViewOf]
) -> None:
    """A function for results of the plugin that `hook` is of, or for one of its `tasks`."""
    if not (isinstance(target, type) and issubclass(target, Result)) and not isinstance(target, str):
        raise Refused(f"register_views: expected a subclass of Result or a task's name, found {target!r}.")
    if not callable(view):
        raise Refused(f"register_views: expected a function from a result and its input, found {view!r}.")
    if isinstance(target, str):
        if target not in [task.name for task in tasks]:
            raise Refused(f"register_views: expected a task of the plugin, found {target!r}.")
        return
    packages = {item.__module__.partition(".")[0] for item in (hook, *map(type, tasks))}
    if target.__module__.partition(".")[0] not in packages or target in taken:
        raise Refused(
            f"register_views: expected a type of results that the plugin defines, found {target.__name__} of "
            f"{target.__module__}: register the view for a task's name instead."
        )


def check_backend(name: str, make: object, taken: Collection[str]) -> None:
    """A name that is free, and a function."""
    if not isinstance(name, str) or not name or not callable(make):
        raise Refused(f"register_backends: expected a name and a function, found {name!r}, {make!r}.")
    if name in BUILT_IN or name in taken:
        raise Refused(f"Its backend {name!r} already exists; give it another name.")


def check_commands(names: Iterable[str], taken: Collection[str]) -> None:
    """Commands whose names are free."""
    for name in names:
        if name in taken:
            raise Refused(f"Its command {name!r} already exists; give it another name.")


def check_address(name: str, taken: Collection[str]) -> None:
    """A plugin's name that can be the first part of its routes' addresses."""
    if not _ADDRESS.fullmatch(name):
        raise Refused(f"Its routes would be at /{name}: expected letters, digits, '.', '-' and '_'; rename the plugin.")
    if name in taken:
        raise Refused(f"Its routes would be at /{name}, which is taken; give the plugin another name.")
