"""The inputs of a task from what stands on the command line: texts, files, standard input, fields by name."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import click

from nlptasks import DataError, InvalidInputError
from nlptasks.cli.common import option_values

if TYPE_CHECKING:
    from nlptasks.data import DataOptions, Row


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


def file_options(function: Any) -> Any:
    """Options of every command that reads files; see `reading`."""
    for names, metavar, text in (
        ("--sheet", "NAME", "Sheet of an .xlsx file; the first if not given."),
        ("--encoding", "NAME", "Encoding of text files that are not UTF-8, such as cp1252."),
        ("--columns", "FIELD=COLUMN,...", "Columns by the fields that they hold; others are found by common names."),
    ):
        function = click.option(names, metavar=metavar, help=text, multiple=names == "--columns")(function)
    return function


def reading(columns: Sequence[str], encoding: str | None, sheet: str | None, **others: Any) -> DataOptions:
    """The values of `file_options`; a comma within a column's name parts nothing."""
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


class Input(NamedTuple):
    """One input of a task, None for a blank line; `row` is what it was read from."""

    value: Any
    row: Row | None = None


class Inputs:
    """The inputs of a task: texts as they stand, standard input where one is "-", and the rows of files.

    With `by_line` every line of a text is an input. `options` say how files are read, `fields` are those of the input
    that all rows share.
    """

    def __init__(
        self, task: Any, options: DataOptions, *, by_line: bool = False, fields: Mapping[str, Any] | None = None
    ) -> None:
        self._task, self._options, self._by_line, self._fields = task, options, by_line, dict(fields or {})

    def read(self, texts: Sequence[str], files: Sequence[Path]) -> list[Input]:
        """The inputs in the order they were named, of a table its columns for the task's fields.

        Raises:
            DataError: naming every row that cannot be read, or that the task does not take, with its file and line.
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
        _tell(source, matches)

    def _columns(
        self, row: Row, source: str, matches: dict[tuple[str, ...], dict[str, str]], faults: list[str]
    ) -> dict[str, str]:
        """The columns of the task's fields in a row; none after a fault, one for all rows of the same columns."""
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
        """`read`, each input with the shared fields; piped input for what was not named.

        Raises:
            click.UsageError: nothing was given, or not all that the task needs.
            InvalidInputError: a field was given twice.
        """
        accepts, fields = self._task.input_type.model_fields, self._fields
        needed = [name for name, field in accepts.items() if field.is_required() and name not in fields]
        if len(needed) > 1:
            inputs = self._combine(needed, texts, files)
        else:
            inputs = self.read(texts, files)
            if not inputs and (needed or not fields):
                if sys.stdin.isatty():
                    what = f"{needed[0]} as " if fields else ""
                    raise click.UsageError(f"Expected {what}a TEXT, -f FILE or input on standard input, found none.")
                inputs = self.read(["-"], ())
        if not fields:
            return inputs
        place = needed[0] if needed else next(iter(accepts))
        inputs = inputs or [Input({})]
        return [one._replace(value=_complete(self._task.name, one.value, place, fields)) for one in inputs]

    def _combine(self, needed: Sequence[str], texts: Sequence[str], files: Sequence[Path]) -> list[Input]:
        """Inputs of two texts: in place stands the first, -f and standard input bring the second; a row has both.

        Every first text is asked of every second one.
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
                f"{needed[0]} in place and the {needed[1]} with -f FILE or on standard input; -o {absent[0]} TEXT "
                "works as well."
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


def _tell(source: str, matches: Mapping[tuple[str, ...], Mapping[str, str]]) -> None:
    """Say on stderr which columns are read, where a name is not the field's or a column is left out."""
    read = {column: field for match in matches.values() for field, column in match.items()}
    rest = [column for column in dict.fromkeys(name for names in matches for name in names) if column not in read]
    if rest or any(column != field for column, field in read.items()):
        taken = ", ".join(f"{field} from {column!r}" for column, field in read.items())
        left = f"; not read: {', '.join(map(repr, rest))}" if rest else ""
        click.echo(f"{source}: {taken}{left}", err=True)
