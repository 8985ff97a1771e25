"""The inputs of a task from what stands on the command line: texts, files, standard input, fields by name."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import click

from nlptasks.cli.common import option_values
from nlptasks.errors import DataError, InvalidInputError

if TYPE_CHECKING:
    from nlptasks.data import Row
    from nlptasks.task import Task

_PIPED = "standard input"


class Input(NamedTuple):
    """One input of a task, None for a blank line; `row` is what it was read from."""

    value: Any
    row: Row | None = None


@dataclass(frozen=True)
class Reading:
    """How the command line wants files read; `fields` are those of the input that all rows share."""

    by_line: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    sheet: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


def fields_and_options(
    task: Task[Any, Any, Any], pairs: tuple[tuple[str, str], ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
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


def file_options(function: Any) -> Any:
    """Options of every command that reads files."""
    for option in (
        click.option("--sheet", metavar="NAME", help="Sheet of an .xlsx file; the first if not given."),
        click.option("--encoding", metavar="NAME", help="Encoding of text files that are not UTF-8, such as cp1252."),
        click.option(
            "--columns",
            metavar="FIELD=COLUMN,...",
            multiple=True,
            help="Columns by the fields that they hold, as in text=review; others are found by common names.",
        ),
    ):
        function = option(function)
    return function


def column_names(values: Sequence[str]) -> dict[str, str]:
    """The columns of `--columns`, by their fields; a comma within a column's name parts nothing."""
    pairs = [pair for value in values for pair in re.split(r",(?=\s*\w+=)", value)]
    return dict(pair_of("--columns", "FIELD=COLUMN", pair) for pair in pairs)


def pair_of(flag: str, form: str, pair: str) -> tuple[str, str]:
    """Both sides of a value like `a=b`; raises click.UsageError for anything else."""
    left, separator, right = (part.strip() for part in pair.partition("="))
    if not (left and separator and right):
        raise click.UsageError(f"{flag}: expected {form}, found {pair!r}.")
    return left, right


def read_inputs(
    task: Task[Any, Any, Any], texts: Sequence[str], files: Sequence[Path], reading: Reading
) -> list[Input]:
    """The texts as they stand, standard input where one is "-", and what is in files: of a table the task's fields.

    Raises:
        DataError: naming every row that cannot be read, or that the task does not take, with its file and line.
    """
    from nlptasks.data import open_text, read_rows, text_rows

    inputs: list[Input] = []
    faults: list[str] = []
    for text in texts:
        if text != "-":
            inputs.append(Input(text))
            continue
        with open_text(sys.stdin.buffer, _PIPED, reading.encoding) as stream:
            inputs += _inputs(
                task,
                text_rows(stream, _PIPED, by_line=reading.by_line, encoding=reading.encoding),
                _PIPED,
                reading,
                faults,
            )
    for file in files:
        rows = read_rows(
            file, text="lines" if reading.by_line else "whole", encoding=reading.encoding, sheet=reading.sheet
        )
        before = len(inputs) + len(faults)
        inputs += _inputs(task, rows, str(file), reading, faults)
        if before == len(inputs) + len(faults):
            faults.append(f"{file}: expected rows, found none.")
    if faults:
        raise DataError("Some rows cannot be read; nothing was answered.", faults)
    return inputs


def _inputs(
    task: Task[Any, Any, Any], rows: Iterable[Row], source: str, reading: Reading, faults: list[str]
) -> Iterator[Input]:
    from nlptasks.data import field_values, input_columns

    matches: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        fault = row.fault
        if row.bare and not fault:
            text = row.fields["text"]
            if text.strip() or reading.by_line:
                yield Input(text if text.strip() else None, row)
                continue
            fault = "expected a text, found none."
        if fault:
            faults.append(f"{row.place}: {fault}")
            continue
        columns = tuple(row.fields)
        if columns not in matches:
            twice = {name: name for name in reading.fields if name in columns}
            try:
                matches[columns] = twice | input_columns(task, source, columns, reading.columns, reading.fields)
            except DataError as error:
                if not matches:
                    raise
                # One fault for all rows of the same columns.
                faults.append(str(error).replace(source, row.place, 1))
                matches[columns] = {}
        if not matches[columns]:
            continue
        value = field_values(task, {field: row.fields[column] for field, column in matches[columns].items()})
        try:
            task.validate([{**reading.fields, **value}])
        except InvalidInputError as error:
            faults += [f"{row.place}: {problem}" for problem in error.problems]
        yield Input(value, row)
    _tell(source, matches)


