"""Labelled texts out of records: columns found or named, every bad row listed before any model loads."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nlptasks.data.splits import conflicts
from nlptasks.data.tables import Record, Table, read_tables
from nlptasks.errors import DataError

TEXT_COLUMNS = (
    *("text", "sentence", "review", "content", "tweet", "comment", "message", "document", "body", "utterance"),
    *("review_text", "reviewtext", "review_body", "input", "query", "title"),
)
LABEL_COLUMNS = (
    *("label_text", "label_name", "class_name", "sentiment", "label", "labels", "class", "category"),
    *("polarity", "intent", "target", "gold", "rating", "stars"),
)
"""Columns with names stand before those that often hold numbers."""

_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"\d+")
_NAMELESS = re.compile(r"(?:label|class)?[_ ]?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class DataOptions:
    """How to read data. Columns that are None are found by common names.

    `labels` replaces the task's own label names. `max_rows` limits the training rows. `held_out` is the share
    of the rows that is kept from training when no validation data is given.
    """

    text_column: str | None = None
    label_column: str | None = None
    labels: tuple[str, ...] | None = None
    max_rows: int | None = None
    held_out: float = 0.1
    rename: Mapping[str, str] = field(default_factory=dict)
    allow_misaligned: bool = False


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
    columns = [_find_columns(table, options) for table in tables]
    tables = [_renamed(*pair, options.rename, multi_label) for pair in zip(tables, columns, strict=True)]
    pairs = list(zip(tables, columns, strict=True))
    names = _label_names(pairs, tuple(options.labels or labels or ()), multi_label)
    problems: list[str] = []
    rows: list[Example] = []
    for table, chosen in pairs:
        faults = list(table.problems)
        for record in table.records:
            example = _read_row(record, table, chosen, names, multi_label, faults)
            if example:
                rows.append(example)
        problems += sorted(faults, key=lambda fault: _line(fault, table.source))
    if problems:
        count = len(problems)
        what = f"{count} bad row{'s' if count > 1 else ''}; nothing was loaded. Labels are {', '.join(names)}."
        raise DataError(what, problems)
    if not rows:
        raise DataError(f"{', '.join(table.source for table in tables)}: expected rows, found none.")
    result = Examples(rows, names, [describe(table) for table in tables], _notes(pairs, names))
    result.warnings = _warnings(rows, names)
    return result


def read_texts(sources: Sequence[str], *, text_column: str | None = None, offline: bool = False) -> list[str]:
    """The texts of sources whose labels do not matter; raises DataError for columns that are not there."""
    texts = []
    for table in read_tables(sources, offline=offline, split="test"):
        if table.problems:
            raise DataError(f"{table.source} has bad rows.", table.problems)
        column = _find_column(table, "text", text_column, TEXT_COLUMNS)
        texts += [value for record in table.records if isinstance(value := record.fields.get(column), str)]
    return texts


def count_labels(rows: Sequence[Example], labels: Sequence[str]) -> dict[str, int]:
    """How many rows each label has, labels without rows included."""
    counts = Counter(index for row in rows for index in ([row.label] if isinstance(row.label, int) else row.label))
    return {name: counts[index] for index, name in enumerate(labels)}


def _find_columns(table: Table, options: DataOptions) -> _Columns:
    if not table.columns:
        faults = table.problems or [f"{table.source}: expected a header line and rows, found an empty file."]
        raise DataError("The data cannot be read.", faults)
    text = _find_column(table, "text", options.text_column, TEXT_COLUMNS)
    label = _find_column(table, "label", options.label_column, LABEL_COLUMNS)
    return _Columns(text, label)


def _find_column(table: Table, what: str, named: str | None, common: Sequence[str]) -> str:
    listed = ", ".join(table.columns[:20]) or "none"
    if named is not None:
        if named in table.columns:
            return named
        near = difflib.get_close_matches(named, table.columns, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(f"{table.source}: expected a column {named!r}, found {listed}.{hint}")
    found = common_column(table.columns, common)
    if found is not None:
        return found
    raise DataError(
        f"{table.source}: expected a {what} column ({', '.join(common[:5])}, ...), found {listed}. "
        f"Name it with --{what}-column; a CSV or TSV file needs a header line."
    )


def common_column(columns: Sequence[str], common: Sequence[str]) -> str | None:
    """The first of the common names that one of the columns has, whatever its case; None if none does."""
    by_name = {column.strip().casefold(): column for column in reversed(columns)}
    return next((by_name[name] for name in common if name in by_name), None)


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
        for record in table.records:
            for value in _values(record.fields.get(columns.label), multi_label):
                if not _is_missing(value):
                    names.add(str(value).strip())
    return sorted(names)


def _renamed(table: Table, columns: _Columns, names: Mapping[str, str], multi_label: bool) -> Table:
    """The table with some of its labels called by other names."""
    if not names:
        return table

    def new(value: Any) -> Any:
        return names.get(str(value).strip(), value)

    records = []
    for record in table.records:
        values = [new(value) for value in _values(record.fields.get(columns.label), multi_label)]
        records.append(Record(record.place, {**record.fields, columns.label: values if multi_label else values[0]}))
    known = {column: tuple(map(new, own)) for column, own in table.class_names.items()}
    return dataclasses.replace(table, records=records, class_names=known)


def _read_row(
    record: Record,
    table: Table,
    columns: _Columns,
    names: tuple[str, ...],
    multi_label: bool,
    problems: list[str],
) -> Example | None:
    faults = []
    text = record.fields.get(columns.text)
    if _is_missing(text):
        faults.append(f"{columns.text}: expected a text, found none")
    elif not isinstance(text, str):
        faults.append(f"{columns.text}: expected a text, found {_show(text)}")
    indices = []
    value = record.fields.get(columns.label)
    for one in _values(value, multi_label):
        index, fault = _label_index(one, names, table.class_names.get(columns.label))
        if fault:
            faults.append(f"{columns.label}: {fault}")
        else:
            indices.append(index)
    if faults:
        problems.append(f"{record.place}: {'; '.join(faults)}.")
        return None
    assert isinstance(text, str)
    return Example(text, tuple(sorted(set(indices))) if multi_label else indices[0], record.place)


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
    if _is_missing(value):
        return 0, "expected a label, found none"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return 0, f"expected a label, found {_show(value)}"
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


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    )


def _show(value: Any) -> str:
    shown = repr(value)
    return f"{shown if len(shown) <= 40 else shown[:37] + '...'} ({type(value).__name__})"


def _line(fault: str, source: str) -> int:
    """The row number in a fault's place, so that faults are listed in the file's order."""
    number = _NUMBER.search(fault, len(source))
    return int(number[0]) if number else 0


def describe(table: Table) -> dict[str, Any]:
    """What a manifest says of a source: name, rows, SHA-256, revision."""
    name = table.source if table.source.startswith("hub:") else Path(table.source).name
    described: dict[str, Any] = {"name": name, "rows": len(table.records)}
    if table.sha256:
        described["sha256"] = table.sha256
    if table.revision:
        described["revision"] = table.revision
    return described


def _notes(pairs: Sequence[tuple[Table, _Columns]], names: tuple[str, ...]) -> list[str]:
    notes = []
    for table, columns in pairs:
        notes.append(f"{table.source}: {len(table.records)} rows, text in {columns.text!r}, label in {columns.label!r}")
        first = table.records[0].fields.get(columns.label) if table.records else None
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
