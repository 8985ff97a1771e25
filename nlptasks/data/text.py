"""Text files: separated values, plain text whole or by line, tokens with tags in columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, TextIO

from nlptasks.data.files import LIMIT, DataFile, lines, text_fault, whole
from nlptasks.data.rows import Row, Table
from nlptasks.errors import DataError

TEXT = "text"
"""The column name for texts without columns."""

_TAG = re.compile(r"O|[A-Z]-\S+")


def text_rows(stream: TextIO, name: str, *, by_line: bool, encoding: str | None = None) -> Iterator[Row]:
    """The whole text as one row, or a row for each line, blank ones too: line n is row n."""
    numbered = enumerate(lines(stream, name), start=1)
    texts = ((f"{name}:{number}", line.removesuffix("\n")) for number, line in numbered)
    for place, text in texts if by_line else [(name, whole(stream, name))]:
        fault = text_fault(text, encoding)
        yield Row(place, fault=fault) if fault else Row(place, {TEXT: text}, bare=True)


def text_file(file: DataFile, table: Table, *, by_line: bool = False) -> Iterator[Row]:
    """The rows of a plain text."""
    table.columns = (TEXT,)
    with file.text() as stream:
        yield from text_rows(stream, file.name, by_line=by_line, encoding=file.encoding)


def tagged(file: DataFile, table: Table) -> Iterator[Row]:
    """One row per sentence, at the place of its first token.

    Raises:
        DataError: a .txt file that does not begin with a token and a tag.
    """
    table.columns, table.known = (TEXT, "tokens", "tags"), {TEXT}
    first, width = 0, 0
    sentence: list[list[str]] = []
    with file.text() as stream:
        # The blank line at the end closes the last sentence.
        for number, line in enumerate(chain(lines(stream, file.name), [""]), start=1):
            cells = _cells(line)
            if not line.strip() or cells[0] == "-DOCSTART-":
                if sentence:
                    tokens, tags = [row[0] for row in sentence], [row[-1] for row in sentence]
                    yield Row(f"{file.name}:{first}", {TEXT: " ".join(tokens), "tokens": tokens, "tags": tags})
                sentence = []
            elif not _is_comment(line, cells, width):
                if not width and file.format == ".txt" and not (len(cells) > 1 and _TAG.fullmatch(cells[-1])):
                    raise DataError(
                        f"{file.name}:{number}: expected a token and a tag (O, B-TYPE) on each line of a .txt file, "
                        f"found {line.strip()[:40]!r}."
                    )
                width = width or len(cells)
                if fault := text_fault(line, file.encoding) or _cells_fault(cells, width):
                    yield Row(f"{file.name}:{number}", fault=fault)
                else:
                    first = first if sentence else number
                    sentence.append(cells)


def _cells(line: str) -> list[str]:
    # Not split(): it would also cut at a no-break space inside a token.
    line = line.rstrip("\r\n\t ")
    cells = line.split("\t") if "\t" in line else [cell for cell in line.split(" ") if cell]
    return [cell.strip() for cell in cells]


def _is_comment(line: str, cells: list[str], width: int) -> bool:
    """Whether a line is a comment and not the token `#` with its tag."""
    tagged = len(cells) == (width or 2) and bool(_TAG.fullmatch(cells[-1]))
    return cells == ["#"] or (line.startswith(("# ", "#\t")) and not tagged)


def _cells_fault(cells: list[str], width: int) -> str:
    if len(cells) < 2:
        return f"expected a token and a tag in columns, found one column ({cells[0]!r})."
    if len(cells) != width:
        return f"expected {width} columns as in the first line, found {len(cells)}."
    return "" if cells[0] else "expected a token in the first column, found none."


_SAMPLE = 1 << 16
"""Number of characters from which the delimiter is guessed."""

Dialect = dict[str, Any]


def delimited(file: DataFile, table: Table) -> Iterator[Row]:
    """A row for each record below the header, at the line that it begins on.

    Tab-separated files may or may not use quoting, and some writers escape quotes with a backslash: such a file is
    tried each way, and read with the fewest faults.
    """

    def faults(dialect: Dialect) -> int:
        return sum(bool(row.fault) for row in _rows(file, Table(file.name), dialect))

    dialect, *others = dialects = _sniff(file)
    if others:
        dialect = next((one for one in dialects if not faults(one)), {}) or min(dialects, key=faults)
    yield from _rows(file, table, dialect)


def _rows(file: DataFile, table: Table, dialect: Dialect) -> Iterator[Row]:
    csv.field_size_limit(LIMIT)
    needed = 1
    with file.text(newline="") as stream:
        reader = csv.reader(lines(stream, file.name), strict=True, **dialect)
        while True:
            place = f"{file.name}:{reader.line_num + 1}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(place, fault=f"expected fields separated by {dialect['delimiter']!r}, found {_why(error)}.")
                continue
            if not table.columns and cells:
                table.set_columns(cells)
                needed = max(number for number, name in enumerate(["-", *cells]) if name.strip())
            # Some writers end each line, or the header alone, with a separator.
            elif needed <= len(cells) and not any(cells[len(table.columns) :]):
                yield Row(place, dict(zip(table.columns, cells, strict=False)))
            elif cells:
                yield Row(place, fault=f"expected {len(table.columns)} fields, found {len(cells)}.")


def _why(error: csv.Error) -> str:
    words = {"end of data": "a quote that is never closed", "expected after": "text behind a closing quote"}
    return next((meaning for part, meaning in words.items() if part in str(error)), str(error))


def _sniff(file: DataFile) -> list[Dialect]:
    """The possible dialects of a file, judged by its beginning; the likeliest first.

    The delimiter is the one that splits the header, without a quote within a name, and most rows into as many fields;
    by default, that of the extension.
    """
    with file.text(newline="") as stream:
        sample = stream.read(_SAMPLE)
    if len(sample) == _SAMPLE:
        sample = sample[: max(sample.rfind("\n"), sample.rfind("\r")) + 1] or sample
    usual = "\t" if file.format == ".tsv" else ","

    def split(delimiter: str) -> list[list[str]]:
        return [row for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row] or [[""]]

    def merit(delimiter: str) -> tuple[bool, bool, float, bool]:
        header, *rows = split(delimiter)
        fitting = sum(len(row) >= len(header) and not any(row[len(header) :]) for row in rows)
        share = fitting / len(rows) if rows else 1.0
        likely = len(header) > 1 and (share > 0 or delimiter == usual)
        return likely, not any('"' in name for name in header), share * likely, delimiter == usual

    delimiter = max((usual, ",", ";", "\t", "|"), key=merit)
    header = split(delimiter)[0]
    # A space behind every delimiter is part of it; otherwise a quote behind the space would not count as one.
    spaced = len(header) > 1 and all(name.startswith(" ") for name in header[1:])
    dialect = {"delimiter": delimiter, "skipinitialspace": spaced}
    plain = [{**dialect, "quoting": csv.QUOTE_NONE}] if delimiter == "\t" else []
    return [dialect, *plain, *([{**dialect, "escapechar": "\\"}] if '\\"' in sample else [])]
