"""The inputs of a task from the command line: texts, files, standard input, fields by name."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import click

from nlptasks import DataError, InvalidInputError
from nlptasks.cli.common import option_values

if TYPE_CHECKING:
    from nlptasks import AnyTask
    from nlptasks.data import Row

_PIPED = "standard input"


class Input(NamedTuple):
    """One input of a task, None for a blank line; `row` is what it was read from."""

    value: Any
    row: Row | None = None


@dataclass(frozen=True)
class Reading:
    """How to read files; `fields` are input fields with one value for all rows."""

    by_line: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    sheet: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


def fields_and_options(task: AnyTask, pairs: tuple[tuple[str, str], ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of `-o`, as fields of the task's input and options of the task."""
    values = option_values(pairs)
    fields: dict[str, Any] = {}
    for key, text in pairs:
        name = key.replace("-", "_")
        if name in task.input_type.model_fields and name not in task.options_type.model_fields:
            kind = task.input_type.model_fields[name].annotation
            # A text is not parsed as JSON: "1984" may be a question, and quotes may belong to it.
            fields[name] = text if kind is str or str in get_args(kind) else values[name]
    return fields, {name: value for name, value in values.items() if name not in fields}


def file_options(function: Any) -> Any:
    """Options of every command that reads files."""
    for option in (
        click.option("--sheet", metavar="NAME", help="Sheet of an .xlsx file. Default: the first."),
        click.option("--encoding", metavar="NAME", help="Encoding of text files that are not UTF-8, e.g. cp1252."),
        click.option(
            "--columns",
            metavar="FIELD=COLUMN,...",
            multiple=True,
            help="Columns by field, e.g. text=review. Default: columns of the usual names.",
        ),
    ):
        function = option(function)
    return function


def reading_options(function: Any) -> Any:
    """Options of every command that reads a task's inputs; the command gets them as one `reading`."""

    @click.option("--lines", "by_line", is_flag=True, help="Treat each line of a text file as one input.")
    @file_options
    @functools.wraps(function)
    def command(
        by_line: bool, columns: tuple[str, ...], encoding: str | None, sheet: str | None, **arguments: Any
    ) -> Any:
        return function(reading=Reading(by_line, column_names(columns), encoding, sheet), **arguments)

    return command


def column_names(values: Sequence[str]) -> dict[str, str]:
    """The values of `--columns`, by field; a comma within a column's name does not split it."""
    pairs = [pair for value in values for pair in re.split(r",(?=\s*\w+=)", value)]
    return dict(pair_of("--columns", "FIELD=COLUMN", pair) for pair in pairs)


def pair_of(flag: str, form: str, pair: str) -> tuple[str, str]:
    """Both sides of a value like `a=b`; raises click.UsageError for anything else."""
    left, separator, right = (part.strip() for part in pair.partition("="))
    if not (left and separator and right):
        raise click.UsageError(f"{flag}: expected {form}, found {pair!r}.")
    return left, right


def read_inputs(task: AnyTask, texts: Sequence[str], files: Sequence[Path], reading: Reading) -> list[Input]:
    """Texts ("-" is standard input), then the rows of files.

    Raises:
        DataError: naming every row that cannot be read or is not a valid input, with its file and line.
    """
    from nlptasks.data import open_text, read_rows, text_rows

    inputs: list[Input] = []
    faults: list[str] = []
    for text in texts:
        if text != "-":
            inputs.append(Input(text))
            continue
        with open_text(sys.stdin.buffer, _PIPED, reading.encoding) as stream:
            rows = text_rows(stream, _PIPED, by_line=reading.by_line, encoding=reading.encoding)
            inputs += _inputs(task, rows, _PIPED, reading, faults)
    for file in files:
        text = "lines" if reading.by_line else "whole"
        rows = read_rows(file, text=text, encoding=reading.encoding, sheet=reading.sheet)
        before = len(inputs) + len(faults)
        inputs += _inputs(task, rows, str(file), reading, faults)
        if before == len(inputs) + len(faults):
            faults.append(f"{file}: expected rows, found none.")
    if faults:
        raise DataError("Some rows cannot be read; nothing was answered.", faults)
    return inputs


