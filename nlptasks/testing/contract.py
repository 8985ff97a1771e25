"""The contract test: what every task must do, built-in or not, checked without weights."""

from __future__ import annotations

import ast
import inspect
import json
import math
import random
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from nlptasks.definitions import check_task_class, open_shipped, unknown_base
from nlptasks.errors import CancelledError, InvalidInputError, NlptasksError, UnparsableOutputError, clip
from nlptasks.model import HEADS, CancelToken, Model
from nlptasks.plugins import default_plugins
from nlptasks.results import Result
from nlptasks.task import AnyTask
from nlptasks.testing.fake import FakeModel

Row = tuple[Any, Any]

_HEAVY = frozenset({"torch", "transformers", "peft", "datasets", "gradio"})
_BATCH = 8
_BLANK = ("", " ", "\n\t\u00a0")
_UNICODE = (
    "Emoji of several code points: 👩‍👩‍👧 👋🏽 🇩🇪",
    "שלום עולם, مرحبا بالعالم",
    "Cafe\u0301 and café, Z̵a̶l̷g̸o",
    "first line\r\nsecond line\r\n",
    "日本語と中文，没有空格",
    "\u200bzero width\u2028line separator\ufeff",
)


class _Broken(Exception):
    """A broken law; its text is the sentence of the report."""


@dataclass(frozen=True)
class _Bench:
    """A task with valid inputs and a model that answers it."""

    task: AnyTask
    inputs: list[Any]
    rows: list[tuple[Any, Result]]
    author_model: Model | None

    @property
    def options(self) -> Any:
        return self.task.validate_options(self.task.example_options)

    @property
    def first(self) -> str:
        """The field that a bare string stands for."""
        return next(iter(self.task.input_type.model_fields))

    def reworded(self, text: str) -> list[Any]:
        """An input with another text as its first field, in a list; an empty one if no input has a text there."""
        item = next((item for item in self.inputs if isinstance(getattr(item, self.first), str)), None)
        return [] if item is None else self.task.validate([{**dict(item), self.first: text}])

    @property
    def writes(self) -> bool:
        return all(callable(getattr(self.task, name, None)) for name in ("prompt", "parse", "target"))

    def model(self, cancel: CancelToken | None = None) -> Model:
        """The author's model, else a new `FakeModel` that fits the task."""
        if self.author_model is not None and cancel is None:
            return self.author_model
        head = self.task.head
        usual = ("first", "second") if head and head.verb in HEADS else None
        named = "labels" in self.task.example_options
        return FakeModel(
            labels=None if named else getattr(self.task, "labels", None) or usual,
            kind="encoder" if head else "causal",
            multi_label=bool(getattr(self.task, "multi_label", False)),
            answers=_some_word if head and head.per == "span" else None,
            head=head,
            completions=self._completions(),
            cancel=cancel,
        )

    def run(self, inputs: Sequence[Any], model: Model | None = None) -> list[Any]:
        """Answers with default options; an error becomes a sentence."""
        try:
            return self.task.run(inputs, self.options, model or self.model())
        except CancelledError:
            raise
        except UnparsableOutputError as error:
            raise _Broken(
                f"its parser cannot read what FakeModel wrote; give rows=[(input, result), ...] to say what a "
                f"readable answer is ({error})"
            ) from error
        except Exception as error:
            raise _Broken(f"run raised {type(error).__name__} for {_short(list(inputs))}: {error}") from error

    def _completions(self) -> Callable[[str], str] | None:
        """A written answer that the parser reads: the rows' own targets, another one for another prompt."""
        if not self.writes or not self.rows:
            return None
        task: Any = self.task
        targets = [task.target(result) for _, result in self.rows]
        known = {FakeModel.render(task.prompt(item, self.options)): task.target(result) for item, result in self.rows}
        return lambda prompt: known.get(prompt) or random.Random(prompt).choice(targets)


def _some_word(question: str, context: str) -> tuple[int, int] | None:
    """The span of one word of the context, always the same one for a question."""
    words = list(re.finditer(r"\S+", context))
    return random.Random(question).choice(words).span() if words else None


