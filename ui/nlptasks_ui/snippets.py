"""A form's request as Python code, as a shell command and as a curl command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python

from nlptasks import Task


@dataclass(frozen=True)
class Request:
    """The values of a form: input fields, options, adapter and base model."""

    task: Task[Any, Any, Any]
    fields: Mapping[str, Any]
    options: Mapping[str, Any]
    adapter: str | None = None
    model: str | None = None

    @property
    def chosen(self) -> dict[str, str]:
        """The adapter and the model, where they are set."""
        return {name: value for name, value in (("adapter", self.adapter), ("model", self.model)) if value}

    @property
    def plain(self) -> tuple[str | None, dict[str, Any]]:
        """The first field if it is a text, and the remaining fields."""
        first = next(iter(self.task.input_type.model_fields))
        text = self.fields.get(first)
        if not isinstance(text, str):
            return None, dict(self.fields)
        return text, {name: value for name, value in self.fields.items() if name != first}


def python(request: Request) -> str:
    """A call of `nlptasks.run`."""
    first, rest = request.plain
    arguments = [repr(request.task.name), *([repr(first)] if first is not None else [])]
    named = {**rest, **request.options, **request.chosen}
    arguments += [f"{name}={_jsonable(value)!r}" for name, value in named.items()]
    inside = ", ".join(arguments)
    if len(inside) > 80:
        inside = "\n    " + ",\n    ".join(arguments) + ",\n"
    return f"import nlptasks\n\nresult = nlptasks.run({inside})\nprint(result)"


def command(request: Request) -> str:
    """A call of `nlptasks run`."""
    first, rest = request.plain
    words = ["nlptasks", "run", request.task.name, *([first] if first is not None else [])]
    for name, value in {**rest, **request.options}.items():
        words += ["-o", name, value if isinstance(value, str) else json.dumps(_jsonable(value), ensure_ascii=False)]
    words += ["-a", request.adapter] if request.adapter else []
    words += ["-m", request.model] if request.model else []
    return f"{shlex.join(words)} --json"


def curl(request: Request, root: str) -> str:
    """A call of the app's HTTP API: the first request starts the computation, the second reads the result."""
    body = json.dumps(_jsonable({**request.fields, **request.options, **request.chosen}), ensure_ascii=False)
    call = f"{root.rstrip('/')}/gradio_api/call"
    name = request.task.name
    return (
        f"id=$(curl -s {shlex.quote(f'{call}/v2/{name}')} -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)} | cut -d '\"' -f 4)\n"
        f'curl -sN {call}/{name}/"$id"'
    )


def _jsonable(value: Any) -> Any:
    return to_jsonable_python(value, exclude_none=True, fallback=str)