def _inputs(task: AnyTask, rows: Iterable[Row], source: str, reading: Reading, faults: list[str]) -> Iterator[Input]:
    from nlptasks.data import input_columns

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
            matches[columns] = twice | input_columns(task, source, columns, reading.columns, reading.fields)
        value = {field: row.fields[column] for field, column in matches[columns].items()}
        value = {field: cell for field, cell in value.items() if not _absent(task, field, cell)}
        try:
            task.validate([{**reading.fields, **value}])
        except InvalidInputError as error:
            faults += [f"{row.place}: {problem}" for problem in error.problems]
        yield Input(value, row)
    _report_columns(source, matches)


def _absent(task: AnyTask, field: str, cell: Any) -> bool:
    """Whether a cell is empty and its field optional: the field then has its default."""
    empty = cell is None or cell == "" or cell != cell  # A missing number of Arrow is NaN.
    return empty and not task.input_type.model_fields[field].is_required()


def _report_columns(source: str, matches: Mapping[tuple[str, ...], Mapping[str, str]]) -> None:
    """Report on stderr which columns are read, unless each has the name of its field and none is ignored."""
    read = {column: field for match in matches.values() for field, column in match.items()}
    rest = [column for column in dict.fromkeys(name for names in matches for name in names) if column not in read]
    if rest or any(column != field for column, field in read.items()):
        used = ", ".join(f"{field} from {column!r}" for column, field in read.items())
        ignored = f"; not read: {', '.join(map(repr, rest))}" if rest else ""
        click.echo(f"{source}: {used}{ignored}", err=True)


def gather(task: AnyTask, texts: Sequence[str], files: Sequence[Path], reading: Reading) -> list[Input]:
    """The inputs in the order of the command line, each with the shared `fields`; standard input if there are none.

    Raises:
        click.UsageError: no input, or a field that the task needs is missing.
        InvalidInputError: a field has two values.
        DataError: as in `read_inputs`.
    """
    accepts, fields = task.input_type.model_fields, reading.fields
    needed = [name for name, field in accepts.items() if field.is_required() and name not in fields]
    if len(needed) > 1:
        inputs = _combine(task, needed, texts, files, reading)
    elif texts or files or (fields and not needed):
        inputs = read_inputs(task, texts, files, reading)
    elif sys.stdin.isatty():
        what = f"{needed[0]} as " if fields else ""
        raise click.UsageError(f"Expected {what}a TEXT, -f FILE or input on standard input, found none.")
    else:
        inputs = read_inputs(task, ["-"], (), reading)
    if not fields:
        return inputs
    first = needed[0] if needed else next(iter(accepts))
    merged = [one._replace(value=_with_fields(task.name, one.value, first, fields)) for one in inputs]
    return merged or [Input(dict(fields))]


def _combine(
    task: AnyTask, needed: Sequence[str], texts: Sequence[str], files: Sequence[Path], reading: Reading
) -> list[Input]:
    """Inputs of a task that needs two texts: TEXT is the first, -f or standard input the second; a row has both.

    Every first text is combined with every second one.
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
            f"{task.name} needs {' and '.join(needed)}, found no {' and no '.join(absent)}. Give the {needed[0]} as "
            f"TEXT and the {needed[1]} with -f FILE or on standard input; -o {absent[0]} TEXT works as well."
        )
    pairs = [page._replace(value={needed[0]: text, needed[1]: page.value}) for page in pages for text in first]
    return [*pairs, *rows]


def _with_fields(task: str, value: Any, first: str, fields: Mapping[str, Any]) -> Any:
    """One input with the shared fields; a bare text is its field `first`."""
    values = {first: value} if isinstance(value, str) else value
    if not isinstance(values, Mapping):
        return values
    if twice := [name for name in values if name in fields]:
        raise InvalidInputError(f"{task} got its input twice", [f"once in place and once as {', '.join(twice)}."])
    return {**fields, **values}
