"""The plugin host: loads plugins one by one, and disables one that fails.

A plugin is accepted whole or not at all. Whatever goes wrong in one is recorded with its traceback and leaves the
others alone; only `Settings.strict` raises.
"""

from __future__ import annotations

import difflib
import functools
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from nlptasks import definitions, hookspecs
from nlptasks.backends import MakeBackend
from nlptasks.definitions import View, ViewOf, resolve_task, unknown_base
from nlptasks.discovery import (
    GROUP,
    NameConflict,
    PluginFailure,
    PluginRecord,
    Refused,
    Source,
    TaskNames,
    counted,
    implemented_hooks,
    installed_entry_points,
    load,
    reason_of,
    source_of,
)
from nlptasks.errors import PluginError, UnknownNameError
from nlptasks.model import HEADS, Head
from nlptasks.process import hold_over_forks
from nlptasks.settings import Settings
from nlptasks.task import AnyTask, TaskOf

if TYPE_CHECKING:
    import click

    from nlptasks.engine import Engine

A = TypeVar("A")


class Plugins:
    """All plugins of one process: their tasks, backends, commands and views, and their failures."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.failures: list[PluginFailure] = []
        self.records: list[PluginRecord] = []
        self._settings = Settings.from_env() if settings is None else settings
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._names = TaskNames(self._settings.data / "plugins.json")
        self._backends: dict[str, tuple[Source, MakeBackend]] = {}
        self._views: dict[ViewOf, View] = {}
        self._called: set[tuple[str, str]] = set()
        self._seen: set[tuple[str, str, str]] = set()
        self._left_out: set[str] = set()
        with self._isolated(Source("plugins.json"), "while it was read"):
            self._names.read_preferences()

    @property
    def tasks(self) -> Mapping[str, AnyTask]:
        """Canonical names to tasks, in the order they were loaded."""
        return MappingProxyType(self._names.tasks)

    @property
    def conflicts(self) -> list[NameConflict]:
        """The names that several plugins claim."""
        return self._names.conflicts

    def task(self, task: str | TaskOf[Any]) -> AnyTask:
        """The task of this name or alias. An instance is returned as it is, registered or not; for a class, the
        registered instance of exactly this class, or else a new one.

        Raises:
            UnknownNameError: no such task; names the near miss, and the disabled plugin that may provide it.
            NlptasksError: neither a name nor a usable task.
        """
        if not isinstance(task, str):
            return resolve_task(task, self.tasks.values())
        name = self._names.aliases.get(task, task)
        if name not in self.tasks:
            raise UnknownNameError("task", task, self.tasks, hint=self._hint(task))
        return self.tasks[name]

    @property
    def bases(self) -> Mapping[str, Path]:
        """The folders of the base models that ship with plugins, by name; any task may use them."""
        return {name: folder for _, task in self._names.registered for name, folder in task.bases.items()}

    @property
    def backends(self) -> Mapping[str, MakeBackend]:
        """The factories of the plugins' backends, by name, in the order they were registered."""
        return {name: make for name, (_, make) in self._backends.items()}

    @property
    def heads(self) -> Mapping[str, Head]:
        """All heads, built in or from tasks, by the verbs that they answer."""
        return {**{head.verb: head for _, task in self._names.registered for head in task.heads}, **HEADS}

    @property
    def left_out(self) -> tuple[str, ...]:
        """Installed entry points that NLPTASKS_LOAD_PLUGINS does not list."""
        return tuple(sorted(self._left_out))

    def owner(self, task: str) -> PluginRecord | None:
        """The plugin that registered the task of this canonical name."""
        return next((record for record in self.records if task in record.tasks), None)

    def describe(self, task: AnyTask) -> str:
        """A task and its plugin, to begin a sentence with."""
        source = next((source for source, item in self._names.registered if item is task), None)
        return f"The task {task.name!r}" + (f" of the plugin {source.key}" if source else "")

    def prefer(self, plugin: str, task: str) -> None:
        """Give a name that several plugins claim to one of them, for this user from now on.

        `plugin` is a distribution, or DISTRIBUTION:ENTRY_POINT where one distribution claims the name twice.

        Raises:
            UnknownNameError: no plugin claims the name, or not this one.
        """
        self._names.prefer(plugin, task)
        self._list_tasks()

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
            started = time.perf_counter()
            with self._isolated(source, "while it was imported"):
                plugin = load(entry)
            if plugin is not None:
                with self._isolated(source, "while it registered"):
                    self._admit(plugin, source)
                    self._update(source, seconds=round(time.perf_counter() - started, 3))
        self._check_bases()
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
            self._admit(plugin, source, by_hand=True)
        self._check_bases(strict=True)

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
                definitions.check_commands(group.commands, {*cli.commands, *reserved})
                cli.commands.update(group.commands)
                self._update(record, commands=tuple(group.commands))

    def views(self) -> Mapping[ViewOf, View]:
        """The plugins' views by result type or task name; a plugin that fails here is disabled with its tasks."""
        for record in self._uncalled("register_views"):
            views: dict[ViewOf, View] = {}
            with self._isolated(record, "in register_views", admitted=True):
                self._call("register_views", record, register=functools.partial(self._add_view, record, views))
                self._views |= views
        return MappingProxyType(self._views)

    def routes(self, make: Callable[[str], A], engine: Engine, reserved: Collection[str] = ()) -> Mapping[str, A]:
        """The plugins' routes in apps that `make` makes for their names, by these, which are their addresses; a plugin
        that fails here is disabled with its tasks.

        `reserved` names addresses that are the server's.
        """
        apps: dict[str, A] = {}
        for record in [record for record in self.records if "register_routes" in record.hooks]:
            with self._isolated(record, "in register_routes", admitted=True):
                definitions.check_address(record.name, {*apps, *reserved})
                app = make(record.name)
                self._call("register_routes", record, app=app, engine=engine)
                apps[record.name] = app
        return apps

    def disable_backend(self, name: str, error: Exception) -> None:
        """Record why a backend failed, and disable its plugin. Raises PluginError with `Settings.strict`."""
        with self._isolated(self._backends[name][0], f"in its backend {name!r}", admitted=True):
            raise error

    def failure_notice(self) -> str | None:
        """One line for the command line; None when no plugin is disabled and no task's name is in dispute."""
        disputed = [conflict.name for conflict in self.conflicts if not conflict.preferred]
        parts = [
            counted(("plugin is", "plugins are"), "disabled", [failure.key for failure in self.failures]),
            counted(("task name is", "task names are"), "claimed by several plugins", disputed),
        ]
        return f"{', '.join(filter(None, parts))}: see `nlptasks plugins`." if any(parts) else None

    def _admit(self, plugin: object, source: Source, *, by_hand: bool = False) -> None:
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
            self._call("register_tasks", source, register=functools.partial(self._add_task, source, by_hand))
        if "register_backends" in hooks:
            self._call("register_backends", source, register=functools.partial(self._add_backend, source))
        self.records.append(PluginRecord(source.name, source.distribution, source.version, hooks=hooks))
        self._list_tasks()

    def _add_task(self, source: Source, by_hand: bool, task: AnyTask) -> None:
        """The `register` of register_tasks."""
        definitions.check_task(task, source, self._names.registered, self.heads)
        # Without an entry point there is no distribution to prefer, and the caller can choose another name.
        self._names.add(source, task, alone=by_hand or self._settings.strict)

    def _list_tasks(self) -> None:
        """Write into the records which tasks have their names."""
        for record in self.records:
            tasks = tuple(task.name for task in self._names.of(record) if self.tasks.get(task.name) is task)
            self._update(record, tasks=tasks)

    def _update(self, source: Source, **changes: Any) -> None:
        self.records = [replace(item, **changes) if item.key == source.key else item for item in self.records]

    def _check_bases(self, *, strict: bool = False) -> None:
        """Disable a plugin whose task names a base that nobody has; a plugin's backend may know any name."""
        for source, task in [] if self._backends else list(self._names.registered):
            if fault := unknown_base(task, self.bases):
                with self._isolated(source, "", strict=strict, admitted=True):
                    raise Refused(f"Its task {task.name!r} {fault}")

    def _add_view(self, source: Source, views: dict[ViewOf, View], target: ViewOf, view: View) -> None:
        """The `register` of register_views."""
        tasks = self._names.of(source)
        hook = self._manager.get_plugin(source.key).register_views  # type: ignore[union-attr]
        definitions.check_view(target, view, hook, tasks, self._views)
        if isinstance(target, str) and self.tasks.get(target) not in tasks:
            # Another plugin's task has the name.
            return
        views[target] = view

    def _add_backend(self, source: Source, name: str, make: MakeBackend) -> None:
        """The `register` of register_backends."""
        definitions.check_backend(name, make, self._backends)
        self._backends[name] = (source, make)

    def _undo(self, source: Source) -> None:
        """Remove everything that this plugin registered."""
        if self._manager.has_plugin(source.key):
            self._manager.unregister(name=source.key)
        self._names.remove(source)
        self._backends = {name: pair for name, pair in self._backends.items() if pair[0].key != source.key}
        self._called = {(key, hook) for key, hook in self._called if key != source.key}
        self.records = [record for record in self.records if record.key != source.key]
        self._list_tasks()

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
            # What a plugin prints must not stand between the lines of a command's JSON.
            with redirect_stdout(sys.stderr):
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
        for conflict in self.conflicts:
            if conflict.name == name:
                return conflict.reason
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


def plugin_notice() -> str | None:
    """`Plugins.failure_notice` of this process's plugins; None when they were not loaded."""
    return _default.failure_notice() if _default else None


def plugin_names() -> list[str]:
    """The names of the installed plugins, sorted; imports none of them."""
    return sorted({entry.name for entry in installed_entry_points(lambda *_: None)})
