"""The host: loads plugins one by one, keeps what works and names what does not.

A plugin is taken whole or not at all. Whatever goes wrong in one is recorded with its traceback and
stops at its own border; only `Settings.strict` raises.
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
from nlptasks.discovery import GROUP, Refused, Source, check_hooks, installed_entry_points, load, reason_of, source_of
from nlptasks.errors import PluginError, UnknownNameError
from nlptasks.model import HEADS, Head
from nlptasks.results import Result
from nlptasks.settings import Settings
from nlptasks.task import AnyTask, Task, TaskOf, check_task_class, resolve_task

if TYPE_CHECKING:
    import click

View = Callable[[Any, Any], str]
"""A result and its input as HTML."""


@dataclass(frozen=True)
class PluginFailure:
    """A plugin that is off, and why. `reason` is one sentence."""

    plugin: str
    distribution: str | None
    version: str | None
    reason: str
    traceback: str


@dataclass(frozen=True)
class PluginRecord:
    """A plugin that is on, and what it brought."""

    name: str
    distribution: str | None
    version: str | None
    tasks: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


class Plugins:
    """All plugins of one process: their tasks, their commands, their failures."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.failures: list[PluginFailure] = []
        self.records: list[PluginRecord] = []
        self._settings = Settings.from_env() if settings is None else settings
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._tasks: dict[str, Task[Any, Any, Any]] = {}
        self._aliases: dict[str, str] = {}
        self._owners: dict[str, Source] = {}
        self._backends: dict[str, tuple[Source, MakeBackend]] = {}
        self._seen: set[tuple[str, str, str]] = set()
        self._left_out: set[str] = set()
        self._with_commands: list[Source] = []
        self._with_views: list[Source] = []
        self._views: dict[type[Result], View] = {}

    @property
    def tasks(self) -> Mapping[str, Task[Any, Any, Any]]:
        """Canonical names to tasks, in the order they were loaded."""
        return MappingProxyType(self._tasks)

    def task(self, task: str | TaskOf[Any]) -> AnyTask:
        """The task of this name or alias. An instance stands for itself, registered or not; a class for the
        registered instance of exactly this class, or else for a new one.

        Raises:
            UnknownNameError: with the near miss, and the failed plugin that might have held the task.
            NlptasksError: it is neither a name nor a task that can be run.
        """
        if not isinstance(task, str):
            return resolve_task(task, self._tasks.values())
        name = self._aliases.get(task, task)
        if name not in self._tasks:
            raise UnknownNameError("task", task, self._tasks, hint=self._hint(task))
        return self._tasks[name]

    @property
    def bases(self) -> Mapping[str, Path]:
        """The folders of the base models that come with plugins, by name; any task may name them."""
        return {name: folder for task in self._tasks.values() for name, folder in task.bases.items()}

    @property
    def backends(self) -> Mapping[str, MakeBackend]:
        """What makes the backends of plugins, by name, in the order they were registered."""
        return {name: make for name, (_, make) in self._backends.items()}

    @property
    def heads(self) -> Mapping[str, Head]:
        """The heads of all tasks and of nlptasks, by the verbs that they answer."""
        return {**{task.head.verb: task.head for task in self._tasks.values() if task.head}, **HEADS}

    @property
    def left_out(self) -> tuple[str, ...]:
        """Entry points that NLPTASKS_LOAD_PLUGINS does not name."""
        return tuple(sorted(self._left_out))

    def owner(self, task: str) -> PluginRecord | None:
        """The plugin that brought the task of this canonical name."""
        return next((record for record in self.records if task in record.tasks), None)

    def load_entry_points(self, entry_points: Iterable[EntryPoint] | None = None) -> None:
        """Load plugins, by default every installed one; those already loaded are passed over.

        Raises:
            PluginError: with `Settings.strict`, at the first failure.
        """
        if entry_points is None:
            entry_points = installed_entry_points(self._fail)
        found = sorted(((source_of(entry), entry) for entry in entry_points), key=lambda pair: pair[0].order)
        wanted = self._settings.load_plugins
        for source, entry in found:
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
        self._report_unmet(wanted or (), [source.name for source, _ in found])

    def register(
        self, plugin: object, name: str, *, distribution: str | None = None, version: str | None = None
    ) -> None:
        """Take a plugin that lives in this process: a module or an object with hook methods.

        Raises:
            PluginError: the plugin breaks the contract. Nothing of it is kept.
        """
        source = Source(name, distribution, version)
        with self._isolated(source, "while it registered", strict=True):
            self._admit(plugin, source)

    def add_commands(self, cli: click.Group, reserved: Collection[str] = ()) -> None:
        """Let each plugin add its commands to `cli`; a plugin that fails here is off with its tasks.

        `reserved` names commands that `cli` will have although it does not hold them yet.
        """
        import click

        for source in tuple(self._with_commands):
            self._with_commands.remove(source)
            # A group of the plugin's own: a failure half-way leaves nothing behind in `cli`.
            own = click.Group(cli.name)
            with self._isolated(source, "in register_commands", admitted=True):
                self._call("register_commands", source, cli=own)
                for name in own.commands:
                    if name in cli.commands or name in reserved:
                        raise Refused(f"Its command {name!r} already exists; give it another name.")
                for name, command in own.commands.items():
                    cli.add_command(command, name)
                self._note_commands(source, tuple(own.commands))

    def views(self) -> Mapping[type[Result], View]:
        """How plugins want results of their types shown; a plugin that fails here is off with its tasks."""
        for source in tuple(self._with_views):
            self._with_views.remove(source)
            own: dict[type[Result], View] = {}
            with self._isolated(source, "in register_views", admitted=True):
                self._call("register_views", source, register=functools.partial(_note_view, own))
                self._views |= own
        return MappingProxyType(self._views)

    def switch_off_backend(self, name: str, error: Exception) -> None:
        """Record why a backend failed; it is off with its plugin. Raises PluginError with `Settings.strict`."""
        with self._isolated(self._backends[name][0], f"in its backend {name!r}", admitted=True):
            raise error

    def failure_notice(self) -> str | None:
        """One line for the command line, or None when every plugin is on."""
        if not self.failures:
            return None
        names = [self._label(failure) for failure in self.failures]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        count = "1 plugin is" if len(names) == 1 else f"{len(names)} plugins are"
        return f"{count} off ({shown}): see `nlptasks plugins`."

    def _admit(self, plugin: object, source: Source) -> None:
        """Take the plugin's hooks and tasks, all of them or none."""
        wants = getattr(plugin, "nlptasks_api", hookspecs.API_VERSION)
        if wants != hookspecs.API_VERSION:
            has = hookspecs.API_VERSION
            raise Refused(f"It is written for plugin API {wants!r}, this nlptasks has API {has}.")
        known = self._manager.get_name(plugin)
        if known is not None:
            raise Refused(f"The plugin {known!r} already stands for the same module or object.")
        if self._manager.has_plugin(source.key):
            raise Refused(f"Another plugin is already registered as {source.key!r}.")
        hooks = check_hooks(plugin, self._manager)
        self._manager.register(plugin, source.key)
        staged: dict[str, Task[Any, Any, Any]] = {}
        if "register_tasks" in hooks:
            self._call("register_tasks", source, register=functools.partial(self._stage, staged))
        backends: dict[str, MakeBackend] = {}
        if "register_backends" in hooks:
            self._call("register_backends", source, register=functools.partial(self._stage_backend, backends))
        self._commit(source, staged)
        self._backends |= {name: (source, make) for name, make in backends.items()}
        if "register_commands" in hooks:
            self._with_commands.append(source)
        if "register_views" in hooks:
            self._with_views.append(source)
        self.records.append(PluginRecord(source.name, source.distribution, source.version, tuple(staged), hooks))

    def _stage(self, staged: dict[str, Task[Any, Any, Any]], task: Task[Any, Any, Any]) -> None:
        """What a plugin gets as `register`."""
        problems = check_task_class(task)
        if problems:
            raise Refused(f"Its task {type(task).__name__} is not usable: {'; '.join(problems)}.")
        aliases = task.aliases
        if not isinstance(aliases, tuple) or not all(isinstance(alias, str) and alias for alias in aliases):
            raise Refused(f"Its task {task.name!r} needs a tuple of names as aliases, found {aliases!r}.")
        for name in (task.name, *aliases):
            owner = self._owners.get(name)
            if owner is not None:
                raise Refused(f"Its task {task.name!r} claims the name {name!r}, which belongs to {owner.key!r}.")
            if any(name in (other.name, *other.aliases) for other in staged.values()):
                raise Refused(f"It registers two tasks of the name {name!r}.")
        for base, folder in task.bases.items():
            if taken := self._base_owner(base, folder, staged):
                raise Refused(f"Its task {task.name!r} ships a base {base!r}, but the name belongs to {taken}.")
        heads = {**{other.head.verb: other.head for other in staged.values() if other.head}, **self.heads}
        if task.head and heads.get(task.head.verb, task.head) != task.head:
            raise Refused(f"Its task {task.name!r} has a head of its own for {task.head.verb!r}, which is taken.")
        staged[task.name] = task

    def _stage_backend(self, staged: dict[str, MakeBackend], name: str, make: MakeBackend) -> None:
        """What a plugin gets as `register` of its backends."""
        if not isinstance(name, str) or not name or not callable(make):
            raise Refused(f"register_backends: expected a name and a function, found {name!r}, {make!r}.")
        if name in BUILT_IN or name in self._backends or name in staged:
            raise Refused(f"Its backend {name!r} already exists; give it another name.")
        staged[name] = make

    def _base_owner(self, name: str, folder: Path, staged: Mapping[str, Task[Any, Any, Any]]) -> str | None:
        """Who has another base of this name, which would be hidden; tasks may share a folder."""
        for other in (*self._tasks.values(), *staged.values()):
            if other.bases.get(name, folder) != folder:
                return f"its task {other.name!r}" if other.name in staged else repr(self._owners[other.name].key)
        return None

    def _commit(self, source: Source, staged: Mapping[str, Task[Any, Any, Any]]) -> None:
        for task in staged.values():
            self._tasks[task.name] = task
            for alias in task.aliases:
                self._aliases[alias] = task.name
            for name in (task.name, *task.aliases):
                self._owners[name] = source

    def _undo(self, source: Source) -> None:
        """Take back whatever this source brought."""
        if self._manager.has_plugin(source.key):
            self._manager.unregister(name=source.key)
        for name in [name for name, owner in self._owners.items() if owner == source]:
            del self._owners[name]
            self._aliases.pop(name, None)
            self._tasks.pop(name, None)
        self._backends = {name: pair for name, pair in self._backends.items() if pair[0] != source}
        self._with_commands = [other for other in self._with_commands if other != source]
        self._with_views = [other for other in self._with_views if other != source]
        self.records = [record for record in self.records if not _is_from(record, source)]

    def _call(self, hook: str, source: Source, **arguments: Any) -> None:
        """Call one hook of one plugin, so that a failure has one name."""
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
        if (source.key, reason) not in [
            (Source(failure.plugin, failure.distribution).key, failure.reason) for failure in self.failures
        ]:
            self.failures.append(PluginFailure(source.name, source.distribution, source.version, reason, trace))
        if strict or self._settings.strict:
            raise PluginError(f"Plugin {source.key}: {reason}") from error

    def _note_commands(self, source: Source, commands: tuple[str, ...]) -> None:
        self.records = [
            replace(record, commands=commands) if _is_from(record, source) else record for record in self.records
        ]

    def _report_unmet(self, wanted: Iterable[str], installed: list[str]) -> None:
        """A name in NLPTASKS_LOAD_PLUGINS that no installed plugin has is a typing error, not a wish."""
        for name in sorted(set(wanted) - set(installed) - {seen for _, seen, _ in self._seen}):
            near = difflib.get_close_matches(name, installed, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "check its spelling, or install it."
            error = Refused(f"NLPTASKS_LOAD_PLUGINS names it, but no installed plugin has this name: {hint}")
            self._fail(Source(name), error, "")

    def _label(self, failure: PluginFailure) -> str:
        if failure.distribution is None:
            return failure.plugin
        everyone: tuple[PluginRecord | PluginFailure, ...] = (*self.records, *self.failures)
        alone = sum(other.distribution == failure.distribution for other in everyone) == 1
        return failure.distribution if alone else f"{failure.distribution}:{failure.plugin}"

    def _hint(self, name: str) -> str:
        """What else to tell someone who asks for a task that is not there."""
        words = set(re.split(r"[-_:]", name))
        for failure in self.failures:
            if words & set(re.split(r"[-_:.]", f"{failure.plugin}-{failure.distribution or ''}")) - {GROUP}:
                return f"The plugin {self._label(failure)} might hold it, but is off: {failure.reason}"
        if self.left_out:
            return f"NLPTASKS_LOAD_PLUGINS leaves out: {', '.join(self.left_out)}."
        return self.failure_notice() or ""


_default: Plugins | None = None
_default_lock = threading.RLock()


def default_plugins() -> Plugins:
    """The process's own plugins, made and loaded on first use."""
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


def _note_view(views: dict[type[Result], View], result_type: type[Result], view: View) -> None:
    """What a plugin gets as `register` of its views."""
    if not (isinstance(result_type, type) and issubclass(result_type, Result)) or not callable(view):
        raise Refused(f"register_views: expected a subclass of Result and a function, found {result_type!r}, {view!r}.")
    views[result_type] = view


def _is_from(record: PluginRecord, source: Source) -> bool:
    return (record.name, record.distribution) == (source.name, source.distribution)
