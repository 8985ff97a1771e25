"""Forms from types: the fields of a task's input and options become components, whose values become fields again.

A field's component follows from its type alone, so a plugin's task has a form without a line of UI code. The field's
description is the help text, `examples` of a string become choices, and `json_schema_extra={"format": "long"}` gives a
string a multi-line text box, `lines` a list of texts one with a text a line, `names` the names of labels.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from nlptasks import InvalidInputError
from nlptasks.surfaces import annotation_of, default_of, limits

if TYPE_CHECKING:
    from nlptasks import Task

UNSET = "unset"
"""The choice that omits an optional field."""

_YES_NO = {"yes": True, "no": False}
_ALTERNATIVES = re.compile(r"\^\(([\w-]+(?:\|[\w-]+)+)\)\$")
_LONG = re.compile(r"(?:the )?(?:text|document|article|passage|dialogue)\b", re.IGNORECASE)
_MAX_RADIO = 4
"""The most choices that are radio buttons; more become a dropdown."""


class _Empty:
    """The value of a component that the user left empty: its field is omitted."""


EMPTY = _Empty()


@dataclass(frozen=True)
class Entry:
    """One field and its component; `parse` makes a field's value of a component's value, `format` the reverse."""

    name: str
    component: Any
    parse: Callable[[Any], Any]
    format: Callable[[Any], Any]
    default: Any = None


@dataclass(frozen=True)
class Form:
    """The components of a type's fields, in order."""

    entries: Sequence[Entry]

    @property
    def components(self) -> list[Any]:
        return [entry.component for entry in self.entries]

    def fields(self, values: Sequence[Any]) -> dict[str, Any]:
        """The fields that the user filled in or changed.

        Raises:
            InvalidInputError: values that cannot be parsed; values out of bounds are left to the task's validation.
        """
        fields: dict[str, Any] = {}
        problems = []
        for entry, value in zip(self.entries, values, strict=True):
            try:
                parsed = entry.parse(value)
            except ValueError as error:
                problems.append(f"{_title(entry.name)}: {error}")
                continue
            if parsed is not EMPTY and parsed != entry.default:
                fields[entry.name] = parsed
        if problems:
            raise InvalidInputError("The form has invalid values", problems)
        return fields

    def values(self, fields: Mapping[str, Any]) -> list[Any]:
        """The values of the components for these fields; missing fields get their defaults."""
        plain = to_jsonable_python(dict(fields), fallback=str)
        return [entry.format(plain.get(entry.name, entry.default)) for entry in self.entries]


def build(model: type[BaseModel], *, labels: Iterable[str] = (), names: bool | None = None) -> Form:
    """The form of a type, in the current Blocks. `labels` are the choices of a field named `labels`.

    `names` leaves out all fields but those that name labels, or just these.
    """
    fields = {name: field for name, field in model.model_fields.items() if names in (None, format_of(field) == "names")}
    return Form([_entry(name, field, tuple(labels)) for name, field in fields.items()])


def format_of(field: FieldInfo) -> str:
    """The format that a field names in `json_schema_extra`, or ""."""
    extra = field.json_schema_extra
    return str(extra.get("format", "")) if isinstance(extra, dict) else ""


def _entry(name: str, field: FieldInfo, labels: tuple[str, ...]) -> Entry:
    import gradio as gr

    kind, optional = annotation_of(field.annotation)
    default = default_of(field)
    common: dict[str, Any] = {"label": _title(name), "info": field.description or None}
    make: Callable[..., Entry] = partial(Entry, name, default=default)

    if kind is bool and not optional:
        return make(gr.Checkbox(value=bool(default), **common), _same, bool)
    if format_of(field) in ("names", "lines"):
        return _lines(make, format_of(field), field, common)
    choices = _choices(kind, field)
    if choices:
        return _choice(make, choices, default, optional, common)
    if _is_file(kind):
        return make(gr.File(type="filepath", label=_title(name)), _path, _same)
    if kind in (int, float):
        return _number(make, kind, field, default, common)
    if kind is SecretStr:
        return make(gr.Textbox(value=default or "", type="password", **common), _nonempty, lambda value: value or "")
    if get_origin(kind) in (list, tuple, set, frozenset) or kind in (list, tuple):
        return _sequence(make, name, kind, default, labels, common)
    if kind is str or _is_written(kind):
        return _string(make, field, default, name, common)
    if get_origin(kind) in (Union, types.UnionType):
        component = gr.Dropdown(
            choices=[str(choice) for part in get_args(kind) for choice in _literals(part)],
            value=default if default is None else str(default),
            allow_custom_value=True,
            **common,
        )
        return make(component, _number_or_word, _word)
    return _json_box(make, default, common)


