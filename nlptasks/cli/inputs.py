"""The inputs of a task from what stands on the command line: texts, files, standard input, fields by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import click

from nlptasks import InvalidInputError
from nlptasks.cli.common import lines, option_values, read_inputs, read_stdin


def fields_and_options(task: Any, pairs: tuple[tuple[str, str], ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of the task's input among the `-o` pairs, and its options."""
    values = option_values(pairs)
    fields: dict[str, Any] = {}
    for key, text in pairs:
        name = key.replace("-", "_")
        if name in task.input_type.model_fields and name not in task.options_type.model_fields:
            kind = task.input_type.model_fields[name].annotation
            # A text stays as it was written: "1984" may be a question, and quotes belong to what they quote.
            fields[name] = text if kind is str or str in get_args(kind) else values[name]
    return fields, {name: value for name, value in values.items() if name not in fields}


def gather(
    task: Any, texts: Sequence[str], files: Sequence[Path], by_line: bool, fields: Mapping[str, Any]
) -> list[Any]:
    """The inputs in the order they were named, each with the `fields`; piped input for what was not named.

    Raises:
        click.UsageError: nothing was given, or not all that the task needs.
        InvalidInputError: a field was given twice.
    """
    accepts = task.input_type.model_fields
    needed = [name for name, field in accepts.items() if field.is_required() and name not in fields]
    if len(needed) > 1:
        inputs = _combine(task.name, needed, texts, files, by_line)
    else:
        inputs = _read(texts, files, by_line)
        if not inputs and (needed or not fields):
            if sys.stdin.isatty():
                what = f"{needed[0]} as " if fields else ""
                raise click.UsageError(f"Expected {what}a TEXT, -f FILE or input on standard input, found none.")
            inputs = _read(["-"], (), by_line)
    if not fields:
        return inputs
    place = needed[0] if needed else next(iter(accepts))
    return [_complete(task.name, value, place, fields) for value in inputs] or [dict(fields)]


def _read(texts: Sequence[str], files: Sequence[Path], by_line: bool) -> list[Any]:
    inputs: list[Any] = []
    for text in texts:
        if text != "-":
            inputs.append(text)
        else:
            inputs += lines(read_stdin()) if by_line else [read_stdin()]
    for file in files:
        inputs += read_inputs(file, by_line)
    return inputs


def _combine(task: str, needed: Sequence[str], texts: Sequence[str], files: Sequence[Path], by_line: bool) -> list[Any]:
    """Inputs of two texts: in place stands the first, -f and standard input bring the second; a row has both.

    Every first text is asked of every second one.
    """
    asked = [text for text in texts if text != "-"]
    read = _read([text for text in texts if text == "-"], files, by_line)
    rows = [value for value in read if not isinstance(value, str)]
    if asked and not read and not sys.stdin.isatty():
        read = [text for text in _read(["-"], (), by_line) if text.strip()]
    pages = [value for value in read if isinstance(value, str)]
    given = dict(zip(needed, (asked, pages), strict=False))
    absent = [name for name in needed if not given.get(name)]
    if absent and (asked or pages or not rows):
        raise click.UsageError(
            f"{task} needs {' and '.join(needed)}, found no {' and no '.join(absent)}. Give the {needed[0]} in place "
            f"and the {needed[1]} with -f FILE or on standard input; -o {absent[0]} TEXT works as well."
        )
    pairs = [{needed[0]: text, needed[1]: page} for page in pages for text in asked]
    return [*pairs, *rows]


def _complete(task: str, value: Any, place: str, fields: Mapping[str, Any]) -> Any:
    """One input with the fields that all share."""
    own = {place: value} if isinstance(value, str) else value
    if not isinstance(own, Mapping):
        return own
    twice = [name for name in own if name in fields]
    if twice:
        raise InvalidInputError(f"{task} got its input twice", [f"once in place and once as {', '.join(twice)}."])
    return {**fields, **own}
