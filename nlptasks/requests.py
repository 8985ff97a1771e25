"""Both ends of a call: typed inputs and options or every fault at once, and typed results or the plugin's fault."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from nlptasks.data.frames import task_inputs
from nlptasks.errors import InvalidInputError, NlptasksError, PluginError, clip
from nlptasks.model import Model, Prompt, Stream, TextStream
from nlptasks.results import Message, Result
from nlptasks.task import AnyTask, R, TaskInput


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
            f"{task.name} got its input twice",
            [f"expected one {', '.join(sorted(twice))}, found one in the input and one beside it."],
        )
    return {**fields, **shared}


def _collect(problems: list[str], check: Callable[[], Any]) -> Any:
    """The result of a check, or None after adding its faults to `problems`, to report all faults at once."""
    try:
        return check()
    except InvalidInputError as error:
        problems += error.problems
        return None


_REPORT = "Report it to its author; NLPTASKS_STRICT=1 shows where."


@dataclass(frozen=True)
class _Part:
    """What a verb read at once: its texts, and what the model says about them."""

    texts: list[str]
    num_tokens: int
    truncated: bool


class ObservedModel:
    """A request's model, which notes what its verbs read. `error` is what the model itself raised last."""

    def __init__(self, model: Model) -> None:
        self.error: BaseException | None = None
        self._model: Any = model
        self._calls: list[list[_Part]] = []
        for verb in ("classify", "tag", "extract", "embed", "generate", "choose"):
            setattr(self, verb, self._observed(getattr(model, verb)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def apply(self, verb: str, items: Sequence[Any]) -> list[Any]:
        return self._observed(lambda items: self._model.apply(verb, items))(items)

    def stream(self, prompt: Prompt, *arguments: Any, **options: Any) -> TextStream:
        def pieces() -> Generator[str, None, Any]:
            completion = yield from stream
            self._note([prompt], [completion])
            return completion

        stream: TextStream = self._model.stream(prompt, *arguments, **options)
        return Stream(pieces(), stream._cancel)

    def readings(self, inputs: Sequence[BaseModel]) -> list[dict[str, Any]]:
        """Whether each input was cut, its tokens and its windows, after all calls.

        A call's items belong to the inputs by their number and order, or by the texts that they share. Where that
        decides nothing, a cut item counts for every input.
        """
        texts = [_texts(item) for item in inputs]
        readings: list[dict[str, Any]] = [{"truncated": False, "num_tokens": 0, "windows": 1} for _ in inputs]
        for call in self._calls:
            places = _places([part.texts for part in call], texts)
            parts_of: dict[int, list[_Part]] = {}
            for place, part in zip(places or (), call, strict=False):
                parts_of.setdefault(place, []).append(part)
            unclear = not places and any(part.truncated for part in call)
            for place, reading in enumerate(readings):
                parts = parts_of.get(place, [])
                counts = [part.num_tokens for part in parts]
                # Pieces of one text are windows; several questions on it are not.
                pieces = len(parts) > 1 and all(_is_piece(part.texts, texts[place]) for part in parts)
                reading["truncated"] |= unclear or any(part.truncated for part in parts)
                reading["num_tokens"] = max(reading["num_tokens"], sum(counts) if pieces else max(counts, default=0))
                reading["windows"] = max(reading["windows"], len(parts) if pieces else 1)
        return readings

    def _observed(self, verb: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        def call(items: Iterable[Any], *arguments: Any, **options: Any) -> list[Any]:
            items = list(items)
            try:
                answers = verb(items, *arguments, **options)
            except BaseException as error:
                self.error = error
                raise
            self._note(items, answers)
            return answers

        return call

    def _note(self, items: Sequence[Any], answers: Sequence[Any]) -> None:
        call = []
        for item, answer in zip(items, answers, strict=True):
            count = getattr(answer, "num_tokens", getattr(answer, "num_prompt_tokens", 0))
            call.append(_Part(_texts(item), count, getattr(answer, "truncated", False)))
        self._calls.append(call)


@contextmanager
def blaming(who: str, mend: str, model: ObservedModel | None = None) -> Iterator[None]:
    """Raise PluginError for what goes wrong in a plugin's code; errors of the model and our own pass.

    `who` begins the sentence, `mend` is one of its own.
    """
    try:
        yield
    except NlptasksError:
        raise
    except Exception as error:
        if model is not None and error is model.error:
            raise
        text = f"{type(error).__name__}: {clip(str(error), 200)}".rstrip(": .")
        raise PluginError(f"{who} failed with {text}. {mend}") from error


@runtime_checkable
class TaskServer(Protocol):
    """A model that answers whole tasks in place of verbs: another nlptasks computes them."""

    def answer_task(self, task: AnyTask, inputs: Sequence[Any], options: Any) -> list[Any]:
        """A result of the task's type for each input, in order, named and read as the server says."""
        ...

    def stream_task(self, task: AnyTask, inputs: Any, options: Any) -> Generator[str, None, Any]:
        """The pieces of one answer; returns its result."""
        ...


def run_task(request: Request, inputs: Sequence[Any], model: Model, who: str, strict: bool) -> list[Any]:
    """A task's results, with what the model read of each input where the task does not say it.

    Raises:
        PluginError: the task failed, unless `strict`, or did not give a result of its type for each input.
    """
    if isinstance(model, TaskServer):
        return _checked(request.task, model.answer_task(request.task, inputs, request.options), who, [{}] * len(inputs))
    observed: Any = ObservedModel(model)
    with nullcontext() if strict else blaming(who, _REPORT, observed):
        results = request.task.run(inputs, request.options, observed)
    answers = _checked(request.task, results, who, observed.readings(inputs))
    if getattr(request.options, "explain", False):
        with nullcontext() if strict else blaming(who, _REPORT, observed):
            return request.task.explain(inputs, answers, request.options, observed)
    return answers


def stream_task(request: Request, model: Model, who: str, strict: bool) -> Generator[str, None, Any]:
    """The pieces of a task's one answer, and its result as `run_task` gives it. Raises PluginError as `run_task`."""
    task: Any = request.task
    if isinstance(model, TaskServer):
        return (yield from model.stream_task(task, request.inputs[0], request.options))
    observed = ObservedModel(model)
    with nullcontext() if strict else blaming(who, _REPORT, observed):
        result = yield from task.stream(request.inputs[0], request.options, observed)
    return _checked(task, [result], who, observed.readings(request.inputs))[0]


def signed(result: R, model: Model) -> R:
    """The result with the names of its model and adapter, and how its windows were cut; a server's as it is."""
    if isinstance(model, TaskServer):
        return result
    names: dict[str, Any] = {"model": model.info.name, "adapter": model.info.adapter}
    if not model.info.has_offsets and (result.windows > 1 or result.truncated):
        names["windowed_by"] = "characters"
    return result.model_copy(update=names)


def _checked(task: AnyTask, results: Any, who: str, readings: Sequence[Mapping[str, Any]]) -> list[Result]:
    if not isinstance(results, list | tuple) or len(results) != len(readings):
        number = len(results) if isinstance(results, list | tuple) else 0
        what = clip(repr(results)) if not number else "1 result" if number == 1 else f"{number} results"
        inputs = "1 input" if len(readings) == 1 else f"{len(readings)} inputs"
        raise PluginError(f"{who} gave {what} for {inputs}: its run must return a list with one for each, in order.")
    for result in results:
        if not isinstance(result, task.result_type):
            raise PluginError(f"{who} gave {clip(repr(result))}: its run must return {task.result_type.__name__}.")
    return [
        result.model_copy(update={name: reading[name] for name in reading.keys() - result.model_fields_set})
        for result, reading in zip(results, readings, strict=True)
    ]


def _texts(value: Any) -> list[str]:
    """Every text in an input or an item."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, BaseModel):
        value = dict(value)
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [text for part in parts for text in _texts(part)]


def _places(items: Sequence[list[str]], inputs: Sequence[list[str]]) -> list[int] | None:
    """The input that each item belongs to, None where that is unclear."""
    if len(inputs) == 1 or len(items) == len(inputs):
        return [min(place, len(inputs) - 1) for place in range(len(items))]
    share = len(items) // len(inputs)
    even = [place // share for place in range(len(items))] if share and len(items) % len(inputs) == 0 else []
    if even and all(_related(item, inputs[place]) for item, place in zip(items, even, strict=True)):
        return even
    places: list[int] = []
    place = 0
    for item in items:
        while place < len(inputs) and not _related(item, inputs[place]):
            place += 1
        places.append(place)
    return places if set(places) == set(range(len(inputs))) else None


def _related(item: Sequence[str], texts: Sequence[str]) -> bool:
    return any(one and other and (one in other or other in one) for one in item for other in texts)


def _is_piece(item: Sequence[str], texts: Sequence[str]) -> bool:
    return any(one in other and one != other for one in item for other in texts)
