"""The plugin host: loads plugins one by one, and disables one that fails.

A plugin is accepted whole or not at all. Whatever goes wrong in one is recorded with its traceback and leaves the
others alone; only `Settings.strict` raises.
"""

from __future__ import annotations

import difflib
import functools
import re
import threading
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pluggy

from nlptasks import hookspecs
from nlptasks.backends import BUILT_IN, MakeBackend
from nlptasks.discovery import (
    GROUP,
    Refused,
    Source,
    implemented_hooks,
    installed_entry_points,
    load,
    reason_of,
    source_of,
)
from nlptasks.errors import PluginError, UnknownNameError
from nlptasks.model import HEADS, Head
from nlptasks.process import hold_over_forks
from nlptasks.results import Result
from nlptasks.settings import Settings
from nlptasks.task import AnyTask, TaskOf, check_task_class, resolve_task

if TYPE_CHECKING:
    import click

View = Callable[[Any, Any], str]
"""A result and its input as HTML."""


@dataclass(frozen=True)
class PluginFailure(Source):
    """A plugin that is disabled; `reason` is one sentence."""

    reason: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class PluginRecord(Source):
    """A plugin that is enabled, and what it registered."""

    tasks: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


class Plugins:
    """All plugins of one process: their tasks, backends, commands and views, and their failures."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.failures: list[PluginFailure] = []
        self.records: list[PluginRecord] = []
        self._settings = Settings.from_env() if settings is None else settings
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._tasks: dict[str, AnyTask] = {}
        self._aliases: dict[str, str] = {}
        self._owners: dict[str, str] = {}
        self._backends: dict[str, tuple[Source, MakeBackend]] = {}
        self._views: dict[type[Result], View] = {}
        self._called: set[tuple[str, str]] = set()
        self._seen: set[tuple[str, str, str]] = set()
        self._left_out: set[str] = set()

    @property
    def tasks(self) -> Mapping[str, AnyTask]:
        """Canonical names to tasks, in the order they were loaded."""
        return MappingProxyType(self._tasks)

    def task(self, task: str | TaskOf[Any]) -> AnyTask:
        """The task of this name or alias. An instance is returned as it is, registered or not; for a class, the
        registered instance of exactly this class, or else a new one.

        Raises:
            UnknownNameError: no such task; names the near miss, and the disabled plugin that may provide it.
            NlptasksError: neither a name nor a usable task.
        """
        if not isinstance(task, str):
            return resolve_task(task, self._tasks.values())
        name = self._aliases.get(task, task)
        if name not in self._tasks:
            raise UnknownNameError("task", task, self._tasks, hint=self._hint(task))
        return self._tasks[name]

    @property
    def bases(self) -> Mapping[str, Path]:
        """The folders of the base models that ship with plugins, by name; any task may use them."""
        return {name: folder for task in self._tasks.values() for name, folder in task.bases.items()}

    @property
    def backends(self) -> Mapping[str, MakeBackend]:
        """The factories of the plugins' backends, by name, in the order they were registered."""
        return {name: make for name, (_, make) in self._backends.items()}

    @property
    def heads(self) -> Mapping[str, Head]:
        """All heads, built in or from tasks, by the verbs that they answer."""
        return {**{task.head.verb: task.head for task in self._tasks.values() if task.head}, **HEADS}

    @property
    def left_out(self) -> tuple[str, ...]:
        """Installed entry points that NLPTASKS_LOAD_PLUGINS does not list."""
        return tuple(sorted(self._left_out))

    def owner(self, task: str) -> PluginRecord | None:
        """The plugin that registered the task of this canonical name."""
        return next((record for record in self.records if task in record.tasks), None)

    def load_entry_points(self, entry_points: Iterable[EntryPoint] | None = None) -> None:
        """Load plugins, by default every installed one; those already loaded are skipped.

        Raises:
            PluginError: with `Settings.strict`, at the first failure.
        """
        if entry_points is None:
            entry_points = installed_entry_points(self._fail)
        ordered = sorted(((source_of(entry), entry) for entry in entry_points), key=lambda pair: pair[0].order)
        wanted = self._settings.load_plugins
        for source, entry in ordered:
            identity = (source.distribution or "", source.name, entry.value)
            if identity in self._seen:
                continue
            if wanted is not None and source.name not in wanted:
                self._left_out.add(source.name)
                continue
            self._seen.add(identity)
            plugin = None
            with self._isolated(source, "while it was imported"):
                plugin = load(entry)
            if plugin is not None:
                with self._isolated(source, "while it registered"):
                    self._admit(plugin, source)
        self._report_missing(wanted or (), [source.name for source, _ in ordered])

    def register(
        self, plugin: object, name: str, *, distribution: str | None = None, version: str | None = None
    ) -> None:
        """Register a plugin of this process: a module or an object with hook methods.

        Raises:
            PluginError: the plugin breaks the contract; nothing of it stays registered.
        """
        source = Source(name, distribution, version)
        with self._isolated(source, "while it registered", strict=True):
            self._admit(plugin, source)

    def add_commands(self, cli: click.Group, reserved: Collection[str] = ()) -> None:
        """Let each plugin add its commands to `cli`; a plugin that fails here is disabled with its tasks.

        `reserved` names commands that `cli` does not hold yet but will.
        """
        import click

        for record in self._uncalled("register_commands"):
            # A scratch group: a failure half-way leaves nothing behind in `cli`.
            group = click.Group(cli.name)
            with self._isolated(record, "in register_commands", admitted=True):
                self._call("register_commands", record, cli=group)
                for name in group.commands:
                    if name in cli.commands or name in reserved:
                        raise Refused(f"Its command {name!r} already exists; give it another name.")
                cli.commands.update(group.commands)
                self.records[self.records.index(record)] = replace(record, commands=tuple(group.commands))

    def views(self) -> Mapping[type[Result], View]:
        """The plugins' views by result type; a plugin that fails here is disabled with its tasks."""
        for record in self._uncalled("register_views"):
            views: dict[type[Result], View] = {}
            with self._isolated(record, "in register_views", admitted=True):
                self._call("register_views", record, register=functools.partial(_add_view, views))
                self._views |= views
        return MappingProxyType(self._views)

    def disable_backend(self, name: str, error: Exception) -> None:
        """Record why a backend failed, and disable its plugin. Raises PluginError with `Settings.strict`."""
        with self._isolated(self._backends[name][0], f"in its backend {name!r}", admitted=True):
            raise error

    def failure_notice(self) -> str | None:
        """One line for the command line; None when no plugin is disabled."""
        if not self.failures:
            return None
        names = [failure.key for failure in self.failures]
        listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        count = "1 plugin is" if len(names) == 1 else f"{len(names)} plugins are"
        return f"{count} disabled ({listed}): see `nlptasks plugins`."

    def _admit(self, plugin: object, source: Source) -> None:
        """Register the plugin's hooks, tasks and backends; `_isolated` undoes it if one is refused."""
        wants = getattr(plugin, "nlptasks_api", hookspecs.API_VERSION)
        if wants != hookspecs.API_VERSION:
            has = hookspecs.API_VERSION
            raise Refused(f"It is written for plugin API {wants!r}, this nlptasks has API {has}.")
        known = self._manager.get_name(plugin)
        if known is not None:
            raise Refused(f"The same module or object is already registered as the plugin {known!r}.")
        if self._manager.has_plugin(source.key):
            raise Refused(f"Another plugin is already registered as {source.key!r}.")
        hooks = implemented_hooks(plugin, self._manager)
        self._manager.register(plugin, source.key)
        if "register_tasks" in hooks:
            self._call("register_tasks", source, register=functools.partial(self._add_task, source))
        if "register_backends" in hooks:
            self._call("register_backends", source, register=functools.partial(self._add_backend, source))
        tasks = tuple(name for name in self._tasks if self._owners[name] == source.key)
        self.records.append(PluginRecord(source.name, source.distribution, source.version, tasks, hooks))

    def _add_task(self, source: Source, task: AnyTask) -> None:
        """The `register` of register_tasks."""
        problems = check_task_class(task)
        if problems:
            raise Refused(f"Its task {type(task).__name__} is not usable: {'; '.join(problems)}.")
        aliases = task.aliases
        if not isinstance(aliases, tuple) or not all(isinstance(alias, str) and alias for alias in aliases):
            raise Refused(f"Its task {task.name!r} needs a tuple of names as aliases, found {aliases!r}.")
        for name in (task.name, *aliases):
            owner = self._owners.get(name)
            if owner == source.key:
                raise Refused(f"It registers two tasks of the name {name!r}.")
            if owner is not None:
                raise Refused(f"Its task {task.name!r} claims the name {name!r}, which belongs to {owner!r}.")
        for other in self._tasks.values():
            for base in task.bases.keys() & other.bases.keys():
                # Tasks may share a base, but no base hides another of its name.
                if task.bases[base] != other.bases[base]:
                    owner = self._owners[other.name]
                    owner = f"its task {other.name!r}" if owner == source.key else repr(owner)
                    raise Refused(f"Its task {task.name!r} ships a base {base!r}, but the name belongs to {owner}.")
        if task.head and self.heads.get(task.head.verb, task.head) != task.head:
            raise Refused(f"Its task {task.name!r} defines another head for the verb {task.head.verb!r}.")
        self._tasks[task.name] = task
        self._aliases |= dict.fromkeys(aliases, task.name)
        self._owners |= dict.fromkeys((task.name, *aliases), source.key)

    def _add_backend(self, source: Source, name: str, make: MakeBackend) -> None:
        """The `register` of register_backends."""
        if not isinstance(name, str) or not name or not callable(make):
            raise Refused(f"register_backends: expected a name and a function, found {name!r}, {make!r}.")
        if name in BUILT_IN or name in self._backends:
            raise Refused(f"Its backend {name!r} already exists; give it another name.")
        self._backends[name] = (source, make)

    def _undo(self, source: Source) -> None:
        """Remove everything that this plugin registered."""
        if self._manager.has_plugin(source.key):
            self._manager.unregister(name=source.key)
        for name in [name for name, owner in self._owners.items() if owner == source.key]:
            del self._owners[name]
            self._aliases.pop(name, None)
            self._tasks.pop(name, None)
        self._backends = {name: pair for name, pair in self._backends.items() if pair[0].key != source.key}
        self._called = {(key, hook) for key, hook in self._called if key != source.key}
        self.records = [record for record in self.records if record.key != source.key]

    def _uncalled(self, hook: str) -> list[PluginRecord]:
        """The plugins whose hook has not been called yet; each is returned once."""
        records = [r for r in self.records if hook in r.hooks and (r.key, hook) not in self._called]
        self._called |= {(record.key, hook) for record in records}
        return records

    def _call(self, hook: str, source: Source, **arguments: Any) -> None:
        """Call a hook of one plugin alone, so that a failure can be attributed to it."""
        others = [plugin for name, plugin in self._manager.list_name_plugin() if name != source.key]
        self._manager.subset_hook_caller(hook, others)(**arguments)

    @contextmanager
    def _isolated(self, source: Source, doing: str, *, strict: bool = False, admitted: bool = False) -> Iterator[None]:
        # A refused newcomer must not pull down the plugin whose key it wanted.
        taken = not admitted and self._manager.has_plugin(source.key)
        try:
            yield
        except (Exception, SystemExit) as error:
            if not taken:
                self._undo(source)
            self._fail(source, error, doing, strict=strict)

    def _fail(self, source: Source, error: BaseException, doing: str, *, strict: bool = False) -> None:
        reason = reason_of(error, doing)
        trace = "".join(traceback.format_exception(error))
        if (source.key, reason) not in [(failure.key, failure.reason) for failure in self.failures]:
            self.failures.append(PluginFailure(source.name, source.distribution, source.version, reason, trace))
        if strict or self._settings.strict:
            raise PluginError(f"Plugin {source.key}: {reason}") from error

    def _report_missing(self, wanted: Iterable[str], installed: list[str]) -> None:
        """A name in NLPTASKS_LOAD_PLUGINS that no installed plugin has is a typing error, not a wish."""
        for name in sorted(set(wanted) - set(installed) - {seen for _, seen, _ in self._seen}):
            near = difflib.get_close_matches(name, installed, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "check its spelling, or install it."
            error = Refused(f"NLPTASKS_LOAD_PLUGINS lists it, but no installed plugin has this name: {hint}")
            self._fail(Source(name), error, "")

    def _hint(self, name: str) -> str:
        """Why a task that was asked for may be missing."""
        words = set(re.split(r"[-_:]", name))
        for failure in self.failures:
            if words & set(re.split(r"[-_:.]", f"{failure.name}-{failure.distribution or ''}")) - {GROUP}:
                return f"The plugin {failure.key} may provide it, but is disabled: {failure.reason}"
        if self.left_out:
            return f"NLPTASKS_LOAD_PLUGINS leaves out: {', '.join(self.left_out)}."
        return self.failure_notice() or ""


_default: Plugins | None = None
_default_lock = threading.RLock()
hold_over_forks(_default_lock)


def default_plugins() -> Plugins:
    """The plugins of this process, loaded on first use."""
    global _default
    with _default_lock:
        if _default is None:
            plugins = Plugins()
            # Set before loading: a plugin that asks for the tasks while it is imported must not start over.
            _default = plugins
            try:
                plugins.load_entry_points()
            except BaseException:
                _default = None
                raise
        return _default


def _add_view(views: dict[type[Result], View], result_type: type[Result], view: View) -> None:
    """The `register` of register_views."""
    if not (isinstance(result_type, type) and issubclass(result_type, Result)) or not callable(view):
        raise Refused(f"register_views: expected a subclass of Result and a function, found {result_type!r}, {view!r}.")
    views[result_type] = view
