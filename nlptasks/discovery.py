"""Discovery of plugins: entry points read with care, the hooks of a plugin, and failures as one sentence."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint
from pathlib import PurePath
from typing import Any

import pluggy

from nlptasks import hookspecs

GROUP = "nlptasks"

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
    def order(self) -> tuple[str, str]:
        return (self.distribution or "", self.name)


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
    return Source(name, re.sub(r"[-_.]+", "-", title).lower(), version)


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
