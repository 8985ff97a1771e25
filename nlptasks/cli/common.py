"""What several commands share: options, option values, JSON on standard output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from nlptasks.cli.completion import complete_adapter, complete_base, complete_task

if TYPE_CHECKING:
    from pydantic import BaseModel

    from nlptasks.surfaces import FieldText

ROW_ERRORS = 3
"""The exit code of a command that answered some rows and not others."""

task_argument = click.argument("task", shell_complete=complete_task)
adapter_option = click.option(
    "-a", "--adapter", shell_complete=complete_adapter,
    help="Adapter: a name in your store, a folder, a Hub id, or `none` for the bare base.",
)  # fmt: skip
model_option = click.option(
    "-m", "--model", shell_complete=complete_base,
    help="Base model: a catalog name, a Hub id (ORG/NAME[@REVISION]), a folder or a server (openai:NAME@URL, "
    "nlptasks:TASK[@ADAPTER]@URL).",
)  # fmt: skip
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
dtype_option = click.option(
    "--dtype", default="auto", show_default=True, help="auto, float32, bfloat16, float16 or int8."
)
base_option = click.option("-m", "--model", help="Base model, if the one that the adapter names cannot be loaded.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def placement_options(function: Any) -> Any:
    """Where a command's models run, and in which numbers."""
    return device_option(dtype_option(function))


def option_values(pairs: tuple[tuple[str, str], ...], *types: type[BaseModel]) -> dict[str, Any]:
    """The values of `-o KEY VALUE`, as the fields of `types` take them; of unknown names JSON, else text.

    A field that takes a list and reads no text itself takes names between commas as well.
    """
    values: dict[str, Any] = {}
    for key, text in pairs:
        name = key.replace("-", "_")
        kind = next((kind for kind in types if name in kind.model_fields), None)
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        # "1984" may be a question, and quotes may belong to it.
        candidates = [text, value] if value is None or isinstance(value, str) else [value, text]
        names = [part.strip() for part in text.split(",") if part.strip()]
        candidates += [names] if names else []
        values[name] = next((item for item in candidates if kind and _fits(kind, name, item)), value)
    return values


def _fits(kind: type[BaseModel], name: str, value: Any) -> bool:
    """Whether a field takes a value, whatever the others are."""
    from pydantic import ValidationError

    try:
        kind.model_validate({name: value})
    except ValidationError as error:
        return all(fault["loc"][:1] != (name,) for fault in error.errors())
    return True


def write_fields(task: Any, formatter: click.HelpFormatter) -> None:
    """Write the input fields and the options of a task, with their types, bounds and defaults, as help."""
    from nlptasks.surfaces import field_texts

    for title, model in (("Input", task.input_type), ("Task options (-o)", task.options_type)):
        rows = [(one.name, " ".join(_facts(one, model))) for one in field_texts(model)]
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def _facts(field: FieldText, model: type[BaseModel]) -> list[str]:
    default = field.default if field.default == "required" else f"default: {field.default}"
    form = ""
    if field.type == "list of text":
        names = option_values(((field.name, "a,b"),), model)[field.name] == ["a", "b"]
        form = f", as {'a,b' if names else 'one text'} or JSON"
    return [*([field.description] if field.description else []), f"[{field.type}{form}; {default}]"]


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
