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
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    try:
        TypeAdapter(annotation).validate_python(value)
    except (ValidationError, PydanticUserError):
        return False
    return True


def write_fields(task: Any, formatter: click.HelpFormatter) -> None:
    """Write the input fields and the options of a task, with their types, bounds and defaults, as help."""
    from nlptasks.surfaces import field_texts

    for title, model in (("Input", task.input_type), ("Task options (-o)", task.options_type)):
        rows = [(one.name, " ".join(_facts(one))) for one in field_texts(model)]
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def _facts(field: FieldText) -> list[str]:
    default = field.default if field.default == "required" else f"default: {field.default}"
    return [*([field.description] if field.description else []), f"[{field.type}; {default}]"]


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
