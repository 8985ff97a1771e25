"""JSON: one object per line, a list of objects, or an object of columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nlptasks.data.columns import COMMON
from nlptasks.data.files import DataFile, lines, whole
from nlptasks.data.rows import Row, Table
from nlptasks.data.text import TEXT
from nlptasks.errors import DataError

TOKENS = ("tokens", "words")

_SINGLE = {name for field in (TEXT, "question", "context", "prompt") for name in COMMON[field]}
"""Names of text fields: an object with one of them is a row, not a wrapper of rows."""


def json_lines(file: DataFile, table: Table) -> Iterator[Row]:
    """A row for each line that is not blank."""
    with file.text() as stream:
        # Not splitlines(): it would also cut at U+2028 and the like, which JSON strings may hold.
        for number, line in enumerate(lines(stream, file.name), start=1):
            if line.strip():
                place = f"{file.name}:{number}"
                try:
                    yield _row(place, _parse(line), table)
                except (ValueError, RecursionError) as error:
                    yield Row(place, fault=f"expected a JSON object, found {_why(error)}.")


def json_file(file: DataFile, table: Table) -> Iterator[Row]:
    """The rows of a JSON value, which is read at once."""
    try:
        with file.text() as stream:
            content = _parse(whole(stream, file.name))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            # Files of one object per line are often called .json.
            yield from json_lines(file, table)
            return
        raise DataError(f"{file.name}:{error.lineno}: expected JSON, found a fault: {error.msg}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file.name}: expected JSON, found {_why(error)}.") from error
    for number, item in enumerate(_items(file.name, content), start=1):
        yield _row(f"{file.name}: item {number}", item, table)


def _parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two values of the name {twice!r}")
    return values


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "one nested too deeply"
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    more = error.doc[error.pos :].strip()[:20]
    return f"more behind it ({more!r})" if error.msg == "Extra data" else f"broken JSON ({error.msg})"


def _row(place: str, value: Any, table: Table) -> Row:
    match value:
        case [str() as text, dict() as annotations] if "entities" in annotations:
            # spaCy's training pairs are the one common format without objects.
            value = {TEXT: text, **annotations}
        case [{"role": _}, *_]:
            value = {"messages": value}
        case str():
            return Row(place, {TEXT: value}, bare=True)
    if not isinstance(value, dict):
        return Row(place, fault=f"expected a JSON object, found {type(value).__name__}.")
    table.columns += tuple(name for name in value if name not in table.columns)
    return Row(place, value)


def _items(name: str, content: Any) -> Sequence[Any]:
    """The rows of a whole file: a list, a list within an object, columns, or one object."""
    if isinstance(content, list):
        return content
    if not isinstance(content, dict):
        raise DataError(f"{name}: expected a JSON array of objects, found {type(content).__name__}.")
    values = list(content.values())
    lists = [value for value in values if isinstance(value, list)]
    if len(lists) == 1 and all(isinstance(item, dict | list) for item in lists[0]) and not _SINGLE & content.keys():
        return lists[0]
    if values and all(isinstance(value, Mapping) for value in values) and len({tuple(value) for value in values}) == 1:
        # pandas' default: column, index, value.
        return [{column: cells[index] for column, cells in content.items()} for index in values[0]]
    # Tokens and their tags look like columns, but are one sentence.
    tokens = next((content[column] for column in TOKENS if column in content), None)
    if values and len(lists) == len(values) and not (tokens and isinstance(tokens[0], str)):
        if len({len(value) for value in lists}) > 1:
            lengths = ", ".join(f"{column} {len(value)}" for column, value in content.items())
            raise DataError(f"{name}: expected columns of one length, found {lengths}.")
        return [dict(zip(content, cells, strict=True)) for cells in zip(*lists, strict=True)]
    return [content]
