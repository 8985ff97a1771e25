"""The inputs of a task from the command line: texts, files, standard input, fields by name."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nlptasks import DataError, InvalidInputError
from nlptasks.cli.common import option_values

if TYPE_CHECKING:
    from nlptasks.batches import TaskRow
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


class Inputs:
    """The inputs of a task as the command line names them: texts ("-" is standard input) and the rows of files.

    With `by_line` every line of a text is an input; `fields` are input fields with one value for all rows.
    """

    def __init__(
        self, task: Any, options: DataOptions, *, by_line: bool = False, fields: Mapping[str, Any] | None = None
    ) -> None:
        from nlptasks.batches import RowReader

        self._task, self._options, self._by_line, self._fields = task, options, by_line, dict(fields or {})
        self._reader = RowReader(task, options, by_line=by_line, fields=fields)

    def read(self, texts: Sequence[str], files: Sequence[Path]) -> Iterator[TaskRow]:
        """The inputs in the order of the command line, as they are read.

        Raises:
            DataError: a file cannot be read at all, or has no column that the task needs.
        """
        from nlptasks.batches import TaskRow
        from nlptasks.data import open_text, read_rows, text_rows

        encoding, sheet = self._options.encoding, self._options.sheet
        for text in texts:
            if text == "-":
                with open_text(sys.stdin.buffer, "standard input", encoding) as stream:
                    rows = text_rows(stream, "standard input", by_line=self._by_line, encoding=encoding)
                    yield from self._rows(rows, "standard input")
            elif _is_file(text):
                raise click.UsageError(
                    f"Expected a text, found the name of a file, {text!r}: read the file with -f {text}, or give the "
                    "name as a text on standard input."
                )
            else:
                yield TaskRow(self._reader.value_of(text))
        for file in files:
            rows = read_rows(file, text="lines" if self._by_line else "whole", encoding=encoding, sheet=sheet)
            yield from self._rows(rows, str(file))

    def _rows(self, rows: Iterable[Row], source: str) -> Iterator[TaskRow]:
        """The rows of one source, then on stderr which of its columns were read."""
        from nlptasks.batches import TaskRow

        empty = True
        for row in self._reader.read(rows, source):
            empty = False
            yield row
        if empty:
            yield TaskRow(None, source, error="expected rows, found none.")
        while self._reader.notes:
            click.echo(self._reader.notes.pop(0), err=True)

    def gather(self, texts: Sequence[str], files: Sequence[Path]) -> Iterator[TaskRow]:
        """The inputs, as they are read; standard input is read if nothing else is named.

        Raises:
            click.UsageError: no input, or a field that the task needs is missing.
            InvalidInputError: a field has two values.
        """
        from nlptasks.batches import TaskRow

        accepts, fields = self._task.input_type.model_fields, self._fields
        needed = [name for name, field in accepts.items() if field.is_required() and name not in fields]
        if len(needed) > 1:
            return iter(self._combine(needed, texts, files))
        if texts or files:
            return self.read(texts, files)
        if fields and not needed:
            return iter([TaskRow(fields)])
        if sys.stdin.isatty():
            what = f"{needed[0]} as " if fields else ""
            raise click.UsageError(f"Expected {what}a TEXT, -f FILE or input on standard input, found none.")
        return self.read(["-"], ())

    def _combine(self, needed: Sequence[str], texts: Sequence[str], files: Sequence[Path]) -> list[TaskRow]:
        """Inputs of a task that needs two texts: TEXT is the first, -f or standard input the second; a row has both.

        Every first text is combined with every second one.
        """
        first = [text for text in texts if text != "-"]
        read = list(self.read([text for text in texts if text == "-"], files))
        rows = [one for one in read if one.fields or one.error]
        if first and not read and not sys.stdin.isatty():
            read = [one for one in self.read(["-"], ()) if one.value]
        pages = [one for one in read if one.value is not None and not one.fields]
        present = dict(zip(needed, (first, pages), strict=False))
        absent = [name for name in needed if not present.get(name)]
        if absent and (first or pages or not rows):
            raise click.UsageError(
                f"{self._task.name} needs {' and '.join(needed)}, found no {' and no '.join(absent)}. Give the "
                f"{needed[0]} as TEXT and the {needed[1]} with -f FILE or on standard input; -o {absent[0]} TEXT "
                "works as well."
            )
        pairs = [
            page._replace(value={**self._fields, needed[0]: text, needed[1]: _text(page.value, needed[0])})
            for page in pages
            for text in first
        ]
        return [*pairs, *rows]


def valid_inputs(task: Any, rows: Iterable[TaskRow]) -> list[Any]:
    """The inputs in rows, all of which must be valid.

    Raises:
        DataError: naming every row that cannot be read or is not a valid input, with its place.
    """
    faults: list[str] = []
    inputs: list[Any] = []
    for row in rows:
        try:
            inputs += [] if row.value is None else task.validate([row.value])
            faults += [f"{row.place}: {row.error}"] if row.error else []
        except InvalidInputError as error:
            faults += [f"{row.place}: {problem}" for problem in error.problems]
    if faults:
        raise DataError("Some rows cannot be read; nothing was answered.", faults)
    return inputs


def _text(value: Any, first: str) -> Any:
    """The text of a page, which the reader takes for the first field where there are shared ones."""
    return value[first] if isinstance(value, Mapping) else value


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long a text, or one with NUL
        return False
