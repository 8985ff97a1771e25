"""Comma-, semicolon-, tab- and pipe-separated files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from nlptasks.data.files import LIMIT, DataFile, lines
from nlptasks.data.rows import Row, Table

_SAMPLE = 1 << 16
"""Characters that the delimiter is judged by."""

Dialect = dict[str, Any]


def delimited(file: DataFile, table: Table) -> Iterator[Row]:
    """A row for each record below the header, at the line that it begins on.

    Tab-separated files exist with and without quoting, and some writers put a backslash before a quote: such a file
    is read each way, and the way with the fewest faults is taken.
    """
    dialects = _sniff(file)
    yield from _rows(file, table, dialects[0] if len(dialects) == 1 else _best(file, dialects))


def _rows(file: DataFile, table: Table, dialect: Dialect) -> Iterator[Row]:
    csv.field_size_limit(LIMIT)
    needed = 0
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
            if not cells:
                continue
            if not table.columns:
                table.set_columns(cells)
                needed = max(number for number, name in enumerate(["-", *cells]) if name.strip())
            elif needed <= len(cells) and _fits(cells, len(table.columns)):
                yield Row(place, dict(zip(table.columns, cells, strict=False)))
            else:
                yield Row(place, fault=f"expected {len(table.columns)} fields, found {len(cells)}.")


def _fits(cells: Sequence[str], width: int) -> bool:
    """Whether nothing stands behind the last column; some writers end each line with a separator."""
    return not any(cells[width:])


def _why(error: csv.Error) -> str:
    if "end of data" in str(error):
        return "a quote that is never closed"
    if "expected after" in str(error):
        return 'text behind a closing quote; a quote within quotes is written ""'
    return str(error)


def _best(file: DataFile, dialects: Sequence[Dialect]) -> Dialect:
    faults: list[int] = []
    for dialect in dialects:
        faults.append(sum(bool(row.fault) for row in _rows(file, Table(file.name), dialect)))
        if not faults[-1]:
            break
    return dialects[faults.index(min(faults))]


def _sniff(file: DataFile) -> list[Dialect]:
    """How the file may be written, by its beginning; the likeliest way first.

    The delimiter is that which parts the header, and most rows into as many fields; the ending's own if none does.
    """
    with file.text(newline="") as stream:
        sample = stream.read(_SAMPLE)
    if len(sample) == _SAMPLE:
        sample = sample[: max(sample.rfind("\n"), sample.rfind("\r")) + 1] or sample
    usual = "\t" if file.format == ".tsv" else ","

    def parted(delimiter: str) -> list[list[str]]:
        return [row for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row] or [[""]]

    def merit(delimiter: str) -> tuple[bool, float, bool]:
        header, *rows = parted(delimiter)
        fitting = sum(len(row) >= len(header) and _fits(row, len(header)) for row in rows)
        share = fitting / len(rows) if rows else 1.0
        likely = len(header) > 1 and (share > 0 or delimiter == usual)
        return likely, share * likely, delimiter == usual

    delimiter = max((usual, ",", ";", "\t", "|"), key=merit)
    header = parted(delimiter)[0]
    # A space behind every delimiter belongs to the delimiter; a quote behind it would otherwise quote nothing.
    spaced = len(header) > 1 and all(name.startswith(" ") for name in header[1:])
    dialect = {"delimiter": delimiter, "skipinitialspace": spaced}
    dialects = [dialect]
    if delimiter == "\t":
        dialects.append({**dialect, "quoting": csv.QUOTE_NONE})
    if '\\"' in sample:
        dialects.append({**dialect, "escapechar": "\\"})
    return dialects
