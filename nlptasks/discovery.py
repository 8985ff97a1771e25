"""Discovery of plugins: entry points read with care, hooks, the names of tasks, and failures as one sentence."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import inspect
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path, PurePath
from typing import Any

import pluggy

from nlptasks import hookspecs
from nlptasks.errors import UnknownNameError
from nlptasks.task import AnyTask

GROUP = "nlptasks"

SLOW_IMPORT = 0.3
"""Seconds that loading a plugin may take; every command that needs the tasks waits for it."""

_SPECS = {name: inspect.signature(hook) for name, hook in vars(hookspecs).items() if hasattr(hook, "nlptasks_spec")}


class Refused(Exception):
    """A plugin breaks the contract; the text is the reason, one sentence."""


@dataclass(frozen=True)
class Source:
    """A plugin's identity; `distribution` is None for one that was registered by hand."""

    name: str
    distribution: str | None = None
    version: str | None = None

    @property
    def key(self) -> str:
        """Unique among all installed plugins: two distributions may use one entry-point name."""
        return f"{self.distribution}:{self.name}" if self.distribution else self.name

    @property
    def comes_with_nlptasks(self) -> bool:
        return self.distribution == GROUP

    @property
    def order(self) -> tuple[bool, str, str]:
        """What comes with nlptasks is loaded first: no name of a distribution takes anything from it."""
        return (not self.comes_with_nlptasks, self.distribution or "", self.name)


@dataclass(frozen=True)
class PluginFailure(Source):
    """A plugin that is disabled; `reason` is one sentence."""

    reason: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class PluginRecord(Source):
    """A plugin that is enabled, what it registered, and the seconds that loading it took.

    `tasks` are those that have their name; see `Plugins.conflicts` for the others.
    """

    tasks: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def warning(self) -> str:
        """One sentence if loading the plugin took long, else ""."""
        if self.seconds <= SLOW_IMPORT:
            return ""
        return (
            f"Loading it took {self.seconds:.2f} s, expected {SLOW_IMPORT} s at most: import heavy packages inside the "
            "functions that need them."
        )


@dataclass(frozen=True)
class NameConflict:
    """A task's name or alias that several plugins claim.

    `owner` is the plugin that has it, None for nobody; `preferred` is whether the user chose it.
    """

    name: str
    plugins: tuple[str, ...]
    owner: str | None
    preferred: bool = False

    @property
    def reason(self) -> str:
        """One sentence with the command that decides."""
        others = [key for key in self.plugins if key != self.owner]
        listed, verb = " and ".join(others), "claims" if len(others) == 1 else "claim"
        command = f"`nlptasks plugins prefer {others[0]} {self.name}`"
        if self.preferred:
            return f"The task name {self.name!r} belongs to {self.owner}, as you chose; {listed} {verb} it too."
        if self.owner:
            return (
                f"The task name {self.name!r} stays with {self.owner}; {listed} {verb} it too: {command} changes that."
            )
        return f"The task name {self.name!r} is claimed by {listed}, so none of them has it: choose, as in {command}."