def _json_box(make: Callable[..., Entry], default: Any, common: dict[str, Any]) -> Entry:
    import gradio as gr

    common["info"] = f"{common['info'] or ''} Enter JSON.".strip()
    return make(gr.Textbox(value=_as_json(default), lines=3, **common), _json, _as_json)


def _choice(
    make: Callable[..., Entry], choices: dict[str, Any], default: Any, optional: bool, common: dict[str, Any]
) -> Entry:
    import gradio as gr

    if optional:
        choices = {UNSET: EMPTY, **choices}
    names = {value: name for name, value in choices.items() if value is not EMPTY}
    first = names.get(default, UNSET if optional else None)
    component = gr.Radio if len(choices) <= _MAX_RADIO else gr.Dropdown
    return make(
        component(choices=list(choices), value=first, **common),
        lambda value: choices.get(value, EMPTY if value is None else value),
        lambda value: names.get(value, UNSET if optional else None),
    )


def _number(make: Callable[..., Entry], kind: Any, field: FieldInfo, default: Any, common: dict[str, Any]) -> Entry:
    import gradio as gr

    # Bounds are left to the task, which says what is wrong; Gradio would refuse or round a value without a word.
    common["info"] = " ".join(filter(None, [common["info"], limits(field)])) or None
    if default is not None:
        return make(gr.Number(value=default, step=_step(kind), **common), _optional, _same)
    # An empty gr.Number turns into 0 when it first becomes visible, which cannot be told from a 0 that was entered.
    return make(gr.Textbox(placeholder=UNSET, **common), partial(_parse_number, kind), _word)


def _string(make: Callable[..., Entry], field: FieldInfo, default: Any, name: str, common: dict[str, Any]) -> Entry:
    import gradio as gr

    if field.examples:
        component = gr.Dropdown(
            choices=[str(example) for example in field.examples], value=default, allow_custom_value=True, **common
        )
        return make(component, _stripped, _same)
    long = (
        format_of(field) == "long"
        or name in ("text", "context", "prompt")
        or bool(_LONG.match(field.description or ""))
    )
    lines = 6 if long else 1
    component = gr.Textbox(value=default or "", lines=lines, max_lines=18 if long else 4, **common)
    return make(component, _nonempty, lambda value: value or "")


def _lines(make: Callable[..., Entry], format: str, field: FieldInfo, common: dict[str, Any]) -> Entry:
    """Texts, one a line, or the names of labels, which the task itself reads."""
    import gradio as gr

    hint = str(field.examples[0]) if field.examples else None
    component = gr.Textbox(value="", lines=3, max_lines=12, placeholder=hint, **common)
    if format == "names":
        return make(component, _stripped, _written_names)
    return make(component, lambda text: tuple(_nonblank(text)) or EMPTY, lambda texts: "\n".join(texts or ()))


