"""The columns of a table by field: named by the caller, or matched by the usual names in public data sets."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nlptasks.data.rows import is_missing
from nlptasks.errors import DataError

if TYPE_CHECKING:
    from nlptasks.task import Task

COMMON: dict[str, tuple[str, ...]] = {
    "text": (
        *("text", "sentence", "review", "content", "tweet", "comment", "message", "document", "body", "utterance"),
        *("article", "review_text", "reviewtext", "review_body", "input", "query", "title"),
    ),
    # Columns of names come before those that often hold numbers.
    "label": (
        *("label_text", "label_name", "class_name", "sentiment", "label", "labels", "class", "category"),
        *("polarity", "intent", "target", "gold", "rating", "stars"),
    ),
    "question": ("question", "query"),
    "context": ("context", "passage", "paragraph", "document", "text"),
    "prompt": ("prompt", "instruction", "text", "question"),
    "target_language": ("target_language", "target", "to"),
    "source_language": ("source_language", "language", "lang", "from"),
}
"""Usual column names by field, in order of preference."""


def match_columns(
    source: str,
    columns: Sequence[str],
    fields: Sequence[str],
    named: Mapping[str, str] | None = None,
    *,
    required: Sequence[str] = (),
    hint: str = "",
) -> dict[str, str]:
    """The column of each field that has one, regardless of case; no column is used twice.

    `named` maps fields to the columns that the caller names; other fields are matched by their usual names. `hint`
    tells how to name the column of a required field.

    Raises:
        DataError: a named column or that of a required field is missing; the near miss is named.
    """
    matched = {field: _named(source, columns, column) for field, column in (named or {}).items() if field in fields}
    for field in fields:
        if field in matched:
            continue
        free = {column.strip().casefold(): column for column in reversed(columns) if column not in matched.values()}
        usual = COMMON.get(field, (field,))
        column = next((free[name] for name in usual if name in free), None)
        if column is not None:
            matched[field] = column
        elif field in required:
            raise DataError(
                f"{source}: expected a {field} column ({', '.join(usual[:5])}, ...), found {_listed(columns)}. "
                + (hint or f"Name it with --columns {field}=NAME; a CSV or TSV file needs a header line.")
            )
    return matched


def input_columns(
    task: Task[Any, Any, Any],
    source: str,
    columns: Sequence[str],
    named: Mapping[str, str | None] | None = None,
    present: Collection[str] = (),
    *,
    hint: str = "",
) -> dict[str, str]:
    """The column of each field of a task's input, without those that are `present` already or named None.

    Raises:
        DataError: a required field has no column, or `named` has an unknown field.
    """
    known = task.input_type.model_fields
    for field in (named or {}).keys() - known.keys():
        raise DataError(f"--columns: expected a field of {task.name} ({', '.join(known)}), found {field!r}.")
    fields = [name for name in known if name not in present and (named or {}).get(name, name) is not None]
    columns_of = {field: column for field, column in (named or {}).items() if column is not None}
    needed = [name for name in fields if known[name].is_required()]
    matched = match_columns(source, columns, fields, columns_of, required=needed, hint=hint)
    # If no field is required, the task takes one of several.
    return matched or match_columns(source, columns, fields, required=() if present else fields[:1], hint=hint)


def field_values(task: Task[Any, Any, Any], cells: Mapping[str, Any]) -> dict[str, Any]:
    """A row's values by field, without missing ones of optional fields, which then have their default."""
    known = task.input_type.model_fields
    return {name: cell for name, cell in cells.items() if known[name].is_required() or not is_missing(cell)}


def _named(source: str, columns: Sequence[str], name: str) -> str:
    if name in columns:
        return name
    folded = [column for column in columns if column.casefold() == name.strip().casefold()]
    if len(folded) == 1:
        return folded[0]
    near = difflib.get_close_matches(name, columns, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise DataError(f"{source}: expected a column {name!r}, found {_listed(columns)}.{hint}")


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns[:20]) or "none"
