"""Validation of a call before anything is loaded: typed inputs and options, or every fault at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nlptasks.data.frames import task_inputs
from nlptasks.errors import InvalidInputError
from nlptasks.results import Message
from nlptasks.task import AnyTask, TaskInput


class SequenceNotStr(Protocol):
    """A list, a tuple and the like, but no `str` or mapping, whose `in` and `[]` take other types."""

    def __contains__(self, value: object, /) -> bool: ...
    def __getitem__(self, index: int, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...


OneInput = str | Mapping[str, Any] | TaskInput | None
"""None where the input's fields are given by name."""
ManyInputs = SequenceNotStr | Iterator[Any]
OneOrMany = tuple[Any, ...] | Sequence[Message] | Sequence[Mapping[str, Any]]
"""One input or many: only a task whose input type is a `SequenceInput` can tell."""


@dataclass(frozen=True)
class Request:
    """A call after validation; `single` is whether it has one result, not a list."""

    task: AnyTask
    inputs: list[Any]
    options: Any
    single: bool


def read_request(task: AnyTask, inputs: Any, fields: Mapping[str, Any]) -> Request:
    """Read a call's inputs and its named values: fields of the input, and options.

    Raises:
        InvalidInputError: every fault of every input and option.
    """
    known = task.input_type.model_fields
    shared = {
        name: value for name, value in fields.items() if name in known.keys() - task.options_type.model_fields.keys()
    }
    if inputs is None and not shared:
        raise InvalidInputError(f"{task.name} needs an input", [f"expected {', '.join(known)}, found nothing."])
    value: Any = task_inputs(task, inputs, shared)
    if shared:
        value = shared if inputs is None else _with_fields(task, value, shared)
    single = task.is_one(value)
    if not single and not isinstance(value, Iterable):
        raise InvalidInputError(
            f"{task.name} cannot read this input",
            [f"expected a text, a mapping, {task.input_type.__name__} or a list of them, found {value!r}."],
        )
    problems: list[str] = []
    options = _collect(problems, lambda: task.validate_options({k: v for k, v in fields.items() if k not in shared}))
    valid = _collect(problems, lambda: task.validate([value] if single else list(value)))
    if problems:
        raise InvalidInputError(f"{task.name} cannot run this", problems)
    return Request(task, valid or [], options, single)


def _with_fields(task: AnyTask, inputs: Any, shared: Mapping[str, Any]) -> Any:
    """One input, or each of several, with the fields that all share: many questions on one context.

    Raises:
        InvalidInputError: a field has two values.
    """
    if not task.is_one(inputs):
        return [_with_fields(task, item, shared) for item in inputs] if isinstance(inputs, Iterable) else inputs
    fields = {next(iter(task.input_type.model_fields)): inputs} if isinstance(inputs, str) else task.as_fields(inputs)
    if isinstance(fields, TaskInput):
        fields = {name: getattr(fields, name) for name in fields.model_fields_set}
    twice = shared.keys() & fields.keys()
    if twice:
        raise InvalidInputError(
            f"{task.name} got its input twice", [f"once in place and once as {', '.join(sorted(twice))}."]
        )
    return {**fields, **shared}


def _collect(problems: list[str], check: Callable[[], Any]) -> Any:
    """The result of a check, or None after adding its faults to `problems`, to report all faults at once."""
    try:
        return check()
    except InvalidInputError as error:
        problems += error.problems
        return None
