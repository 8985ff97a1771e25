"""Labelled texts: their columns, their labels, and every bad row, before any model is loaded."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from nlptasks.data.columns import match_columns
from nlptasks.data.rows import DataOptions as DataOptions
from nlptasks.data.rows import Row, RowFault, Source, Table, is_missing, plural, show
from nlptasks.data.splits import conflicts
from nlptasks.data.tables import Findings, read_tables
from nlptasks.errors import DataError

_INTEGER = re.compile(r"([+-]?\d+)(?:\.0+)?")
"""A whole number; pandas writes a column of integers with a missing one as 0.0 and 1.0."""
_ENDS = re.compile("^[\\s\u200b\u2060\ufeff]+|[\\s\u200b\u2060\ufeff]+$")
_NAMELESS = re.compile(r"(?:label|class)?[_ ]?\d+(?:\.0+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Example:
    """One labelled text; `label` is the index of a label, or the sorted indices of a multi-label row."""

    text: str
    label: int | tuple[int, ...]
    place: str


@dataclass
class Examples:
    """All labelled texts; `notes` describe how they were read, `warnings` what to look at."""

    rows: list[Any]
    labels: tuple[str, ...] = ()
    sources: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows each label has."""
        return count_labels(self.rows, self.labels)


MOST_LABELS = 30
"""Unknown labels that are listed, at most: more of them are hardly labels."""

Columns = dict[str, str]
"""The columns of a table by field: text, label."""


def read_examples(
    tables: Sequence[Table],
    *,
    labels: Sequence[str] | None,
    options: DataOptions | None = None,
    multi_label: bool = False,
) -> Examples:
    """Read, check and join labelled texts.

    Args:
        tables: from `read_tables`.
        labels: the task's label names, in order; None for those of the data.
        options: the caller's columns and label names.
        multi_label: whether a row may have several labels: a list, or names joined by `|`.

    Raises:
        DataError: naming every bad row of every source.
    """
    options = options or DataOptions()
    columns = {table.source: _columns(table, options) for table in tables}
    tables = [_renamed(table, columns[table.source]["label"], options.rename, multi_label) for table in tables]
    names = _label_names(tables, columns, tuple(options.labels or labels or ()), multi_label)
    hint = f" Labels are {', '.join(names)}.{_other_labels(tables, columns, names, multi_label)}"
    findings: Findings[Example] = Findings("labels", hint=hint)
    left: Counter[str] = Counter()

    def read(row: Row, table: Table) -> Example | None:
        example = _read_row(row, table, columns[table.source], names, multi_label)
        others = [name for name in _label_names_of(example, names) if not options.wants(name)]
        left.update(others)
        return None if others else example

    rows = findings.read(tables, read)
    notes = findings.notes + _notes(tables, columns, names)
    if left:
        listed = ", ".join(f"{name} ({count})" for name, count in left.most_common())
        notes.append(f"rows with other labels left out: {listed}")
    return Examples(rows, names, [describe(table) for table in tables], notes, _warnings(rows, names))


def read_texts(sources: Sequence[Source], options: DataOptions, *, offline: bool = False) -> list[str]:
    """The texts of sources, without their labels; raises DataError if there is no text column."""
    texts = []
    for table in read_tables(sources, options, offline=offline, split="test"):
        if table.problems:
            raise DataError(f"{table.source} has bad rows.", table.problems)
        column = _columns(table, options, ("text",))["text"]
        texts += [value for row in table.rows if isinstance(value := row.fields.get(column), str)]
    return texts


def count_labels(rows: Sequence[Example], labels: Sequence[str]) -> dict[str, int]:
    """How many rows each label has, labels without rows included."""
    counts = Counter(index for row in rows for index in ([row.label] if isinstance(row.label, int) else row.label))
    return {name: counts[index] for index, name in enumerate(labels)}


def _columns(table: Table, options: DataOptions, fields: Sequence[str] = ("text", "label")) -> Columns:
    if not table.columns:
        faults = table.problems or [f"{table.source}: expected a header line and rows, found an empty file."]
        raise DataError("The data cannot be read.", faults)
    named = {field: column for field in fields if (column := options.column(field))}
    return match_columns(table.source, table.columns, fields, named, required=fields)