def check_task(task: AnyTask, *, rows: Sequence[Row] = (), model: Model | None = None) -> None:
    """Check a task against the contract, on a FakeModel that fits it or on `model`.

    `rows` are (input, result) pairs as training data has them; a text-to-text task needs one or more, so
    that there is an answer its parser can read.

    Raises:
        AssertionError: with one sentence for each law that does not hold.
    """
    cause: Exception | None = None
    problems = check_task_class(task)
    if not problems:
        bench, problems = _prepare(task, rows, model)
        for law in (*_DEFINITION, *(_BEHAVIOUR if bench.inputs else ())):
            try:
                problems += law(bench)
            except _Broken as error:
                problems.append(str(error))
                cause = cause or error
    if problems:
        listed = "".join(f"\n  {problem}" for problem in dict.fromkeys(problems))
        raise AssertionError(f"{getattr(task, 'name', task)!s} breaks the contract:{listed}") from cause


def _prepare(task: AnyTask, rows: Sequence[Row], model: Model | None) -> tuple[_Bench, list[str]]:
    """Validate examples and rows; invalid ones are reported and left out."""
    inputs, pairs, problems = [], [], []
    for example in task.examples:
        try:
            inputs += task.validate([example])
        except InvalidInputError as error:
            problems.append(f"its example {_short(example)} is not valid: {'; '.join(error.problems)}")
    for number, (value, result) in enumerate(rows):
        try:
            pairs.append((task.validate([value])[0], task.result_type.model_validate(result)))
        except (InvalidInputError, ValidationError) as error:
            problems.append(f"row {number} is not valid: {error}")
    return _Bench(task, [*inputs, *(item for item, _ in pairs)], pairs, model), problems


def _has_summary_and_examples(bench: _Bench) -> Iterator[str]:
    if not bench.task.summary:
        yield "it has no summary: give the class a docstring"
    if not bench.task.examples:
        yield "it has no example: list one or more inputs in `examples`"


def _has_its_files(bench: _Bench) -> Iterator[str]:
    try:
        open_shipped(bench.task, "it")
    except NlptasksError as error:
        yield str(error)
    for name, folder in bench.task.bases.items():
        if not folder.is_dir():
            yield f"it ships a base {name!r} that is not there: {folder}"
    # Other plugins are imported only if one of them may have the base.
    if unknown_base(bench.task, ()) and (fault := unknown_base(bench.task, default_plugins().bases)):
        yield f"it {fault}"


def _has_schemas(bench: _Bench) -> Iterator[str]:
    for attribute in ("input_type", "options_type", "result_type"):
        model: type[BaseModel] = getattr(bench.task, attribute)
        try:
            model.model_json_schema()
        except Exception as error:
            yield f"{attribute} {model.__name__} has no JSON schema: {str(error).splitlines()[0]}"
        bare = ", ".join(name for name, field in model.model_fields.items() if not field.description)
        sentence = f"{attribute} {model.__name__} has no description for {bare}: Field(description=...)"
        if bare and attribute == "result_type":
            warnings.warn(f"{bench.task.name}: {sentence}", stacklevel=4)
        elif bare:
            yield sentence


def _imports_lightly(bench: _Bench) -> Iterator[str]:
    try:
        source = inspect.getsource(inspect.getmodule(type(bench.task)) or type(bench.task))
    except (OSError, TypeError):
        return
    for name in _imports(ast.parse(source)):
        if name.split(".")[0] in _HEAVY:
            yield f"its module imports {name} when it is imported: import it inside the function that needs it"


def _refuses_blank(bench: _Bench) -> Iterator[str]:
    fields = bench.task.input_type.model_fields
    item = bench.inputs[0]
    for name, field in fields.items():
        # A field that may be left out may be empty too, when its author says so.
        if not field.is_required() or not isinstance(getattr(item, name), str):
            continue
        for blank in _BLANK:
            try:
                bench.task.validate([{**dict(item), name: blank}])
            except InvalidInputError:
                continue
            except Exception as error:
                yield f"{name}={blank!r} raised {type(error).__name__}, expected InvalidInputError: {error}"
            else:
                yield f'{name}={blank!r} was accepted: refuse texts without a visible character, Field(pattern=r"\\S")'
            break


def _reads_unicode(bench: _Bench) -> Iterator[str]:
    for text in _UNICODE:
        try:
            valid = bench.reworded(text)
        except InvalidInputError as error:
            yield f"{bench.first}={text!r} was refused: {'; '.join(error.problems)}"
            continue
        if bench.author_model is None or isinstance(bench.author_model, FakeModel):
            bench.run(valid)


