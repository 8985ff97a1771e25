"""A call, read before anything is loaded: its inputs and options in their types, or every fault at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nlptasks.data.frames import task_inputs
from nlptasks.errors import InvalidInputError
from nlptasks.results import Message
from nlptasks.task import AnyTask, TaskInput


class SequenceNotStr(Protocol):
    """A list, a tuple and the like; a `str` or a mapping, whose `in` and `[]` take other things, is none."""

    def __contains__(self, value: object, /) -> bool: ...
    def __getitem__(self, index: int, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...


OneInput = str | Mapping[str, Any] | TaskInput | None
"""None where the input's fields are given by name."""
ManyInputs = SequenceNotStr | Iterator[Any]
OneOrMany = tuple[Any, ...] | Sequence[Message] | Sequence[Mapping[str, Any]]
"""What is one input or many, as the task has it, where its input type is a `SequenceInput`."""


@dataclass(frozen=True)
class Request:
    """A call after validation; `single` says that one result is wanted, not a list."""

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
    own = {
        name: value for name, value in fields.items() if name in known.keys() - task.options_type.model_fields.keys()
    }
    if inputs is None and not own:
        raise InvalidInputError(f"{task.name} needs an input", [f"expected {', '.join(known)}, found nothing."])
    value: Any = task_inputs(task, inputs, own)
    if own:
        value = own if inputs is None else _with_fields(task, value, own)
    single = task.is_one(value)
    if not single and not isinstance(value, Iterable):
        raise InvalidInputError(
            f"{task.name} cannot read this input",
            [f"expected a text, a mapping, {task.input_type.__name__} or a list of them, found {value!r}."],
        )
    problems: list[str] = []
    options = _collect(problems, lambda: task.validate_options({k: v for k, v in fields.items() if k not in own}))
    valid = _collect(problems, lambda: task.validate([value] if single else list(value)))
    if problems:
        raise InvalidInputError(f"{task.name} cannot run this", problems)
    return Request(task, valid or [], options, single)


def _with_fields(task: AnyTask, inputs: Any, own: Mapping[str, Any]) -> Any:
    """One input, or each of several, with fields that were given by name: many questions share one context.

    Raises:
        InvalidInputError: a field was given both ways.
    """
    if not task.is_one(inputs):
        return [_with_fields(task, item, own) for item in inputs] if isinstance(inputs, Iterable) else inputs
    fields = {next(iter(task.input_type.model_fields)): inputs} if isinstance(inputs, str) else task.as_fields(inputs)
    if isinstance(fields, TaskInput):
        fields = {name: getattr(fields, name) for name in fields.model_fields_set}
    twice = own.keys() & fields.keys()
    if twice:
        raise InvalidInputError(
            f"{task.name} got its input twice", [f"once in place and once as {', '.join(sorted(twice))}."]
        )
    return {**fields, **own}


def _collect(problems: list[str], check: Callable[[], Any]) -> Any:
    """Run a check and gather what it finds, so that all faults are reported at once."""
    try:
        return check()
    except InvalidInputError as error:
        problems += error.problems
        return None
