"""The results of a batch as CSV, JSONL and XLSX files, with a column for every field of a result."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from pydantic_core import to_jsonable_python

from nlptasks import LabelScore, Result
from nlptasks.data import Row
from nlptasks_ui.batch.run import Outcome

Cells = dict[str, Any]

_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
"""Characters that a spreadsheet may take for the start of a formula (OWASP, CSV Injection)."""

_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?%?")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that are not allowed in XML, and so not in a workbook."""

_CELL = 32_767
"""The most characters in a cell of a workbook."""

_CUT = " [truncated: the CSV and JSONL files have the full text]"


def flat(result: Result) -> Cells:
    """A result's fields as cells, in the order of its type.

    Label scores become one column per label, spans with a label one column of texts per label. Other lists of texts are
    joined with semicolons; any other nested value is written as JSON.
    """
    cells: Cells = {}
    for name in type(result).model_fields:
        value = getattr(result, name)
        if isinstance(value, tuple | list) and value and all(isinstance(item, LabelScore) for item in value):
            cells |= {f"{name}.{item.label}": item.score for item in sorted(value, key=lambda item: item.label)}
        elif isinstance(value, tuple | list) and all(isinstance(item, str) for item in value):
            cells[name] = "; ".join(value)
        elif isinstance(value, str | int | float | bool | None):
            cells[name] = value
        else:
            cells[name] = json.dumps(to_jsonable_python(value, fallback=str), ensure_ascii=False)
            cells |= _by_type(name, value)
    return cells


def table_of(
    task: str, records: Sequence[Row], outcomes: Sequence[Outcome | None]
) -> tuple[list[str], Iterator[Cells]]:
    """The columns and the processed rows: the input's cells, then the result's fields, prefixed with the task's name.

    The last column, `task.error`, says why a row has no result.
    """
    reached = [(record, outcome) for record, outcome in zip(records, outcomes, strict=True) if outcome]
    read = list(dict.fromkeys(name for record, _ in reached for name in record.fields))
    # Results of one type may have different columns; their order is that of the type's fields.
    written: dict[str, None] = {}
    for _, outcome in reached:
        written |= dict.fromkeys(flat(outcome.result) if outcome.result else ())
    order = _in_order([*written], reached)
    names = {column: _unused_name(f"{task}.{column}", read) for column in [*order, "error"]}

    def rows() -> Iterator[Cells]:
        for record, outcome in reached:
            cells = {name: _readable(value) for name, value in record.fields.items()}
            cells |= {names[key]: value for key, value in flat(outcome.result).items()} if outcome.result else {}
            yield {**cells, names["error"]: outcome.error or None}

    return [*read, *names.values()], rows()


def write_csv(stream: TextIO, columns: Sequence[str], rows: Iterable[Cells]) -> None:
    """Write a header and the rows. A text that a spreadsheet could take for a formula gets a leading apostrophe."""
    writer = csv.writer(stream)
    writer.writerow([_escape_formula(column) for column in columns])
    writer.writerows([_escape_formula(row.get(column)) for column in columns] for row in rows)


def write_jsonl(path: Path, records: Sequence[Row], outcomes: Sequence[Outcome | None]) -> None:
    """Write one object per line: `input` as it was read, `result` or null, `error` or null."""
    with path.open("w", encoding="utf-8", errors="replace", newline="\n") as stream:
        for record, outcome in zip(records, outcomes, strict=True):
            if outcome:
                result = outcome.result.model_dump(mode="json") if outcome.result else None
                line = {"input": dict(record.fields), "result": result, "error": outcome.error or None}
                stream.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")


def write_xlsx(path: Path, columns: Sequence[str], rows: Iterable[Cells]) -> None:
    """Write a workbook of one sheet. Every text is stored and marked as text, so that none is taken for a formula."""
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("results")
    sheet.freeze_panes = "A2"
    sheet.append([_cell(sheet, column) for column in columns])
    for row in rows:
        sheet.append([_cell(sheet, row.get(column)) for column in columns])
    book.save(path)


def write_all(
    folder: Path, stem: str, task: str, records: Sequence[Row], outcomes: Sequence[Outcome | None]
) -> dict[str, Path]:
    """Write the three files into a new folder; their paths by format: csv, jsonl, xlsx."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w-]+", "-", stem).strip("-")[:60] or "batch"
    paths = {kind: folder / f"{name}-{task}.{kind}" for kind in ("csv", "jsonl", "xlsx")}
    columns, rows = table_of(task, records, outcomes)
    table = list(rows)
    # Excel needs the byte order mark to recognize UTF-8.
    with paths["csv"].open("w", encoding="utf-8-sig", errors="replace", newline="") as stream:
        write_csv(stream, columns, table)
    write_jsonl(paths["jsonl"], records, outcomes)
    write_xlsx(paths["xlsx"], columns, table)
    return paths


def _by_type(name: str, value: Any) -> Cells:
    """The texts of labelled spans, joined for each label."""
    cells: dict[str, list[str]] = {}
    for item in value if isinstance(value, tuple | list) else ():
        label, words = getattr(item, "label", None), getattr(item, "text", None)
        if isinstance(label, str) and isinstance(words, str):
            cells.setdefault(f"{name}.{label}", []).append(words)
    return {column: "; ".join(cells[column]) for column in sorted(cells)}


def _in_order(columns: list[str], reached: Sequence[tuple[Row, Outcome]]) -> list[str]:
    """Columns sorted by the position of their field in the result's type, then by name."""
    result = next((outcome.result for _, outcome in reached if outcome.result), None)
    fields = list(type(result).model_fields) if result else []
    # Fields that every result has (model, adapter, ...) come last.
    specific = [name for name in fields if name not in Result.model_fields]
    places = {name: place for place, name in enumerate([*specific, *Result.model_fields])}

    def place(column: str) -> tuple[int, str]:
        field = column if column in places else column.split(".", 1)[0]
        return places.get(field, len(places)), "" if column == field else column

    return sorted(columns, key=place)


def _unused_name(name: str, taken: Sequence[str]) -> str:
    """The name, with a number if the input has such a column: an exported table may be the input of another batch."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


def _readable(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else json.dumps(value, ensure_ascii=False)


def _escape_formula(value: Any) -> Any:
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def _cell(sheet: Any, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    from openpyxl.cell import WriteOnlyCell

    value = _FORBIDDEN.sub("\ufffd", value)
    if len(value) > _CELL:
        value = value[: _CELL - len(_CUT)] + _CUT
    cell = WriteOnlyCell(sheet, value)
    cell.data_type = "s"
    cell.quotePrefix = bool(_FORMULA.match(value))
    return cell
