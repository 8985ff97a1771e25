"""Faults in what a plugin registers: a task's types, labels, names and files; and what is taken already."""

from __future__ import annotations

import difflib
import inspect
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

from nlptasks.backends import BUILT_IN
from nlptasks.discovery import Refused, Source
from nlptasks.errors import AdapterError, NlptasksError
from nlptasks.model import Head
from nlptasks.results import Result
from nlptasks.store.catalog import CATALOG, OLD_NAMES
from nlptasks.task import AnyTask, Task, TaskInput, TaskOptions

if TYPE_CHECKING:
    from nlptasks.store.adapters import AdapterFolder

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_ADDRESS = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_TAG = re.compile(r"[BI]-.+|O")
_NEAR = 0.82
"""Similarity from which a name counts as misspelled: lables and labels have 0.83, labels_de and labels 0.80."""

View = Callable[[Any, Any], str]
"""A result and its input as HTML."""

ViewOf = type[Result] | str
"""What a view is for: a type of results, or a task by its name."""


def check_task_class(task: object) -> list[str]:
    """Faults in the definition of a task, as sentences; empty when it may be registered."""
    if isinstance(task, type):
        kind = f"the class {task.__name__}; register an instance, {task.__name__}()"
        return [f"expected an instance of nlptasks.Task, found {kind}"]
    if not isinstance(task, Task):
        return [f"expected an instance of nlptasks.Task, found {task!r}"]
    problems = []
    name = getattr(task, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problems.append(f"expected a task name of lower-case words joined by - or _, found {name!r}")
    return [*problems, *_misspelled(type(task)), *_types(task), *_heads(task), *_labels(task), *_files(task)]


def check_task(
    task: AnyTask, source: Source, registered: Iterable[tuple[Source, AnyTask]], heads: Mapping[str, Head]
) -> None:
    """Refuse an unusable task, and one whose bases or heads hide some that are `registered`."""
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
    """Refuse what is no view for results of the plugin that `hook` is of, or for one of its `tasks`."""
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
    """Refuse a backend without a function, and a name that is taken."""
    if not isinstance(name, str) or not name or not callable(make):
        raise Refused(f"register_backends: expected a name and a function, found {name!r}, {make!r}.")
    if name in BUILT_IN or name in taken:
        raise Refused(f"Its backend {name!r} already exists; give it another name.")


def check_commands(names: Iterable[str], taken: Collection[str]) -> None:
    """Refuse commands whose names are taken."""
    for name in names:
        if name in taken:
            raise Refused(f"Its command {name!r} already exists; give it another name.")


def check_address(name: str, taken: Collection[str]) -> None:
    """Refuse a plugin's name that cannot be the first part of its routes' addresses."""
    if not _ADDRESS.fullmatch(name):
        raise Refused(f"Its routes would be at /{name}: expected letters, digits, '.', '-' and '_'; rename the plugin.")
    if name in taken:
        raise Refused(f"Its routes would be at /{name}, which is taken; give the plugin another name.")


def unknown_base(task: AnyTask, shipped: Collection[str]) -> str:
    """Why the base of a task cannot exist, or ""; `shipped` are the names of the plugins' bases."""
    for name in filter(None, (task.untrained_base, task.recipe.base)):
        known = (*CATALOG, *OLD_NAMES, *task.bases, *shipped)
        if name not in known and not {"/", ":", os.sep} & set(name) and not Path(name).is_dir():
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "expected a catalog name, a Hub id ORG/NAME or a folder."
            return f"names the base {name!r}, which does not exist: {hint}"
    return ""


def open_shipped(task: AnyTask, who: str) -> AdapterFolder | None:
    """The adapter that a task declares, None if it declares none; `who` names the task and its plugin.

    Raises:
        AdapterError: it is not there, is not whole, or has other labels than the task.
    """
    from nlptasks.store.adapters import open_adapter

    if task.adapter is None:
        return None
    if not task.adapter.is_dir():
        raise AdapterError(
            f"{who} declares an adapter that is not there: {task.adapter}. Reinstall its package; if it is yours, add "
            "the folder to its package-data, or declare it after training. The adapter 'none' runs the bare base."
        )
    try:
        shipped = open_adapter(task.adapter)
    except AdapterError as error:
        what = str(error).removesuffix(".")
        raise AdapterError(f"{who} ships an adapter that cannot be used: {what}. Reinstall its package.") from error
    labels = getattr(task, "tags", lambda: getattr(task, "labels", ()))()
    trained = (shipped.manifest and shipped.manifest.labels) or ()
    if labels and trained and {label.lower() for label in labels} != {label.lower() for label in trained}:
        raise AdapterError(
            f"{who} ships an adapter with other labels: expected {', '.join(labels)}, "
            f"found {', '.join(trained)}. Ship an adapter that was trained for these labels, or change the task's."
        )
    return shipped


def resolve_task(task: object, registered: Iterable[AnyTask] = ()) -> AnyTask:
    """An instance is returned as it is; for a class, the registered instance of exactly this class, or a new one.

    Raises:
        NlptasksError: it is not a usable task.
    """
    # A registered one was checked, which takes longer than a text.
    for item in registered:
        if task is item or task is type(item):
            return item
    if isinstance(task, type) and issubclass(task, Task):
        kind = task
        try:
            task = kind()
        except TypeError as error:
            what = f"{kind.__name__} cannot be made without arguments ({error}): pass an instance of it."
            raise NlptasksError(what) from error
    if not isinstance(task, Task):
        raise NlptasksError(f"Expected a task's name, or a subclass or an instance of nlptasks.Task, found {task!r}.")
    if problems := check_task_class(task):
        raise NlptasksError(f"The task {type(task).__name__} is not usable: {'; '.join(problems)}.")
    return task


def _misspelled(kind: type[Any]) -> Iterator[str]:
    """Attributes of the author's classes that look like one of nlptasks which they do not set."""
    core = [cls for cls in kind.__mro__ if cls.__module__.partition(".")[0] == "nlptasks"]
    known = {name: value for cls in core for name, value in {**inspect.get_annotations(cls), **vars(cls)}.items()}
    values = {name: value for cls in kind.__mro__ if cls not in core for name, value in vars(cls).items()}
    expected = [name for name, value in known.items() if name not in values and _is_setting(name, value)]
    for name, value in values.items():
        near = difflib.get_close_matches(name, expected, n=1, cutoff=_NEAR)
        if near and name not in known and _is_setting(name, value):
            yield f"its attribute {name!r} is not known; did you mean {near[0]!r}?"


def _is_setting(name: str, value: Any) -> bool:
    """Whether a class attribute is neither private nor a method or property."""
    return not name.startswith("_") and (isinstance(value, type) or not hasattr(value, "__get__"))


def _types(task: AnyTask) -> Iterator[str]:
    for attribute, parent in (("input_type", TaskInput), ("options_type", TaskOptions), ("result_type", Result)):
        value = getattr(task, attribute)
        if get_origin(value) is not None or not (isinstance(value, type) and issubclass(value, parent)):
            yield f"expected {attribute} to be a subclass of {parent.__name__}, found {value!r}"
    if task.result_type is Result:
        yield "expected a result_type with a field for the answer, found Result itself"
    if isinstance(task.options_type, type) and issubclass(task.options_type, TaskOptions):
        required = [n for n, f in task.options_type.model_fields.items() if f.is_required()]
        if required:
            yield f"expected a default for every option, found none for {', '.join(required)}"
    for attribute in ("aliases", "examples", "phrases"):
        value = getattr(task, attribute)
        if isinstance(value, str) or not isinstance(value, Sequence):
            yield f"expected {attribute} to be a tuple, found {value!r}; a tuple of one ends in a comma"
    if not all(isinstance(alias, str) and alias for alias in task.aliases):
        yield f"expected a tuple of names as aliases, found {task.aliases!r}"


def _heads(task: AnyTask) -> Iterator[str]:
    if task.head is not None and not isinstance(task.head, Head):
        yield f"expected head to be a Head or None, found {task.head!r}"
        return
    others: Any = task.other_heads
    if not isinstance(others, tuple | list) or not all(isinstance(head, Head) for head in others):
        yield f"expected other_heads to be a tuple of Head, found {others!r}"
        return
    for head in task.heads:
        if head.per == "prompt" or (head.has_layers and bool(head.model) == bool(head.make)):
            yield f"expected a head with either a model of transformers or make, found {head!r}"
    if not isinstance(task.trainer, str) or task.trainer.count(":") != bool(task.trainer):
        yield f"expected trainer as 'package.module:Class', found {task.trainer!r}"


def _labels(task: AnyTask) -> Iterator[str]:
    """Faults of the labels, for a task or a family that has some."""
    labels: Any = getattr(task, "labels", None)
    if labels is None:
        return
    if not isinstance(labels, tuple | list) or not all(isinstance(label, str) and label.strip() for label in labels):
        yield f"expected labels to be a tuple of names, found {labels!r}"
        return
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        yield f"expected every label once, found {', '.join(map(repr, twice))} several times"
    verb = task.verb if isinstance(task.head, Head) else ""
    least = 2 if verb == "classify" and not getattr(task, "multi_label", False) else 1
    if verb in ("classify", "tag") and len(labels) < least and not task.open_labels:
        listed = ", ".join(map(repr, labels)) or "none"
        yield f"expected {'two labels or more' if least == 2 else 'one label or more'}, found {listed}"
    if verb == "tag" and (tags := [label for label in labels if _TAG.fullmatch(label)]):
        yield f"expected entity types without B- and I- and without O, found {', '.join(map(repr, tags))}"


def _files(task: AnyTask) -> Iterator[str]:
    """Whether folders are paths. Whether they are there is known when they are needed: training needs no adapter."""
    if task.adapter is not None and not isinstance(task.adapter, Path):
        yield f"expected adapter to be the pathlib.Path of a folder, found {task.adapter!r}"
    bases: Any = task.bases
    if not isinstance(bases, Mapping) or not all(isinstance(folder, Path) for folder in bases.values()):
        yield f"expected bases to map names to the pathlib.Path of a folder, found {bases!r}"
        return
    if hidden := bases.keys() & CATALOG.keys():
        yield f"ships a base {min(hidden)!r}, a name of the catalog; give it another name"
