"""The inputs of a task from the command line: texts, files, standard input, fields by name."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from nlptasks import DataError, InvalidInputError
from nlptasks.cli.common import option_values

if TYPE_CHECKING:
    from nlptasks.data import DataOptions, Row


def fields_and_options(task: Any, pairs: tuple[tuple[str, str], ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of `-o`, as fields of the task's input and options of the task."""
    values = option_values(pairs, task.options_type, task.input_type)
    names = task.input_type.model_fields.keys() - task.options_type.model_fields.keys()
    fields = {name: value for name, value in values.items() if name in names}
    return fields, {name: value for name, value in values.items() if name not in fields}


def file_options(function: Any) -> Any:
    """Options of every command that reads files; see `reading`."""
    for names, metavar, text in (
        ("--sheet", "NAME", "Sheet of an .xlsx file. Default: the first."),
        ("--encoding", "NAME", "Encoding of text files that are not UTF-8, e.g. cp1252."),
        ("--columns", "FIELD=COLUMN,...", "Columns by field, e.g. text=review. Default: columns of the usual names."),
    ):
        function = click.option(names, metavar=metavar, help=text, multiple=names == "--columns")(function)
    return function


def reading(columns: Sequence[str], encoding: str | None, sheet: str | None, **others: Any) -> DataOptions:
    """The values of `file_options`; a comma within a column's name does not split it."""
    from nlptasks.data import DataOptions

    pairs = [pair for value in columns for pair in re.split(r",(?=\s*\w+=)", value)]
    named = dict(pair_of("--columns", "FIELD=COLUMN", pair) for pair in pairs)
    return DataOptions(columns=named, encoding=encoding, sheet=sheet, **others)


def pair_of(flag: str, form: str, pair: str) -> tuple[str, str]:
    """Both sides of a value like `a=b`; raises click.UsageError for anything else."""
    left, separator, right = (part.strip() for part in pair.partition("="))
    if not (left and separator and right):
        raise click.UsageError(f"{flag}: expected {form}, found {pair!r}.")
    return left, right


def reading_options(function: Any) -> Any:
    """Options of every command that reads a task's inputs; the command gets `by_line` and `reading`."""

    @click.option("--lines", "by_line", is_flag=True, help="Treat each line of a text file as one input.")
    @file_options
    @functools.wraps(function)
    def command(columns: tuple[str, ...], encoding: str | None, sheet: str | None, **arguments: Any) -> Any:
        return function(reading=reading(columns, encoding, sheet), **arguments)

    return command


class Input(NamedTuple):
    """One input of a task, None for a blank line; `row` is what it was read from."""

    value: Any
    row: Row | None = None


