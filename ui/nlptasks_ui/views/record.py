"""A result of any type: its main field as a headline, the others in a table."""

from __future__ import annotations

from typing import Any

from nlptasks import Result
from nlptasks_ui.html import box, element, text

MAX_NUMBERS = 8
"""The most numbers of a list that are visible."""

_COMMON = frozenset(Result.model_fields)


def view(result: Result, _: Any) -> str:
    """Every field that not all results have; nested values become tables and lists."""
    fields = {name: value for name, value in result.model_dump(mode="json").items() if name not in _COMMON}
    main = result.main_field or (next(iter(fields)) if len(fields) == 1 else "")
    answer = fields.pop(main, None) if main else None
    parts = [_headline(answer)] if main else []
    parts += [value_of(fields)] if fields else []
    return "".join(parts)


def value_of(value: Any) -> str:
    """A JSON value as HTML."""
    if isinstance(value, dict):
        rows = [element("tr", element("th", text(_title(k)), scope="row"), element("td", value_of(v))) for k, v in value.items()]  # fmt: skip  # noqa: E501
        return element("table", *rows, class_="nlp-table")
    if isinstance(value, list) and value and all(map(_is_flat, value)):
        heads = element("tr", *(element("th", text(_title(name)), scope="col") for name in value[0]))
        body = [element("tr", *(element("td", value_of(cell)) for cell in row.values())) for row in value]
        return box("wide", element("table", heads, *body, class_="nlp-table"))
    if isinstance(value, list) and len(value) > MAX_NUMBERS and all(isinstance(item, float) for item in value):
        return text(f"{len(value)} numbers: {', '.join(map(value_of, value[:MAX_NUMBERS]))}, …")
    if isinstance(value, list):
        return element("ul", *(element("li", value_of(item)) for item in value), class_="nlp-list") if value else "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return "–" if value is None else text(value)


def _is_flat(value: Any) -> bool:
    return isinstance(value, dict) and not any(isinstance(item, dict | list) for item in value.values())


def _headline(value: Any) -> str:
    if isinstance(value, str) and len(value) > 80:
        return box("text", text(value))
    return box("headline", value_of(value))


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