class TaskNames:
    """The tasks of all plugins, and who has which name.

    A name belongs to its one claimant. Of several, the user's preference has it, which is kept in `file`; else the task
    that comes with nlptasks; else nobody. Attributes: `tasks` by their names, `aliases` with their task's name,
    `conflicts`.
    """

    def __init__(self, file: Path) -> None:
        self.registered: list[tuple[Source, AnyTask]] = []
        self.tasks: dict[str, AnyTask] = {}
        self.aliases: dict[str, str] = {}
        self.conflicts: list[NameConflict] = []
        self._file = file
        self._preferred: dict[str, str] = {}

    def read_preferences(self) -> None:
        """Raise Refused if the file cannot be read."""
        try:
            self._preferred = dict(json.loads(self._file.read_text(encoding="utf-8"))["prefer"])
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refused(f"{self._file} cannot be read ({error}): delete it and choose again.") from error

    def of(self, source: Source) -> list[AnyTask]:
        """The tasks that a plugin registered, with or without their names."""
        return [task for owner, task in self.registered if owner.key == source.key]

    def add(self, source: Source, task: AnyTask, *, alone: bool) -> None:
        """Register a task; with `alone` it must not share a name. Raises Refused."""
        for other, item in self.registered:
            names = _names(task) & _names(item)
            if names and other.key == source.key:
                raise Refused(f"It registers two tasks of the name {min(names)!r}.")
            if names := names - self._preferred.keys() if alone else set():
                name = min(names)
                raise Refused(f"Its task {task.name!r} claims the name {name!r}, which belongs to {other.key!r}.")
        self.registered.append((source, task))
        self._resolve()

    def remove(self, source: Source) -> None:
        """Forget the tasks of a plugin; their names go to the other claimants."""
        self.registered = [pair for pair in self.registered if pair[0].key != source.key]
        self._resolve()

    def prefer(self, plugin: str, name: str) -> None:
        """Decide who has a name; the file is replaced in one step. Raises UnknownNameError."""
        claimants = [source for source, task in self.registered if name in _names(task)]
        if not claimants:
            raise UnknownNameError("task", name, self.tasks)
        title, colon, entry = plugin.partition(":")
        plugin = canonical(title) + colon + entry
        if sum(plugin in (source.key, source.distribution) for source in claimants) != 1:
            raise UnknownNameError(f"plugin with a task {name!r}", plugin, [source.key for source in claimants])
        self._preferred[name] = plugin
        self._file.parent.mkdir(parents=True, exist_ok=True)
        staging = self._file.with_name(f".{self._file.name}-{os.getpid()}")
        staging.write_text(json.dumps({"prefer": self._preferred}, indent=2) + "\n", encoding="utf-8")
        staging.replace(self._file)
        self._resolve()

    def _resolve(self) -> None:
        claims: dict[str, list[tuple[Source, AnyTask]]] = {}
        for pair in self.registered:
            for name in (pair[1].name, *pair[1].aliases):
                claims.setdefault(name, []).append(pair)
        self.conflicts = []
        winners: dict[str, AnyTask] = {}
        for name, claimants in claims.items():
            wish = self._preferred.get(name, "")
            preferred = [pair for pair in claimants if wish in (pair[0].key, pair[0].distribution)]
            built_in = [pair for pair in claimants if pair[0].comes_with_nlptasks]
            chosen = claimants if len(claimants) == 1 else preferred or built_in
            if len(chosen) == 1:
                winners[name] = chosen[0][1]
            if len(claimants) > 1:
                keys = tuple(source.key for source, _ in claimants)
                owner = chosen[0][0].key if len(chosen) == 1 else None
                self.conflicts.append(NameConflict(name, keys, owner, preferred=bool(owner and preferred)))
        self.tasks = {name: task for name, task in winners.items() if name == task.name}
        self.aliases = {name: task.name for name, task in winners.items() if self.tasks.get(task.name) is task}


def _names(task: AnyTask) -> set[str]:
    return {task.name, *task.aliases}