def _keeps_shape(bench: _Bench) -> Iterator[str]:
    for inputs in ([], bench.inputs[:1], bench.inputs * 2):
        results = bench.run(inputs)
        if not isinstance(results, list) or len(results) != len(inputs):
            answer = f"{len(results)} results" if isinstance(results, list) else _short(results)
            yield f"{len(inputs)} inputs gave {answer}: expected a list with one result an input"
            return
        for result in results:
            if not isinstance(result, bench.task.result_type):
                yield f"run gave {_short(result)}: expected a {bench.task.result_type.__name__}"
                return


def _ignores_neighbours(bench: _Bench) -> Iterator[str]:
    inputs = [*bench.inputs, *_variants(bench)]
    together = bench.run(inputs)
    alone = [result for item in inputs for result in bench.run([item])]
    backwards = bench.run(inputs[::-1])[::-1]
    if not _same(together, alone) or not _same(together, backwards):
        yield "an input's result depends on its neighbours or is out of order: run([a, b]) must be run([a]) + run([b])"


def _calls_in_batches(bench: _Bench) -> Iterator[str]:
    calls = []
    for size in (1, _BATCH):
        model = bench.model()
        if not isinstance(model, FakeModel):
            return
        before = len(model.calls)
        bench.run(bench.inputs[:1] * size, model)
        calls.append([verb for verb, _ in model.calls[before:]])
    one, many = calls
    if len(many) > len(one):
        yield (
            f"{_BATCH} inputs made {len(many)} calls to the model ({', '.join(sorted(set(many)))}), one input makes "
            f"{len(one)}: build the requests of all inputs first, then make one call"
        )


def _survives_json(bench: _Bench) -> Iterator[str]:
    for result in bench.run(bench.inputs):
        if not isinstance(result, Result):
            return
        try:
            again = type(result).model_validate_json(result.model_dump_json())
            json.dumps(result.to_hf(), allow_nan=False)
        except Exception as error:
            yield f"a result does not go to JSON and back, or its to_hf() does not: {type(error).__name__}: {error}"
            return
        if again != result:
            yield f"a result changes on its way to JSON and back: {_short(result)} became {_short(again)}"
            return


def _can_be_cancelled(bench: _Bench) -> Iterator[str]:
    token = CancelToken()
    token.cancel()
    try:
        bench.run(bench.inputs[:1], bench.model(cancel=token))
    except CancelledError:
        return
    except _Broken as error:
        yield f"a cancelled request must end with the CancelledError that the model raises: {error}"
    else:
        yield "a cancelled request gave a result: let the model's CancelledError pass"


def _parses_its_targets(bench: _Bench) -> Iterator[str]:
    if not bench.writes:
        return
    task: Any = bench.task
    for item, result in bench.rows:
        target = task.target(result)
        try:
            again = task.parse(item, target)
        except Exception as error:
            yield f"parse cannot read target(result), {target!r}: {type(error).__name__}: {error}"
            continue
        names = set(type(result).model_fields) - set(Result.model_fields)
        if not _same(again.model_dump(include=names), result.model_dump(include=names)):
            yield f"parse(target(result)) is {_short(again)}, expected {_short(result)}"


_DEFINITION = (_has_summary_and_examples, _has_its_files, _has_schemas, _imports_lightly)
_BEHAVIOUR = (
    _refuses_blank,
    _parses_its_targets,
    _reads_unicode,
    _keeps_shape,
    _ignores_neighbours,
    _calls_in_batches,
    _survives_json,
    _can_be_cancelled,
)


def _variants(bench: _Bench) -> list[Any]:
    """The first input with other texts, so that neighbours differ."""
    variants: list[Any] = []
    for text in ("A short text.", "A somewhat longer text, with a comma and 42 as a number."):
        with suppress(InvalidInputError):
            variants += bench.reworded(text)
    return variants


def _imports(tree: ast.AST) -> Iterator[str]:
    """Modules that are imported as soon as the code runs; function bodies and TYPE_CHECKING blocks do not run."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str() as module, level=0):
                yield module
            case ast.If() if "TYPE_CHECKING" in ast.unparse(node.test):
                yield from _imports(ast.Module(node.orelse, []))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                continue
            case _:
                yield from _imports(node)


def _same(one: Any, other: Any) -> bool:
    """Equal, with room for what another batch size changes in a real model's floats."""
    match one, other:
        case BaseModel(), BaseModel():
            return type(one) is type(other) and _same(dict(one), dict(other))
        case dict(), dict():
            return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
        case ((list() | tuple()), (list() | tuple())):
            return len(one) == len(other) and all(map(_same, one, other))
        case float(), float():
            return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-4)
        case _:
            return bool(one == other)


def _short(value: Any) -> str:
    return clip(repr(value), 120)
