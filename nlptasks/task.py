"""Task: a typed input, typed options, a typed result, and the code between them.

Recipe: the typed settings that train a task's adapter.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from nlptasks.errors import InvalidInputError, clip
from nlptasks.model import Head, Model
from nlptasks.results import Result

Overflow = Literal["window", "truncate", "error"]


CHECKED = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_min_length=0)
"""With any bound for texts, pydantic reads them as Unicode, which half a surrogate pair is not."""


class TaskInput(BaseModel):
    """Base of task inputs. Its fields define the form, the HTTP body and the CLI's JSON."""

    model_config = CHECKED


class TaskOptions(BaseModel):
    """Base of task options; every field has a default."""

    model_config = CHECKED


class TextInput(TaskInput):
    """One text."""

    text: str = Field(min_length=1, pattern=r"\S", description="The text to read.")


class SequenceInput(TaskInput):
    """An input that may be written as a list or tuple: a question with its context, the messages of a chat.

    Type checkers cannot tell whether such a list is one input or many: the result of a call with it is Any.
    """


I = TypeVar("I", bound=TaskInput)  # noqa: E741 - Input, Options, Result
O = TypeVar("O", bound=TaskOptions)  # noqa: E741
R = TypeVar("R", bound=Result)
S = TypeVar("S", bound=SequenceInput)


RENAMED_SETTINGS = MappingProxyType(
    {
        "start": "init_from",
        "alpha": "lora_alpha",
        "dropout": "lora_dropout",
        "targets": "target_modules",
        "lr": "learning_rate",
        "epochs": "num_train_epochs",
        "batch_size": "per_device_train_batch_size",
        "accumulate": "gradient_accumulation_steps",
        "warmup": "warmup_ratio",
        "label_smoothing": "label_smoothing_factor",
        "average": "ema_decay",
        "patience": "early_stopping_patience",
        "metric": "metric_for_best_model",
    }
)
"""Recipe settings of version 0.1 and their names since; the old ones are read in this version only."""

REMOVED_SETTINGS = MappingProxyType(
    {
        "probe_lr": "train with a third of learning_rate and three times learning_rate as well, and compare the losses",
        "extra.bidirectional": "train on an encoder, which reads in both directions",
    }
)
"""Recipe settings of version 0.1 that are gone, and what to do instead."""


