"""Where the rows of a batch come from: files, standard input, texts and tables in memory; and what tells them apart."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from nlptasks import DataError, NlptasksError, TaskInput
from nlptasks.batches.parts import digest_of
from nlptasks.batches.rows import RowReader, TaskRow
from nlptasks.data import DataOptions, Row, frame_rows, open_text, read_rows, text_fault, text_rows

STDIN = "-"


class Source:
    """The inputs of a batch: names of files, "-" for standard input, or what `Engine.iter` takes, a table as well.

    `by_line` makes each line of a text one input, as it always is on standard input.

    Raises:
        DataError: a file does not exist, or is of no known format.
    """

    def __init__(self, inputs: Any, options: DataOptions | None = None, *, by_line: bool = False) -> None:
        names = [inputs] if isinstance(inputs, str | Path) else inputs
        are_files = (
            isinstance(names, Sequence)
            and bool(names)
            and (isinstance(inputs, str) or all(isinstance(name, Path) for name in names))
        )
        self.files = [str(name) for name in names] if are_files else []
        self._inputs = inputs
        self._options = options or DataOptions()
        self.by_line = by_line or STDIN in self.files
        if isinstance(inputs, Mapping):
            columns = all(isinstance(values, list | tuple) for values in inputs.values())
            self._inputs = _of_frame(list(inputs), zip(*inputs.values(), strict=True)) if columns else [inputs]
        elif not hasattr(inputs, "__iter__") and frame_rows(inputs) is None and not self.files:
            raise DataError(f"Expected files, a table or an iterable of inputs, found {type(inputs).__name__}.")
        self.name = ", ".join(map(_title, self.files)) or "the inputs"
        for name in self.files:
            if name != STDIN:
                read_rows(name)  # refuses what is no file of rows, before a model is loaded

    def refuse(self, output: Path) -> None:
        """Raise NlptasksError if an output is one of the files."""
        if any(name != STDIN and Path(name).resolve() == output.resolve() for name in self.files):
            raise NlptasksError(
                f"{output}: expected another file than the input, found the input: name another output."
            )

    def check(self, reader: RowReader) -> None:
        """Read the first row of each file, but of standard input.

        Raises:
            DataError: a file cannot be read, or its columns do not fit the task.
        """
        for name in self.files:
            if name != STDIN:
                next(reader.read(self._read(name), _title(name)), None)

    def rows(self, reader: RowReader) -> Iterator[TaskRow]:
        """The rows, as they are read."""
        for name in self.files:
            yield from reader.read(self._read(name), _title(name))
        if not self.files:
            frame = frame_rows(self._inputs)
            yield from _in_memory(self._inputs if frame is None else _of_frame(*frame), reader)

    def count(self) -> int | None:
        """The number of rows, if it is known before all of them are read."""
        if STDIN in self.files:
            return None
        if not self.files:
            return len(self._inputs) if hasattr(self._inputs, "__len__") else None
        return sum(1 for name in self.files for _ in self._read(name))

    def digests(self) -> list[str]:
        """The names of the files with a digest of their bytes; standard input and values in memory have none."""
        return [f"{_title(name)} {file_digest(Path(name))}" for name in self.files if name != STDIN]

    def _read(self, name: str) -> Iterator[Row]:
        encoding = self._options.encoding
        if name == STDIN:
            with open_text(sys.stdin.buffer, _title(name), encoding) as stream:
                yield from text_rows(stream, _title(name), by_line=True, encoding=encoding)
        else:
            text: Literal["lines", "whole"] = "lines" if self.by_line else "whole"
            yield from read_rows(name, text=text, encoding=encoding, sheet=self._options.sheet, name=_title(name))


def file_digest(path: Path) -> str:
    """A short digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def folder_digest(folder: Path) -> str:
    """A short digest of the weights and settings in a model's or an adapter's folder."""
    files = sorted(file for file in folder.iterdir() if file.suffix in (".json", ".safetensors"))
    return digest_of(f"{file.name} {file_digest(file)}\n".encode() for file in files)


def _title(name: str) -> str:
    return "standard input" if name == STDIN else Path(name).name


def _of_frame(names: Sequence[str], rows: Iterable[Iterable[Any]]) -> Iterator[dict[str, Any]]:
    """Rows as mappings; pandas' marks for a missing value become None."""
    missing = ("NAType", "NaTType")
    plain = ([None if type(value).__name__ in missing else value for value in row] for row in rows)
    return (dict(zip(names, row, strict=True)) for row in plain)


def _in_memory(items: Iterable[Any], reader: RowReader) -> Iterator[TaskRow]:
    """Rows of texts, mappings and inputs; those of mappings keep all their columns."""
    numbered = enumerate(items, start=1)
    for are_rows, group in groupby(numbered, lambda pair: isinstance(pair[1], Mapping)):
        if are_rows:
            yield from reader.read((_row(f"input {number}", fields) for number, fields in group), "the inputs")
        else:
            for number, item in group:
                fault = text_fault(item.model_dump() if isinstance(item, TaskInput) else item)
                value = None if fault else item if isinstance(item, TaskInput) else reader.value_of(item)
                text = item if isinstance(item, str) and not fault else ""
                yield TaskRow(value, f"input {number}", error=fault, text=text)


def _row(place: str, fields: Mapping[Any, Any]) -> Row:
    named = {str(name): value for name, value in fields.items()}
    fault = text_fault(named)
    return Row(place, fault=fault) if fault else Row(place, named)
