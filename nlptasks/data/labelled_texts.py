"""Labelled texts out of records: columns found or named, every bad row listed before any model loads."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nlptasks.data.columns import match_columns
from nlptasks.data.rows import DataOptions as DataOptions
from nlptasks.data.rows import Row, Table, is_missing, show
from nlptasks.data.splits import conflicts
from nlptasks.data.tables import in_order, read_tables
from nlptasks.errors import DataError

_INTEGER = re.compile(r"[+-]?\d+")
_NAMELESS = re.compile(r"(?:label|class)?[_ ]?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Example:
    """One labelled text; `label` is the index of a label, or the sorted indices of a multi-label row."""

    text: str
    label: int | tuple[int, ...]
    place: str


@dataclass
class Examples:
    """All labelled texts of some sources; `notes` say how they were read, `warnings` what to look at."""

    rows: list[Example]
    labels: tuple[str, ...]
    sources: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows each label has."""
        return count_labels(self.rows, self.labels)


@dataclass(frozen=True)
class _Columns:
    text: str
    label: str


def read_examples(
    tables: Sequence[Table],
    *,
    labels: Sequence[str] | None,
    options: DataOptions | None = None,
    multi_label: bool = False,
) -> Examples:
    """Read, check and join labelled texts.

    Args:
        tables: what `read_tables` found.
        labels: the task's label names, in order; None to take the names that stand in the data.
        options: columns and label names that the caller gives.
        multi_label: whether a row may have several labels: a list, or names joined by `|`.

    Raises:
        DataError: naming every bad row of every source.
    """
    options = options or DataOptions()
    columns = [_Columns(**_find_columns(table, options)) for table in tables]
    tables = [_renamed(*pair, options.rename, multi_label) for pair in zip(tables, columns, strict=True)]
    pairs = list(zip(tables, columns, strict=True))
    names = _label_names(pairs, tuple(options.labels or labels or ()), multi_label)
    problems: list[str] = []
    rows: list[Example] = []
    for table, chosen in pairs:
        faults = list(table.problems)
        for row in table.rows:
            example = _read_row(row, table, chosen, names, multi_label, faults)
            if example:
                rows.append(example)
        problems += in_order(table.source, faults)
    if problems:
        count = len(problems)
        what = f"{count} bad row{'s' if count > 1 else ''}; nothing was loaded. Labels are {', '.join(names)}."
        raise DataError(what, problems)
    if not rows:
        raise DataError(f"{', '.join(table.source for table in tables)}: expected rows, found none.")
    result = Examples(rows, names, [describe(table) for table in tables], _notes(pairs, names))
    result.warnings = _warnings(rows, names)
    return result


def read_texts(sources: Sequence[str], options: DataOptions, *, offline: bool = False) -> list[str]:
    """The texts of sources whose labels do not matter; raises DataError for columns that are not there."""
    texts = []
    for table in read_tables(sources, options, offline=offline, split="test"):
        if table.problems:
            raise DataError(f"{table.source} has bad rows.", table.problems)
        column = _find_columns(table, options, ("text",))["text"]
        texts += [value for row in table.rows if isinstance(value := row.fields.get(column), str)]
    return texts


def count_labels(rows: Sequence[Example], labels: Sequence[str]) -> dict[str, int]:
    """How many rows each label has, labels without rows included."""
    counts = Counter(index for row in rows for index in ([row.label] if isinstance(row.label, int) else row.label))
    return {name: counts[index] for index, name in enumerate(labels)}


def _find_columns(table: Table, options: DataOptions, fields: Sequence[str] = ("text", "label")) -> dict[str, str]:
    if not table.columns:
        faults = table.problems or [f"{table.source}: expected a header line and rows, found an empty file."]
        raise DataError("The data cannot be read.", faults)
    named = {field: column for field in fields if (column := options.column(field))}
    return match_columns(table.source, table.columns, fields, named, required=fields)


def _label_names(pairs: Sequence[tuple[Table, _Columns]], given: tuple[str, ...], multi_label: bool) -> tuple[str, ...]:
    """The label names, from the caller, the task or the data, in this order."""
    if given:
        if len(set(given)) < len(given):
            raise DataError(f"Labels: expected different names, found {', '.join(given)}.")
    else:
        given = tuple(_names_in_data(pairs, multi_label))
        nameless = [name for name in given if _NAMELESS.fullmatch(name)]
        if nameless:
            raise DataError(
                f"Label names are required: the data has {', '.join(nameless[:5])}. Give the names in the order of "
                "the numbers, as in --labels negative,positive, or a column label_text with the names."
            )
    if len(given) < 2:
        raise DataError(f"Labels: expected at least two, found {', '.join(given) or 'none'}.")
    return given