class Inputs:
    """Reads the inputs of a task: texts ("-" is standard input) and the rows of files.

    With `by_line` every line of a text is an input; `fields` are input fields with one value for all rows.
    """

    def __init__(
        self, task: Any, options: DataOptions, *, by_line: bool = False, fields: Mapping[str, Any] | None = None
    ) -> None:
        self._task, self._options, self._by_line, self._fields = task, options, by_line, dict(fields or {})

    def read(self, texts: Sequence[str], files: Sequence[Path]) -> list[Input]:
        """The inputs in the order of the command line.

        Raises:
            DataError: naming every row that cannot be read or is not a valid input, with its file and line.
        """
        from nlptasks.data import open_text, read_rows, text_rows

        inputs: list[Input] = []
        faults: list[str] = []
        encoding, sheet = self._options.encoding, self._options.sheet
        for text in texts:
            if text == "-":
                with open_text(sys.stdin.buffer, "standard input", encoding) as stream:
                    rows = text_rows(stream, "standard input", by_line=self._by_line, encoding=encoding)
                    inputs += self._of(rows, "standard input", faults)
            elif _is_file(text):
                raise click.UsageError(
                    f"Expected a text, found the name of a file, {text!r}: read the file with -f {text}, or give the "
                    "name as a text on standard input."
                )
            else:
                inputs.append(Input(text))
        for file in files:
            before = len(inputs), len(faults)
            rows = read_rows(file, text="lines" if self._by_line else "whole", encoding=encoding, sheet=sheet)
            inputs += self._of(rows, str(file), faults)
            if before == (len(inputs), len(faults)):
                faults.append(f"{file}: expected rows, found none.")
        if faults:
            raise DataError("Some rows cannot be read; nothing was answered.", faults)
        return inputs

    def _of(self, rows: Iterable[Row], source: str, faults: list[str]) -> Iterator[Input]:
        matches: dict[tuple[str, ...], dict[str, str]] = {}
        for row in rows:
            text = row.fields["text"] if row.bare else ""
            if row.bare and (self._by_line or text.strip()):
                yield Input(text if text.strip() else None, row)
            elif row.fault or row.bare:
                faults.append(f"{row.place}: {row.fault or 'expected a text, found none.'}")
            elif columns := self._columns(row, source, matches, faults):
                yield Input(self._value(row, columns, faults), row)
        _report_columns(source, matches)

    def _columns(
        self, row: Row, source: str, matches: dict[tuple[str, ...], dict[str, str]], faults: list[str]
    ) -> dict[str, str]:
        """The columns of the task's fields in a row, matched once for all rows with these columns; {} after a fault."""
        from nlptasks.data import input_columns

        names = tuple(row.fields)
        if names not in matches:
            twice = {name: name for name in self._fields if name in names}
            try:
                matches[names] = twice | input_columns(self._task, source, names, self._options.columns, self._fields)
            except DataError as error:
                if not matches:
                    raise
                faults.append(str(error).replace(source, row.place, 1))
                matches[names] = {}
        return matches[names]

    def _value(self, row: Row, columns: Mapping[str, str], faults: list[str]) -> dict[str, Any]:
        from nlptasks.data import field_values

        value = field_values(self._task, {field: row.fields[column] for field, column in columns.items()})
        try:
            self._task.validate([{**self._fields, **value}])
        except InvalidInputError as error:
            faults += [f"{row.place}: {problem}" for problem in error.problems]
        return value

    def gather(self, texts: Sequence[str], files: Sequence[Path]) -> list[Input]:
        """The inputs, each with the shared fields; standard input is read if nothing else is named.

        Raises:
            click.UsageError: no input, or a field that the task needs is missing.
            InvalidInputError: a field has two values.
        """
        accepts, fields = self._task.input_type.model_fields, self._fields
        needed = [name for name, field in accepts.items() if field.is_required() and name not in fields]
        if len(needed) > 1:
            inputs = self._combine(needed, texts, files)
        elif texts or files or (fields and not needed):
            inputs = self.read(texts, files)
        elif sys.stdin.isatty():
            what = f"{needed[0]} as " if fields else ""
            raise click.UsageError(f"Expected {what}a TEXT, -f FILE or input on standard input, found none.")
        else:
            inputs = self.read(["-"], ())
        if not fields:
            return inputs
        first = needed[0] if needed else next(iter(accepts))
        inputs = inputs or [Input({})]
        return [one._replace(value=_with_fields(self._task.name, one.value, first, fields)) for one in inputs]

    def _combine(self, needed: Sequence[str], texts: Sequence[str], files: Sequence[Path]) -> list[Input]:
        """Inputs of a task that needs two texts: TEXT is the first, -f or standard input the second; a row has both.

        Every first text is combined with every second one.
        """
        first = [text for text in texts if text != "-"]
        read = self.read([text for text in texts if text == "-"], files)
        rows = [one for one in read if one.row is None or not one.row.bare]
        if first and not read and not sys.stdin.isatty():
            read = [one for one in self.read(["-"], ()) if one.value and one.value.strip()]
        pages = [one for one in read if isinstance(one.value, str)]
        present = dict(zip(needed, (first, pages), strict=False))
        absent = [name for name in needed if not present.get(name)]
        if absent and (first or pages or not rows):
            raise click.UsageError(
                f"{self._task.name} needs {' and '.join(needed)}, found no {' and no '.join(absent)}. Give the "
                f"{needed[0]} as TEXT and the {needed[1]} with -f FILE or on standard input; -o {absent[0]} TEXT "
                "works as well."
            )
        pairs = [page._replace(value={needed[0]: text, needed[1]: page.value}) for page in pages for text in first]
        return [*pairs, *rows]


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long a text, or one with NUL
        return False


def _with_fields(task: str, value: Any, first: str, fields: Mapping[str, Any]) -> Any:
    """One input with the shared fields; a bare text is its field `first`."""
    values = {first: value} if isinstance(value, str) else value
    if not isinstance(values, Mapping):
        return values
    if twice := [name for name in values if name in fields]:
        raise InvalidInputError(f"{task} got its input twice", [f"once in place and once as {', '.join(twice)}."])
    return {**fields, **values}


def _report_columns(source: str, matches: Mapping[tuple[str, ...], Mapping[str, str]]) -> None:
    """Report on stderr which columns are read, unless each has the name of its field and none is ignored."""
    read = {column: field for match in matches.values() for field, column in match.items()}
    rest = [column for column in dict.fromkeys(name for names in matches for name in names) if column not in read]
    if rest or any(column != field for column, field in read.items()):
        used = ", ".join(f"{field} from {column!r}" for column, field in read.items())
        ignored = f"; not read: {', '.join(map(repr, rest))}" if rest else ""
        click.echo(f"{source}: {used}{ignored}", err=True)
