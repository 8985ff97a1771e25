"""Sheets of Excel workbooks."""

from __future__ import annotations

import contextlib
import datetime
import zipfile
from collections.abc import Iterator
from typing import Any

from nlptasks.data.files import DataFile
from nlptasks.data.rows import Row, Table
from nlptasks.errors import DataError, MissingExtraError

LIMIT = 1_000_000_000
"""Maximum size of an unpacked workbook in bytes: all its distinct texts are in memory while it is read."""


def sheet_rows(file: DataFile, table: Table) -> Iterator[Row]:
    """A row for each row below the header of a sheet: the one that `file.sheet` names, else the first."""
    try:
        import openpyxl
    except ImportError as error:
        raise MissingExtraError("Reading .xlsx", "tables") from error
    with file.open(seekable=True) as stream:
        try:
            with zipfile.ZipFile(stream) as packed:
                size = sum(part.file_size for part in packed.infolist())
            if size > LIMIT:
                raise DataError(
                    f"{file.name}: expected a workbook of at most {LIMIT // 10**9} GB unpacked, found "
                    f"{size / 10**9:.1f} GB: save it as .csv, which is read row by row."
                )
            with contextlib.closing(openpyxl.load_workbook(stream, read_only=True, data_only=True)) as book:
                yield from _sheet_rows(_sheet(book, file, table), file, table)
        except DataError:
            raise
        except Exception as error:
            # openpyxl raises all kinds of errors for a broken file.
            raise DataError(f"{file.name}: expected an Excel workbook, found something else ({error}).") from error


def _sheet(book: Any, file: DataFile, table: Table) -> Any:
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if file.sheet is None:
        if len(sheets) > 1:
            table.notes.append(f"{file.name}: only the first of {len(sheets)} sheets is read ({next(iter(sheets))})")
        return next(iter(sheets.values()))
    if file.sheet not in sheets:
        raise DataError(f"{file.name}: expected a sheet {file.sheet!r}, found {', '.join(sheets)}.")
    return sheets[file.sheet]


def _sheet_rows(sheet: Any, file: DataFile, table: Table) -> Iterator[Row]:
    # Some writers store a wrong size of the sheet, which openpyxl would trust.
    sheet.reset_dimensions()
    for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells = [_value(value) for value in values]
        while cells and cells[-1] in (None, ""):
            cells.pop()
        if not cells:
            continue
        if not table.columns:
            table.set_columns(cells)
        elif len(cells) > len(table.columns):
            yield Row(f"{file.name}:{number}", fault=f"expected {len(table.columns)} cells, found {len(cells)}.")
        else:
            cells += [None] * (len(table.columns) - len(cells))
            yield Row(f"{file.name}:{number}", dict(zip(table.columns, cells, strict=True)))


def _value(cell: Any) -> Any:
    """A cell as text, as a reader of the sheet sees it, for fields of text."""
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell if cell is None else str(cell)