def current_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Recipe settings under the names of this version, and a sentence for each old name."""
    current = {name: value for name, value in settings.items() if name not in {*RENAMED_SETTINGS, *REMOVED_SETTINGS}}
    sentences = [
        f"The recipe setting {name} was removed and is ignored: {instead}."
        for name, instead in REMOVED_SETTINGS.items()
        if name in settings
    ]
    for name, new in RENAMED_SETTINGS.items():
        if name in settings:
            ignored = " and is ignored beside it" if new in settings else ""
            sentences.append(
                f"The recipe setting {name} is now {new}{ignored}; the next version no longer reads {name}."
            )
            current.setdefault(new, settings[name])
    return current, sentences


class Recipe(BaseModel):
    """How to train a task's adapter. Fields are called as in PEFT's LoraConfig and transformers' TrainingArguments.

    `init_from` is an adapter whose weights training starts from: a name, a folder, a Hub id, or "shipped" for the one
    that comes with the task; None starts from new weights. `target_modules` is "all-linear" or the names of the linear
    layers to adapt. `load_in_4bit` holds the base in 4 bits while the adapter learns (QLoRA, CUDA only). The learning
    rate rises to `learning_rate` over `warmup_ratio` of all steps and then falls linearly to 0. `lora_dropout` acts on
    the input of the LoRA layers, `base_dropout` inside the base; None leaves the base's setting. `ema_decay` is the
    decay of an exponential moving average of the trained weights, which is then what is evaluated and saved; 0 turns it
    off. With too few rows for `min_steps` optimizer steps, batches get smaller and epochs more, unless the caller sets
    them. `few_shot` fits a linear layer on the base's vectors instead of training a head by steps, after
    `contrastive_epochs` passes of LoRA that move the vectors of one label together. `extra` has settings of the task's
    family.

    Raises:
        ValidationError: naming every value that does not fit and every unknown name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    base: str = Field(default="minilm", min_length=1)
    init_from: str | None = Field(default=None, min_length=1)
    method: Literal["lora", "full"] = "lora"
    r: int = Field(default=16, ge=1)
    lora_alpha: int = Field(default=32, ge=1)
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    base_dropout: float | None = Field(default=None, ge=0, lt=1)
    target_modules: str | tuple[str, ...] = "all-linear"
    use_rslora: bool = False
    use_dora: bool = False
    load_in_4bit: bool = False
    learning_rate: float = Field(default=5e-4, gt=0)
    num_train_epochs: float = Field(default=3.0, gt=0)
    per_device_train_batch_size: int = Field(default=32, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    warmup_ratio: float = Field(default=0.06, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    label_smoothing_factor: float = Field(default=0.0, ge=0, lt=1)
    max_length: int = Field(default=128, ge=16)
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    early_stopping_patience: int = Field(default=0, ge=0)
    evals_per_epoch: int = Field(default=1, ge=1)
    min_steps: int = Field(default=200, ge=0)
    metric_for_best_model: str = Field(default="accuracy", min_length=1)
    few_shot: bool = False
    contrastive_epochs: float = Field(default=0.0, ge=0)
    seed: int = Field(default=13, ge=0, lt=2**32)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    extra: Mapping[str, Any] = Field(default_factory=dict)

    def replace(self, **changes: Any) -> Recipe:
        """A copy with some settings changed; raises ValidationError as the constructor does."""
        return Recipe.model_validate({**dict(self), **_with_current_names(changes, stacklevel=3)})

    @model_validator(mode="before")
    @classmethod
    def _read_old_names(cls, settings: Any) -> Any:
        return _with_current_names(settings, stacklevel=4) if isinstance(settings, Mapping) else settings

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        """Python counts True as 1; nobody means a batch of True rows."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise PydanticCustomError("boolean", "expected another value than true or false")
        return value

    @field_validator("target_modules", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else value
        if not (isinstance(names, list | tuple) and names and all(isinstance(n, str) and n.strip() for n in names)):
            raise PydanticCustomError("target_modules", 'expected "all-linear" or names of layers')
        stripped = tuple(name.strip() for name in names)
        return "all-linear" if stripped == ("all-linear",) else stripped


def _with_current_names(settings: Mapping[str, Any], stacklevel: int) -> dict[str, Any]:
    current, sentences = current_settings(settings)
    for sentence in sentences:
        warnings.warn(sentence, DeprecationWarning, stacklevel=stacklevel)
    return current


class Task(ABC, Generic[I, O, R]):
    """Base of all tasks; a plugin normally subclasses a family instead (`TextClassification`, ...).

    The first line of the class docstring is the task's summary. `adapter` is the folder of the adapter that ships
    with the plugin.
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
    example_options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Options that the examples are run with: the labels, where a caller names them."""
    phrases: ClassVar[Sequence[str]] = ()
    """Requests for the task in plain words, without the text: a chat recognises the task by them."""
    head: ClassVar[Head | None] = None
    """The trained head that the task needs, built in or the family's; None if any model will do."""
    other_heads: ClassVar[Sequence[Head]] = ()
    """Further heads whose adapters the task can use; training makes adapters with `head`."""
    open_labels: ClassVar[bool] = False
    """Whether the labels are not the task's: a caller names them, or the data of a training does."""
    trainer: ClassVar[str] = ""
    """The family's `training.FamilyTrainer` as "package.module:Class"; imported for training only."""
    untrained_base: ClassVar[str | None] = None
    """The base to use without an adapter, if it is not the recipe's."""
    bases: ClassVar[Mapping[str, Path]] = MappingProxyType({})
    """Folders of base models that ship with the plugin, by name."""
    hub_base: ClassVar[str | None] = None
    """The Hub checkpoint for the profile `hub`: the best small public one."""
    hub_first: ClassVar[bool] = False
    """Whether the profile `auto` prefers `hub_base` if it is available."""

    @property
    def heads(self) -> tuple[Head, ...]:
        """All heads whose adapters the task can use."""
        return (*([self.head] if self.head else []), *self.other_heads)

    @property
    def verb(self) -> str:
        """The verb of the head that the task needs, or "" if any model will do."""
        return self.head.verb if self.head else ""

    @property
    def summary(self) -> str:
        return next(iter((type(self).__doc__ or "").strip().splitlines()), "")

    def hub_model(self, inputs: I) -> str | None:
        """The Hub checkpoint for an input, None if there is none; override it if the input decides."""
        return self.hub_base

    @abstractmethod
    def run(self, inputs: Sequence[I], options: O, model: Model) -> list[R]:
        """Answer all inputs, in order, with as few calls to the model as possible."""

    def explain(self, inputs: Sequence[I], results: Sequence[R], options: O, model: Model) -> list[R]:
        """The results of `run` with what speaks for them; called if the options have a true field `explain`."""
        return list(results)

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
            # Callers name fields of the input beside the options, and write the first of them without its name.
            problems = describe_validation(error, self.options_type, "option", list(self.input_type.model_fields)[1:])
            raise InvalidInputError(f"{self.name} does not take these options", problems) from None

    def check_options(self, options: O, adapter: str | None, labels: tuple[str, ...] | None) -> None:
        """Refuse options that do not go with the adapter of that name, or None, and its head's labels.

        Called before a base is loaded, for tasks with `open_labels`.

        Raises:
            InvalidInputError: naming every fault.
        """

    def is_one(self, value: Any) -> bool:
        """Whether a value is one input, not a list of them."""
        return isinstance(value, str | Mapping | TaskInput)

    def as_fields(self, value: Any) -> Any:
        """A value as the input type validates it; a bare text is its first field."""
        if isinstance(value, self.input_type):
            return value
        if isinstance(value, str):
            return {next(iter(self.input_type.model_fields)): value}
        return value


AnyTask = Task[Any, Any, Any]

TaskOf = Task[Any, Any, R] | type[Task[Any, Any, R]]
"""A task or its class, in place of its name, for typed results."""

SequenceTask = Task[S, Any, Any] | type[Task[S, Any, Any]]
"""The same for a task that may read a list as one input."""


def describe_validation(
    error: ValidationError, model: type[BaseModel], place: str, others: Sequence[str] = ()
) -> list[str]:
    """One line per fault: where, what was expected, what was found, and the near miss of a misspelled field.

    `others` are further names that the caller may have meant.
    """
    import difflib

    lines = []
    faults = error.errors()
    for fault in faults:
        depth = len(fault["loc"])
        # Pydantic counts only what is valid: items with a fault of their own are not missing.
        if fault["type"] == "too_short" and any(f["loc"][:depth] == fault["loc"] != f["loc"] for f in faults):
            continue
        where = ".".join(str(part) for part in fault["loc"])
        if fault["type"] in {"extra_forbidden", "missing"}:
            fields, name = _fields_at(model, fault["loc"][:-1]), str(fault["loc"][-1])
            if fault["type"] == "missing":
                what = "text" if name in fields and fields[name].annotation is str else "value"
                # Pydantic's input is all that stands around the missing value.
                lines.append(f"{place} {where!r}: expected a {what}, found none.")
                continue
            known = [*dict.fromkeys([*fields, *(others if depth == 1 else ())])]
            # Two letters are in, or like, many names by chance: "to" and "stop".
            near = difflib.get_close_matches(name, known, n=1) if len(name) > 2 else []
            near = near or [one for one in known if name in (one if len(name) > 2 else one.split("_"))]
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}."
            lines.append(f"{place} {where!r} is not known; {hint}")
            continue
        if fault["type"] in {"string_too_short", "string_pattern_mismatch"}:
            visible = "" if place == "option" else "visible "
            message = f"expected a text with at least one {visible}character"
        elif fault["type"] == "string_unicode":
            message = "expected Unicode text, found half of a surrogate pair (text.encode('utf-8', 'replace') drops it)"
        else:
            message = _expected(fault)
        at = f"{place} {where!r}" if where else place
        # What a rule on several fields finds wrong is not one value.
        value = f", found {clip(repr(fault['input']))}" if where else ""
        lines.append(f"{at}: {message}{value}.")
    return lines


def _fields_at(model: type[BaseModel], loc: Sequence[int | str]) -> Mapping[str, FieldInfo]:
    """The fields of the model at a place within another: of a message in an input's list of them."""
    fields = model.model_fields
    for part in loc:
        inner = next(_models(fields[part].annotation), None) if isinstance(part, str) and part in fields else None
        fields = inner.model_fields if inner else fields
    return fields


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type."""
    parts = get_args(annotation)
    for part in parts:
        yield from _models(part)
    if not parts and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation


_LISTS = frozenset({"tuple_type", "list_type", "set_type", "frozen_set_type"})


def _expected(fault: Any) -> str:
    """What a fault of pydantic says was expected, in plain words."""
    if fault["type"] in _LISTS:
        return "expected a list"
    if fault["type"] in ("too_short", "too_long"):
        bound, word = fault["ctx"].get("min_length"), "at least"
        if fault["type"] == "too_long":
            bound, word = fault["ctx"]["max_length"], "at most"
        return f"expected {word} {bound} item{'' if bound == 1 else 's'}"
    text: str = fault["msg"].removeprefix("Value error, ")
    return text[0].lower() + text[1:]
