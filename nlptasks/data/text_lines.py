"""Plain text, whole or line by line, and tokens with tags in columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import TextIO

from nlptasks.data.files import DataFile, lines, text_fault, whole
from nlptasks.data.rows import Row, Table
from nlptasks.errors import DataError

TEXT = "text"
"""The column of what has no columns."""

_TAG = re.compile(r"O|[A-Z]-\S+")


def text_rows(stream: TextIO, name: str, *, by_line: bool, encoding: str | None = None) -> Iterator[Row]:
    """The whole text as one row, or a row for each line; a blank line is a row too, so that all keep their places."""
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
    """One row a sentence, at the place of its first token.

    Raises:
        DataError: a .txt file, whose ending says nothing, does not begin like tagged columns.
    """
    table.columns = (TEXT, "tokens", "tags")
    first, width = 0, 0
    sentence: list[list[str]] = []
    with file.text() as stream:
        # The blank line at the end closes the last sentence.
        for number, line in enumerate(chain(lines(stream, file.name), [""]), start=1):
            cells = _cells(line)
            if not line.strip() or cells[0] == "-DOCSTART-":
                if sentence:
                    tokens, tags = [row[0] for row in sentence], [row[-1] for row in sentence]
                    fields = {TEXT: " ".join(tokens), "tokens": tokens, "tags": tags}
                    yield Row(f"{file.name}:{first}", fields)
                sentence = []
            elif not _is_comment(line, cells, width):
                if not width and file.format == ".txt" and not (len(cells) > 1 and _TAG.fullmatch(cells[-1])):
                    raise DataError(
                        f"{file.name}:{number}: expected a token and a tag (O, B-TYPE) on each line of a .txt file, "
                        f"found {line.strip()[:40]!r}."
                    )
                width = width or len(cells)
                fault = text_fault(line, file.encoding) or _cells_fault(cells, width)
                if fault:
                    yield Row(f"{file.name}:{number}", fault=fault)
                    continue
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