def _tell(source: str, matches: Mapping[tuple[str, ...], Mapping[str, str]]) -> None:
    """Say on stderr which columns are read, where a name is not the field's or a column is left out."""
    read = {column: field for match in matches.values() for field, column in match.items()}
    rest = [column for column in dict.fromkeys(name for names in matches for name in names) if column not in read]
    if rest or any(column != field for column, field in read.items()):
        taken = ", ".join(f"{field} from {column!r}" for column, field in read.items())
        left = f"; not read: {', '.join(map(repr, rest))}" if rest else ""
        click.echo(f"{source}: {taken}{left}", err=True)


def gather(task: Task[Any, Any, Any], texts: Sequence[str], files: Sequence[Path], reading: Reading) -> list[Input]:
    """The inputs in the order they were named, each with the `fields`; piped input for what was not named.

    Raises:
        click.UsageError: nothing was given, or not all that the task needs.
        InvalidInputError: a field was given twice.
        DataError: like `read_inputs`.
    """
    accepts, fields = task.input_type.model_fields, reading.fields
    needed = [name for name, field in accepts.items() if field.is_required() and name not in fields]
    if len(needed) > 1:
        inputs = _combine(task, needed, texts, files, reading)
    else:
        inputs = read_inputs(task, texts, files, reading)
        if not inputs and (needed or not fields):
            if sys.stdin.isatty():
                what = f"{needed[0]} as " if fields else ""
                raise click.UsageError(f"Expected {what}a TEXT, -f FILE or input on standard input, found none.")
            inputs = read_inputs(task, ["-"], (), reading)
    if not fields:
        return inputs
    place = needed[0] if needed else next(iter(accepts))
    return [one._replace(value=_complete(task.name, one.value, place, fields)) for one in inputs] or [
        Input(dict(fields))
    ]


def _combine(
    task: Task[Any, Any, Any], needed: Sequence[str], texts: Sequence[str], files: Sequence[Path], reading: Reading
) -> list[Input]:
    """Inputs of two texts: in place stands the first, -f and standard input bring the second; a row has both.

    Every first text is asked of every second one.
    """
    first = [text for text in texts if text != "-"]
    read = read_inputs(task, [text for text in texts if text == "-"], files, reading)
    rows = [one for one in read if one.row is None or not one.row.bare]
    if first and not read and not sys.stdin.isatty():
        read = [one for one in read_inputs(task, ["-"], (), reading) if one.value and one.value.strip()]
    pages = [one for one in read if isinstance(one.value, str)]
    present = dict(zip(needed, (first, pages), strict=False))
    absent = [name for name in needed if not present.get(name)]
    if absent and (first or pages or not rows):
        raise click.UsageError(
            f"{task.name} needs {' and '.join(needed)}, found no {' and no '.join(absent)}. Give the {needed[0]} in "
            f"place and the {needed[1]} with -f FILE or on standard input; -o {absent[0]} TEXT works as well."
        )
    pairs = [page._replace(value={needed[0]: text, needed[1]: page.value}) for page in pages for text in first]
    return [*pairs, *rows]


def _complete(task: str, value: Any, place: str, fields: Mapping[str, Any]) -> Any:
    """One input with the fields that all share."""
    values = {place: value} if isinstance(value, str) else value
    if not isinstance(values, Mapping):
        return values
    twice = [name for name in values if name in fields]
    if twice:
        raise InvalidInputError(f"{task} got its input twice", [f"once in place and once as {', '.join(twice)}."])
    return {**fields, **values}
