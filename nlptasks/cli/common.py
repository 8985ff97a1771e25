"""What several commands share: options, option values, JSON on standard output."""

from __future__ import annotations

import json
from typing import Any

import click

adapter_option = click.option(
    "-a", "--adapter", help="Adapter: a name in your store, a folder, a Hub id, or `none` for the bare base."
)
model_option = click.option(
    "-m", "--model", help="Base model: a catalog name, a Hub id (ORG/NAME[@REVISION]) or a folder."
)
base_option = click.option("-m", "--model", help="Base model, if the one that the adapter names cannot be loaded.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def option_values(pairs: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The values of `-o KEY VALUE`: JSON where a value is valid JSON, else text."""
    values: dict[str, Any] = {}
    for key, text in pairs:
        try:
            values[key.replace("-", "_")] = json.loads(text)
        except json.JSONDecodeError:
            values[key.replace("-", "_")] = text
    return values


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