def _label_names(
    tables: Sequence[Table], columns: dict[str, Columns], names: tuple[str, ...], multi_label: bool
) -> tuple[str, ...]:
    """The caller's or the task's names, checked; those of the data if there are none."""
    if not names:
        names = _names_in_data(tables, columns, multi_label)
        nameless = [name for name in names if _NAMELESS.fullmatch(name)]
        if nameless:
            raise DataError(
                f"Label names are required: the data has {', '.join(nameless[:5])}. Give the names in the order of "
                "the numbers, as in --labels negative,positive, or a column label_text with the names."
            )
    if len(set(names)) < len(names):
        raise DataError(f"Labels: expected different names, found {', '.join(names)}.")
    if len(names) < 2:
        raise DataError(f"Labels: expected at least two, found {', '.join(names) or 'none'}.")
    return names


def _other_labels(
    tables: Sequence[Table], columns: dict[str, Columns], names: tuple[str, ...], multi_label: bool
) -> str:
    """Which labels of the data are not among `names`, and the flag that helps; "" if there are none, or too many."""
    in_data = _names_in_data(tables, columns, multi_label)
    known = {name.casefold() for name in names}
    others = [name for name in in_data if name.casefold() not in known and not _is_index(name, names)]
    if not others or len(others) > MOST_LABELS:
        return ""
    similar = {
        other: [name for name in names if name.casefold().startswith(other.casefold())]
        for other in others
        if len(other) > 1
    }
    if len(similar) == len(others) and all(len(candidates) == 1 for candidates in similar.values()):
        flags = " ".join(f"--rename {quote(f'{other}={candidates[0]}')}" for other, candidates in similar.items())
        return f" The data calls them {', '.join(others)}: give {flags}."
    used = names if len(others) < len(in_data) else ()
    every, one = quote(",".join([*used, *others])), quote(f"{others[0]}={names[0]}")
    flag = "" if all(map(_INTEGER.fullmatch, others)) else f"--labels {every} reads all of them; "
    return (
        f" The data also has {', '.join(others)}. {flag}--rename {one} makes one label another; else leave these rows "
        "out."
    )


def _is_index(name: str, names: Sequence[str]) -> bool:
    number = _INTEGER.fullmatch(name)
    return number is not None and 0 <= int(number[1]) < len(names)


def _names_in_data(tables: Sequence[Table], columns: dict[str, Columns], multi_label: bool) -> tuple[str, ...]:
    names: set[str] = set()
    for table in tables:
        column = columns[table.source]["label"]
        if table.class_names.get(column):
            return table.class_names[column]
        values = (value for row in table.rows for value in _values(row.fields.get(column), multi_label))
        names |= {_name(value) for value in values if not is_missing(value) and isinstance(value, str | float | int)}
    return tuple(sorted(names))


def _renamed(table: Table, column: str, names: Mapping[str, str], multi_label: bool) -> Table:
    """The table with some of its labels renamed."""
    if not names:
        return table

    def new(value: Any) -> Any:
        return names.get(_name(value), value)

    renamed = []
    for row in table.rows:
        values = [new(value) for value in _values(row.fields.get(column), multi_label)]
        renamed.append(Row(row.place, {**row.fields, column: values if multi_label else values[0]}))
    class_names = {name: tuple(map(new, classes)) for name, classes in table.class_names.items()}
    return dataclasses.replace(table, rows=renamed, class_names=class_names)


def _read_row(row: Row, table: Table, columns: Columns, names: tuple[str, ...], multi_label: bool) -> Example:
    faults: list[str] = []
    text = row.fields.get(columns["text"])
    if is_missing(text) or not isinstance(text, str):
        faults.append(f"{columns['text']}: expected a text, found {'none' if is_missing(text) else show(text)}")
    indices: list[int] = []
    for value in _values(row.fields.get(columns["label"]), multi_label):
        try:
            indices.append(_label_index(value, names, table.class_names.get(columns["label"], ())))
        except RowFault as fault:
            faults.append(f"{columns['label']}: {fault}")
    if faults:
        raise RowFault(f"{'; '.join(faults)}.")
    return Example(str(text), tuple(sorted(set(indices))) if multi_label else indices[0], row.place)