def _nonblank(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _written_names(names: Any) -> str:
    if isinstance(names, Mapping):
        return "\n".join(f"{name}: {text}" if text else name for name, text in names.items())
    return names if isinstance(names, str) else ", ".join(names or ())


def _sequence(
    make: Callable[..., Entry], name: str, kind: Any, default: Any, labels: tuple[str, ...], common: dict[str, Any]
) -> Entry:
    import gradio as gr

    [item, *_] = get_args(kind) or (Any,)
    listed, make = make, partial(make, default=None if default is None else tuple(default))
    if isinstance(item, type) and issubclass(item, BaseModel) and _is_flat(item):
        columns = list(item.model_fields)
        component = gr.Dataframe(
            headers=[_title(column) for column in columns],
            datatype="str",
            column_count=len(columns),
            row_count=1,
            type="array",
            label=f"{_title(name)}. {common['info'] or ''}".strip(),
            wrap=True,
        )
        return make(component, partial(_rows, columns), partial(_cells, columns))
    values = _literals(item)
    if item in (str, int, float) or values:
        component = gr.Dropdown(
            choices=[str(value) for value in values] or (list(labels) if name == "labels" else []),
            value=[str(value) for value in default or ()],
            multiselect=True,
            allow_custom_value=not values,
            **common,
        )
        return make(component, lambda values: tuple(values) if values else EMPTY, lambda values: list(values or ()))
    return _json_box(listed, default, common)


def _choices(kind: Any, field: FieldInfo) -> dict[str, Any]:
    """The values of a closed list by their names; empty for any other type."""
    if kind is bool:
        return dict(_YES_NO)
    if values := _literals(kind):
        return {str(value): value for value in values}
    pattern = next((rule.pattern for rule in field.metadata if getattr(rule, "pattern", None)), "")
    match = _ALTERNATIVES.fullmatch(str(pattern)) if kind is str else None
    return {word: word for word in match[1].split("|")} if match else {}


def _literals(kind: Any) -> tuple[Any, ...]:
    """The values of a literal type or an enumeration, as JSON has them; empty for any other type."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(to_jsonable_python(member, fallback=str) for member in kind)
    return get_args(kind) if get_origin(kind) is Literal else ()


def _is_file(kind: Any) -> bool:
    return kind is bytes or (isinstance(kind, type) and issubclass(kind, Path))


def is_simple(kind: Any) -> bool:
    """Whether a value is entered in one component of one line: a text, a number, a choice, a date."""
    return kind in (str, int, float, bool) or bool(_literals(kind)) or _is_written(kind)


def _is_written(kind: Any) -> bool:
    """Whether JSON writes a type as a string: a date, a decimal number, a duration."""
    return isinstance(kind, type) and issubclass(kind, date | time | timedelta | Decimal | UUID)


def _is_flat(model: type[BaseModel]) -> bool:
    kinds = [(annotation_of(field.annotation)[0], field) for field in model.model_fields.values()]
    return all(kind is str or _choices(kind, field) for kind, field in kinds)


def _step(kind: Any) -> float:
    return 1 if kind is int else 0.05


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _same(value: Any) -> Any:
    return value


def _optional(value: Any) -> Any:
    return EMPTY if value is None else value


def _nonempty(value: Any) -> Any:
    return value if value else EMPTY


def _stripped(value: Any) -> Any:
    return value.strip() if value and value.strip() else EMPTY


def _word(value: Any) -> Any:
    return None if value is None else str(value)


def _number_or_word(value: Any) -> Any:
    if value in (None, ""):
        return EMPTY
    return int(value) if re.fullmatch(r"-?\d+", str(value)) else value


def _parse_number(kind: Any, value: Any) -> Any:
    if not value or not value.strip():
        return EMPTY
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"expected a {'whole ' if kind is int else ''}number, found {value!r}.") from None


def _path(value: Any) -> Any:
    return Path(value) if value else EMPTY


def _json(value: Any) -> Any:
    if not value or not value.strip():
        return EMPTY
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON, found an error on line {error.lineno}: {error.msg}.") from None


def _as_json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, indent=2)


def _rows(columns: Sequence[str], cells: Sequence[Sequence[Any]] | None) -> Any:
    """A table's rows as mappings, without blank rows; EMPTY when no row is left."""
    rows = [
        {column: str(cell or "") for column, cell in zip(columns, row, strict=False)}
        for row in cells or ()
        if any(str(cell or "").strip() for cell in row)
    ]
    return tuple(rows) if rows else EMPTY


def _cells(columns: Sequence[str], rows: Iterable[Any] | None) -> list[list[str]]:
    return [[str(row.get(column, "")) for column in columns] for row in rows or ()] or [[""] * len(columns)]


def form_of(task: Task[Any, Any, Any]) -> Form:
    """The form of a task's input."""
    return build(task.input_type, labels=getattr(task, "labels", ()))


def options_of(task: Task[Any, Any, Any]) -> Form:
    """The form of a task's options, but for the names of labels."""
    return build(task.options_type, labels=getattr(task, "labels", ()), names=False)


def names_of(task: Task[Any, Any, Any]) -> Form:
    """The form of the options that name a task's labels; it stands beside the input."""
    return build(task.options_type, names=True)
