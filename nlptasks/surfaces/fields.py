"""The fields of a task's input and options: types, defaults, the bounds of numbers, as JSON and in words."""

from __future__ import annotations

import enum
import re
import types
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_json, to_jsonable_python

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "object", Any: "any value"}
_CHOICES = re.compile(r"\^\((\w+(?:\|\w+)*)\)\$")
"""A pattern that is a list of words."""

_BOUNDS = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}


def annotation_of(annotation: Any) -> tuple[Any, bool]:
    """A field's type without None and without Annotated, and whether None is among its values."""
    if get_origin(annotation) is Annotated:
        return annotation_of(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    parts = get_args(annotation)
    values = [part for part in parts if part is not type(None)]
    kind: Any = Union[tuple(values)]  # noqa: UP007 - made at run time
    return annotation_of(kind)[0] if len(values) == 1 else kind, len(values) < len(parts)


def bounds(field: FieldInfo) -> tuple[Any, Any]:
    """The lower and upper bound of a number, inclusive or not; None if there is none."""
    rules = _rules(field)
    return rules.get("ge", rules.get("gt")), rules.get("le", rules.get("lt"))


def limits(field: FieldInfo) -> str:
    """The bounds of a number in words, in brackets; empty when it has none."""
    words = [f"{_BOUNDS[name]} {bound}" for name, bound in _rules(field).items()]
    return f"({', '.join(words)})" if words else ""


def json_type(annotation: Any) -> Any:
    """A type as JSON has it: models become dict, tuples and sets lists; constraints go."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return json_type(parts[0])
    if origin in (Union, types.UnionType):
        return Union[tuple(json_type(part) for part in parts)]  # noqa: UP007 - made at run time
    if origin in (tuple, list, set, frozenset):
        return list[json_type(parts[0])]  # type: ignore[misc]
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return Literal[tuple(to_jsonable_python(member) for member in annotation)]
    if origin is Literal or annotation in (str, int, float, bool, type(None)):
        return annotation
    return dict if isinstance(annotation, type) and issubclass(annotation, BaseModel) else Any


def default_of(field: FieldInfo) -> Any:
    """A field's default as JSON has it; None if the field is required. A secret is a row of stars."""
    if field.is_required():
        return None
    return to_jsonable_python(field.get_default(call_default_factory=True), fallback=str)


class FieldText(NamedTuple):
    """A field in words: its name, type with bounds, default ("required" if it has none) and description."""

    name: str
    type: str
    default: str
    description: str


def field_texts(model: type[BaseModel]) -> list[FieldText]:
    """The fields of a model in words, in their order."""
    return [
        FieldText(name, _type_text(field.annotation, field), _default_text(field), field.description or "")
        for name, field in model.model_fields.items()
    ]


def _type_text(annotation: Any, field: FieldInfo | None = None) -> str:
    """A type in words, as the value is written on a command line; None is left out, as it is a field's default."""
    origin, parts = get_origin(annotation), get_args(annotation)
    extra = field.json_schema_extra if field else None
    if isinstance(extra, dict) and extra.get("format") == "names":
        return "names, or an object of names with descriptions"
    if origin is Annotated:
        inner = next((part for part in parts[1:] if isinstance(part, FieldInfo)), None)
        return _type_text(parts[0], inner)
    if origin in (Union, types.UnionType):
        words = dict.fromkeys(_type_text(part) for part in parts if part is not type(None))
        text = " or ".join(words)
    elif origin is Literal:
        text = ", ".join(map(str, parts))
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        text = ", ".join(str(member.value) for member in annotation)
    elif origin in (tuple, list, set, frozenset):
        text = f"list of {_type_text(parts[0])}" if parts else "list"
    else:
        text = _WORDS.get(json_type(annotation), "") or getattr(annotation, "__name__", str(annotation))
    pattern = next((rule.pattern for rule in field.metadata if getattr(rule, "pattern", None)), "") if field else ""
    if choices := _CHOICES.fullmatch(pattern):
        text = choices[1].replace("|", ", ")
    return f"{text} {limits(field)}".rstrip() if field else text


def _default_text(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    text = value if isinstance(value, str) else to_json(value, fallback=str).decode()
    return {"null": "unset", "": '""'}.get(text, text)


def _rules(field: FieldInfo) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in _BOUNDS for rule in field.metadata if hasattr(rule, name)}