def _label_names_of(example: Example, names: Sequence[str]) -> list[str]:
    return [names[index] for index in ((example.label,) if isinstance(example.label, int) else example.label)]


def _values(value: Any, multi_label: bool) -> list[Any]:
    """The labels of one row: exactly one, or any number for a multi-label task."""
    if multi_label and isinstance(value, list | tuple):
        return list(value)
    if multi_label and isinstance(value, str):
        return [part for part in value.split("|") if part.strip()]
    return [value]


def _name(value: Any) -> str:
    """A label's name, without white space and invisible characters at its ends."""
    return _ENDS.sub("", str(value))


def _label_index(value: Any, names: tuple[str, ...], class_names: tuple[str, ...]) -> int:
    """The index of a label: its name in any case, or its number; raises RowFault."""
    if is_missing(value):
        raise RowFault("expected a label, found none")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        raise RowFault(f"expected a label, found {show(value)}")
    name = _name(value)
    if type(value) is int and 0 <= value < len(class_names):
        name = class_names[value]
    if name in names:
        return names.index(name)
    folded = [other.casefold() for other in names]
    if folded.count(name.casefold()) == 1:
        return folded.index(name.casefold())
    if number := _INTEGER.fullmatch(name):
        if 0 <= int(number[1]) < len(names):
            return int(number[1])
        raise RowFault(f"expected a number from 0 to {len(names) - 1} or a label's name, found {name}")
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    hint = f"did you mean {names[folded.index(near[0])]!r}" if near else f"labels are {', '.join(names)}"
    raise RowFault(f"unknown label {name!r}; {hint}")


def describe(table: Table) -> dict[str, Any]:
    """A source in a manifest: name, rows, SHA-256, revision."""
    name = table.source if table.source.startswith("hub:") else Path(table.source).name
    optional = {"sha256": table.sha256, "revision": table.revision}
    return {"name": name, "rows": len(table.rows), **{key: value for key, value in optional.items() if value}}


def _notes(tables: Sequence[Table], columns: dict[str, Columns], names: tuple[str, ...]) -> list[str]:
    notes = []
    for table in tables:
        text, label = columns[table.source]["text"], columns[table.source]["label"]
        left = [name for name in table.columns if name not in {text, label, *table.known}]
        ignored = f"; not read: {', '.join(left)}" if left else ""
        notes.append(f"{table.source}: {plural(len(table.rows), 'row')}, text in {text!r}, label in {label!r}{ignored}")
        first = str(table.rows[0].fields.get(label)).strip() if table.rows else ""
        if _INTEGER.fullmatch(first) and first not in names and label not in table.class_names:
            meaning = ", ".join(f"{index} = {name}" for index, name in enumerate(names))
            notes.append(f"{table.source}: numbers are read as {meaning}")
    return notes


def _warnings(rows: list[Example], names: tuple[str, ...]) -> list[str]:
    warnings = []
    unequal = conflicts(rows, text=lambda row: row.text, label=lambda row: row.label)
    if unequal:
        pairs = "; ".join(f"{one.place} and {other.place}" for one, other in unequal[:3])
        more = f" and {len(unequal) - 3} more" if len(unequal) > 3 else ""
        warnings.append(f"{plural(len(unequal), 'row')} with the text of another and another label: {pairs}{more}")
    return [*warnings, *scarce_labels(count_labels(rows, names))]


def scarce_labels(counts: Mapping[str, int]) -> list[str]:
    """Warnings of labels with no row, or with a single one, which is never held out."""
    empty, single = ([name for name, count in counts.items() if count == number] for number in (0, 1))
    warnings = [f"no row has the label {', '.join(empty)}"] if empty else []
    if single:
        warnings.append(f"a single row has the label {', '.join(single)}: it is not held out, so no metric is about it")
    return warnings
