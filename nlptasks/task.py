"""Task: a typed input, typed options, a typed result, and how to get from one to the other.

Recipe: the typed settings that train a task's adapter.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nlptasks.errors import InvalidInputError, NlptasksError
from nlptasks.model import Head, Model
from nlptasks.results import Result

Overflow = Literal["window", "truncate", "error"]

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")


class TaskInput(BaseModel):
    """What a task reads. Fields give the form, the HTTP body and the CLI's JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskOptions(BaseModel):
    """What a caller may tune; every field has a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TextInput(TaskInput):
    """One text."""

    text: str = Field(min_length=1, pattern=r"\S", description="The text to read.")


class SequenceInput(TaskInput):
    """An input that a list or a tuple may stand for: a question with its context, the turns of a chat.

    Type checkers cannot tell whether such a list is one input or many, so the result of a call with it is Any.
    """


I = TypeVar("I", bound=TaskInput)  # noqa: E741 - Input, Options, Result
O = TypeVar("O", bound=TaskOptions)  # noqa: E741
R = TypeVar("R", bound=Result)
S = TypeVar("S", bound=SequenceInput)


@dataclass(frozen=True)
class Recipe:
    """How to train a task's adapter. Field names follow PEFT and transformers' TrainingArguments.

    `base` is a catalog name, a Hub id or a folder. `start` is the adapter whose weights training goes on from (a name,
    a folder, a Hub id, or "shipped" for the task's own); without it they are fresh. `targets` is "all-linear" or the
    names of the linear layers to adapt. `load_in_4bit` keeps the base in 4 bits while the adapter learns (QLoRA, a
    CUDA GPU only). `lr` is the peak of a linear schedule with `warmup` (a share of all steps). `dropout` stands before
    the LoRA factors, `base_dropout` inside the base, whose own it is when None.
    `average` is the decay of an exponential moving average of the trained weights (0: off).
    """

    base: str = "minilm"
    start: str | None = None
    method: Literal["lora", "full"] = "lora"
    r: int = 16
    alpha: int = 32
    dropout: float = 0.05
    base_dropout: float | None = None
    targets: str | tuple[str, ...] = "all-linear"
    use_rslora: bool = False
    use_dora: bool = False
    load_in_4bit: bool = False
    lr: float = 5e-4
    epochs: float = 3.0
    batch_size: int = 32
    accumulate: int = 1
    warmup: float = 0.06
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    max_length: int = 128
    average: float = 0.0
    patience: int = 0
    evals_per_epoch: int = 1
    metric: str = "accuracy"
    seed: int = 13
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    extra: Mapping[str, Any] = field(default_factory=dict)
    """A family's own settings."""


class Task(ABC, Generic[I, O, R]):
    """Base of all tasks; a plugin normally subclasses a family instead (`TextClassification`, ...).

    The class docstring's first line is the task's summary. `base` names the model that answers when the
    caller names none and no adapter stands in `adapter`, a folder that ships with the plugin.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    family: ClassVar[str] = "custom"
    input_type: ClassVar[type[TaskInput]] = TextInput
    options_type: ClassVar[type[TaskOptions]] = TaskOptions
    result_type: ClassVar[type[Result]] = Result
    recipe: ClassVar[Recipe] = Recipe()
    adapter: ClassVar[Path | None] = None
    examples: ClassVar[Sequence[str | Mapping[str, Any]]] = ()
    phrases: ClassVar[Sequence[str]] = ()
    """Ways to ask for the task in plain words, without the text: a chat compares what is said with them."""
    head: ClassVar[Head | None] = None
    """The trained head that answers, or None if any model will do; one of nlptasks or the family's own."""
    trainer: ClassVar[str] = ""
    """Who trains the family, imported for training only: "package.module:Class" of a `training.FamilyTrainer`."""
    untrained_base: ClassVar[str | None] = None
    """The base that answers without an adapter, when it is another than the recipe's."""
    bases: ClassVar[Mapping[str, Path]] = MappingProxyType({})
    """Folders of base models that ship with the plugin, by the names they are called by."""
    hub_base: ClassVar[str | None] = None
    """The Hub checkpoint that answers in the profile `hub`: the best small public one."""
    hub_first: ClassVar[bool] = False
    """Whether the profile `auto` prefers `hub_base` where it can be had."""

    @property
    def verb(self) -> str:
        """The verb of the head that the task needs, or "" if any model will do."""
        return self.head.verb if self.head else ""

    @property
    def summary(self) -> str:
        return next(iter((type(self).__doc__ or "").strip().splitlines()), "")

    def hub_model(self, inputs: I) -> str | None:
        """The Hub checkpoint for an input, where it depends on what is asked; None if there is none."""
        return self.hub_base

    @abstractmethod
    def run(self, inputs: Sequence[I], options: O, model: Model) -> list[R]:
        """Answer all inputs, in order, with as few calls to the model as possible."""

    def validate(self, inputs: Sequence[Any]) -> list[I]:
        """Turn texts, mappings and instances into the input type.

        Raises:
            InvalidInputError: naming every fault of every input at once.
        """
        valid: list[I] = []
        problems: list[str] = []
        for index, value in enumerate(inputs):
            place = f"input {index}" if len(inputs) > 1 else "input"
            if isinstance(value, bytes | bytearray | memoryview):
                kind = type(value).__name__
                problems.append(f'{place}: expected a text, found {kind}; decode it, as in value.decode("utf-8").')
                continue
            try:
                valid.append(cast(I, self.input_type.model_validate(self.as_fields(value))))
            except ValidationError as error:
                problems += describe_validation(error, self.input_type, place)
        if problems:
            raise InvalidInputError(f"{self.name} cannot read this input", problems)
        return valid

    def validate_options(self, options: Mapping[str, Any]) -> O:
        """Check the caller's options; raises InvalidInputError naming every fault."""
        try:
            return cast(O, self.options_type.model_validate(dict(options)))
        except ValidationError as error:
            problems = describe_validation(error, self.options_type, "option")
            raise InvalidInputError(f"{self.name} does not take these options", problems) from None

    def is_one(self, value: Any) -> bool:
        """Whether a value is one input, not a list of them."""
        return isinstance(value, str | Mapping | TaskInput)

    def as_fields(self, value: Any) -> Any:
        """What the input type validates; a bare string stands for its first field."""
        if isinstance(value, self.input_type):
            return value
        if isinstance(value, str):
            return {next(iter(self.input_type.model_fields)): value}
        return value


AnyTask = Task[Any, Any, Any]

TaskOf = Task[Any, Any, R] | type[Task[Any, Any, R]]
"""What may stand for a task's name in a call, and gives it a typed result."""

SequenceTask = Task[S, Any, Any] | type[Task[S, Any, Any]]
"""The same for tasks that may read a list as one input."""


def describe_validation(error: ValidationError, model: type[BaseModel], place: str) -> list[str]:
    """One line a fault: where, what was expected, what was found, and the near miss of a misspelled field."""
    import difflib

    lines = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(where, model.model_fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(model.model_fields) or 'none'}."
            lines.append(f"{place} {where!r} is not known; {hint}")
            continue
        if fault["type"] in {"string_too_short", "string_pattern_mismatch"}:
            message = "expected a text with at least one visible character"
        else:
            message = fault["msg"][0].lower() + fault["msg"][1:]
        found = repr(fault["input"])
        lines.append(f"{place} {where!r}: {message}, found {found if len(found) <= 60 else found[:57] + '...'}.")
    return lines


def check_task_class(task: object) -> list[str]:
    """Faults in a task's own definition, as sentences; empty when it may be registered."""
    if not isinstance(task, Task):
        kind = (
            f"the class {task.__name__}; register an instance, {task.__name__}()"
            if isinstance(task, type)
            else repr(task)
        )
        return [f"expected an instance of nlptasks.Task, found {kind}"]
    problems = []
    name = getattr(task, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problems.append(f"expected a task name of lower-case words joined by - or _, found {name!r}")
    for attribute, parent in (("input_type", TaskInput), ("options_type", TaskOptions), ("result_type", Result)):
        value = getattr(task, attribute)
        if get_origin(value) is not None or not (isinstance(value, type) and issubclass(value, parent)):
            problems.append(f"expected {attribute} to be a subclass of {parent.__name__}, found {value!r}")
    if task.head is not None and not isinstance(task.head, Head):
        problems.append(f"expected head to be a Head or None, found {task.head!r}")
    elif task.head and (task.head.per == "prompt" or bool(task.head.model) == bool(task.head.make)):
        problems.append(f"expected a head with either a model of transformers or make, found {task.head!r}")
    if not isinstance(task.trainer, str) or task.trainer.count(":") != bool(task.trainer):
        problems.append(f"expected trainer as 'package.module:Class', found {task.trainer!r}")
    if isinstance(task.options_type, type) and issubclass(task.options_type, TaskOptions):
        required = [n for n, f in task.options_type.model_fields.items() if f.is_required()]
        if required:
            problems.append(f"expected a default for every option, found none for {', '.join(required)}")
    return problems


def resolve_task(task: object, registered: Iterable[AnyTask] = ()) -> AnyTask:
    """An instance as it is; of a class the registered instance of exactly this class, or else a new one.

    Raises:
        NlptasksError: it is no task, or none that can be made or run.
    """
    if isinstance(task, type) and issubclass(task, Task):
        kind = task
        try:
            task = next((item for item in registered if type(item) is kind), None) or kind()
        except TypeError as error:
            what = f"{kind.__name__} cannot be made without arguments ({error}): pass an instance of it."
            raise NlptasksError(what) from error
    if not isinstance(task, Task):
        raise NlptasksError(f"Expected a task's name, or a subclass or an instance of nlptasks.Task, found {task!r}.")
    if problems := check_task_class(task):
        raise NlptasksError(f"The task {type(task).__name__} is not usable: {'; '.join(problems)}.")
    return task