def _names_in_data(pairs: Sequence[tuple[Table, _Columns]], multi_label: bool) -> list[str]:
    names: set[str] = set()
    for table, columns in pairs:
        own = table.class_names.get(columns.label)
        if own:
            return list(own)
        for row in table.rows:
            for value in _values(row.fields.get(columns.label), multi_label):
                if not is_missing(value):
                    names.add(str(value).strip())
    return sorted(names)


def _renamed(table: Table, columns: _Columns, names: Mapping[str, str], multi_label: bool) -> Table:
    """The table with some of its labels called by other names."""
    if not names:
        return table

    def new(value: Any) -> Any:
        return names.get(str(value).strip(), value)

    renamed = []
    for row in table.rows:
        values = [new(value) for value in _values(row.fields.get(columns.label), multi_label)]
        renamed.append(Row(row.place, {**row.fields, columns.label: values if multi_label else values[0]}))
    known = {column: tuple(map(new, own)) for column, own in table.class_names.items()}
    return dataclasses.replace(table, rows=renamed, class_names=known)


def _read_row(
    row: Row,
    table: Table,
    columns: _Columns,
    names: tuple[str, ...],
    multi_label: bool,
    problems: list[str],
) -> Example | None:
    faults = []
    text = row.fields.get(columns.text)
    if is_missing(text):
        faults.append(f"{columns.text}: expected a text, found none")
    elif not isinstance(text, str):
        faults.append(f"{columns.text}: expected a text, found {show(text)}")
    indices = []
    value = row.fields.get(columns.label)
    for one in _values(value, multi_label):
        index, fault = _label_index(one, names, table.class_names.get(columns.label))
        if fault:
            faults.append(f"{columns.label}: {fault}")
        else:
            indices.append(index)
    if faults:
        problems.append(f"{row.place}: {'; '.join(faults)}.")
        return None
    assert isinstance(text, str)
    return Example(text, tuple(sorted(set(indices))) if multi_label else indices[0], row.place)


def _values(value: Any, multi_label: bool) -> Iterator[Any]:
    """The labels of one row: exactly one, or any number for a multi-label task."""
    if not multi_label:
        yield value
    elif isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, str):
        yield from (part for part in value.split("|") if part.strip())
    else:
        yield value


def _label_index(value: Any, names: tuple[str, ...], class_names: tuple[str, ...] | None) -> tuple[int, str]:
    """The label's index and "", or 0 and what is wrong with it."""
    if is_missing(value):
        return 0, "expected a label, found none"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return 0, f"expected a label, found {show(value)}"
    name = str(value).strip()
    if class_names and isinstance(value, int):
        name = class_names[value] if 0 <= value < len(class_names) else name
    if name in names:
        return names.index(name), ""
    folded = [other.casefold() for other in names]
    if folded.count(name.casefold()) == 1:
        return folded.index(name.casefold()), ""
    if _INTEGER.fullmatch(name):
        index = int(name)
        if 0 <= index < len(names):
            return index, ""
        return 0, f"expected a number from 0 to {len(names) - 1} or a label's name, found {name}"
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    hint = f"did you mean {names[folded.index(near[0])]!r}" if near else f"labels are {', '.join(names)}"
    return 0, f"unknown label {name!r}; {hint}"


def describe(table: Table) -> dict[str, Any]:
    """What a manifest says of a source: name, rows, SHA-256, revision."""
    name = table.source if table.source.startswith("hub:") else Path(table.source).name
    described: dict[str, Any] = {"name": name, "rows": len(table.rows)}
    if table.sha256:
        described["sha256"] = table.sha256
    if table.revision:
        described["revision"] = table.revision
    return described


def _notes(pairs: Sequence[tuple[Table, _Columns]], names: tuple[str, ...]) -> list[str]:
    notes = []
    for table, columns in pairs:
        notes += table.notes
        notes.append(f"{table.source}: {len(table.rows)} rows, text in {columns.text!r}, label in {columns.label!r}")
        first = table.rows[0].fields.get(columns.label) if table.rows else None
        numeric = isinstance(first, int) or (isinstance(first, str) and _INTEGER.fullmatch(first.strip()))
        if numeric and str(first).strip() not in names and columns.label not in table.class_names:
            meaning = ", ".join(f"{index} = {name}" for index, name in enumerate(names))
            notes.append(f"{table.source}: numbers are read as {meaning}")
    return notes


def _warnings(rows: list[Example], names: tuple[str, ...]) -> list[str]:
    warnings = []
    unequal = conflicts(rows, text=lambda row: row.text, label=lambda row: row.label)
    if unequal:
        shown = "; ".join(f"{one.place} and {other.place}" for one, other in unequal[:3])
        more = f" and {len(unequal) - 3} more" if len(unequal) > 3 else ""
        warnings.append(f"{len(unequal)} rows repeat a text with another label: {shown}{more}")
    empty = [name for name, count in count_labels(rows, names).items() if not count]
    if empty:
        warnings.append(f"no row has the label {', '.join(empty)}")
    return warnings