def canonical(distribution: str) -> str:
    """The name of a distribution as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def load(entry: EntryPoint) -> object:
    """Import what the entry point names; a dead entry point is distinguished from a missing dependency."""
    match = EntryPoint.pattern.match(entry.value)
    if match is None:
        raise Refused(f"Its entry point is {entry.value!r}, expected MODULE or MODULE:OBJECT.")
    module_name = match.group("module")
    plugin: object
    try:
        plugin = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise Refused(f"Its entry point names the module {module_name!r}, which does not exist.") from error
        raise
    for attribute in filter(None, (match.group("attr") or "").split(".")):
        if not hasattr(plugin, attribute):
            raise Refused(f"Its entry point names {entry.value!r}, but there is no {attribute!r} in {module_name!r}.")
        plugin = getattr(plugin, attribute)
    if plugin is None:
        raise Refused(f"Its entry point {entry.value!r} names None.")
    return plugin


def installed_entry_points(fail: Callable[[Source, Exception, str], None]) -> Iterator[EntryPoint]:
    """Every entry point of our group, distribution by distribution.

    `importlib.metadata.entry_points` would stop at the first unreadable file of any distribution. The first
    distribution of a name wins, as it does for imports; an editable install in its own folder is listed twice.
    """
    winners: dict[tuple[str, str], Distribution] = {}
    for distribution in importlib.metadata.distributions():
        try:
            entries = [entry for entry in distribution.entry_points if entry.group == GROUP]
        except Exception as error:
            if _mentions_group(distribution, error):
                fail(_describe(distribution, "entry_points.txt"), error, "while its entry_points.txt was read")
            continue
        for entry in entries:
            key = (_describe(distribution, entry.name).distribution or str(id(distribution)), entry.name)
            if winners.setdefault(key, distribution) is distribution:
                yield entry


def _mentions_group(distribution: Distribution, error: Exception) -> bool:
    """Whether unreadable entry points are ours to report."""
    if isinstance(error, UnicodeDecodeError):
        return f"[{GROUP}]".encode() in error.object
    try:
        return f"[{GROUP}]" in (distribution.read_text("entry_points.txt") or "")
    except Exception:
        return False


def source_of(entry: EntryPoint) -> Source:
    """The distribution that the entry point came from, where known."""
    return _describe(getattr(entry, "dist", None), entry.name)


def _describe(distribution: Distribution | None, name: str) -> Source:
    """Name and version, as far as the metadata can be read."""
    if distribution is None:
        return Source(name)
    try:
        metadata = distribution.metadata
        title, version = metadata["Name"], metadata["Version"]
    except Exception:
        return Source(name)
    if not title:
        return Source(name)
    return Source(name, canonical(title), version)


def reason_of(error: BaseException, doing: str) -> str:
    """One sentence for `nlptasks plugins`."""
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, SystemExit):
        return f"It called sys.exit({'' if error.code is None else repr(error.code)}) {doing}."
    if isinstance(error, SyntaxError):
        return f"It has a syntax error: {PurePath(error.filename or '?').name}, line {error.lineno}: {error.msg}."
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"It needs the module {error.name!r}, which is not installed."
    line = next(iter(str(error).strip().splitlines()), "").rstrip(".")
    return f"{type(error).__name__} {doing}{': ' if line else ''}{line[:300]}."


def implemented_hooks(plugin: object, manager: pluggy.PluginManager) -> tuple[str, ...]:
    """The names of the hooks that a plugin implements.

    Checked before pluggy sees the plugin: it keeps a caller for every misspelled hook, even after
    `unregister`, and its `check_pending` then blames whichever plugin comes next.

    Raises:
        Refused: a hook is unknown, unmarked or takes an unknown argument, or there is none.
    """
    hooks = []
    for attribute in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, attribute)
        if options is None:
            if attribute in _SPECS and callable(getattr(plugin, attribute)):
                raise Refused(f"Its {attribute} is not marked as a hook; put @nlptasks.hookimpl above it.")
            continue
        hook = options.get("specname") or attribute
        if hook in _SPECS:
            _check_arguments(hook, getattr(plugin, attribute))
            hooks.append(hook)
        elif not options.get("optionalhook"):
            near = difflib.get_close_matches(hook, _SPECS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_SPECS)}."
            raise Refused(f"It implements {hook}, which is no hook of nlptasks: {hint}")
    if not hooks:
        raise Refused("It implements no hook: mark a function register_tasks with @nlptasks.hookimpl.")
    return tuple(hooks)


def _check_arguments(hook: str, function: Callable[..., Any]) -> None:
    """A hook may leave arguments out, but every one it takes must exist."""
    known = _SPECS[hook].parameters
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in known and parameter.default is inspect.Parameter.empty:
            raise Refused(f"Its {hook} takes an argument {name!r}; the hook has only {', '.join(known)!r}.")


def counted(subject: tuple[str, str], predicate: str, names: list[str]) -> str:
    """How many there are and the first three, or "" for none."""
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{len(names)} {subject[len(names) > 1]} {predicate} ({listed})" if names else ""
