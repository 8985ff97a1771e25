"""What several commands share: options, option values, JSON on standard output."""

from __future__ import annotations

import json
from typing import Any

import click
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

adapter_option = click.option(
    "-a", "--adapter", help="Adapter: a name in your store, a folder, a Hub id, or `none` for the bare base."
)
model_option = click.option(
    "-m", "--model", help="Base model: a catalog name, a Hub id (ORG/NAME[@REVISION]) or a folder."
)
base_option = click.option("-m", "--model", help="Base model, if the one that the adapter names cannot be loaded.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def option_values(pairs: tuple[tuple[str, str], ...], *types: type[BaseModel]) -> dict[str, Any]:
    """The values of `-o KEY VALUE`, as the fields of `types` take them; of unknown names JSON, else text."""
    values: dict[str, Any] = {}
    for key, text in pairs:
        name = key.replace("-", "_")
        field = next((kind.model_fields[name] for kind in types if name in kind.model_fields), None)
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        # "1984" may be a question, and quotes may belong to it.
        candidates = (text, value) if value is None or isinstance(value, str) else (value, text)
        values[name] = next((item for item in candidates if field and _fits(field.annotation, item)), value)
    return values


def _fits(annotation: Any, value: Any) -> bool:
    try:
        TypeAdapter(annotation).validate_python(value)
    except (ValidationError, PydanticUserError):
        return False
    return True


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
