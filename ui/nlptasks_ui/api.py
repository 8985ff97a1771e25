"""Every task as an endpoint for programs, `/sentiment`, `/ner`, ... with typed parameters, and as a tool of MCP.

Names and parameters follow from the task's types: they stay as long as the task's input and options do.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Any

from pydantic.fields import FieldInfo

from nlptasks import Task
from nlptasks.surfaces import answer, json_type, limits, sentence
from nlptasks_ui.context import MODEL_QUEUE, Context

_WHO = {
    "adapter": "Adapter that answers: a name, a folder, a Hub id, or none for the bare base. Unset: the task's own.",
    "model": "Base model that answers: a catalog name, a Hub id or a folder. Unset: the task's own.",
}

_EVERY = 2.0
"""Seconds between two signs of life. They carry nothing, but the queue sees by them that a caller has left."""


def add(context: Context, task: Task[Any, Any, Any]) -> None:
    """Add the endpoint of a task to the Blocks that is open."""
    import gradio as gr

    gr.api(endpoint(context, task), api_name=task.name, concurrency_id=MODEL_QUEUE)


def answer_in_json(server: Any) -> None:
    """Let an app's MCP server write results as JSON: gradio's own way is the text that Python prints for a dict.

    `server` is the `mcp_server_obj` of a launched app. All of its tools are endpoints of tasks, so no answer is a file.
    """

    def content(outputs: Iterable[Any], _root_url: str) -> list[Any]:
        from mcp.types import TextContent

        return [TextContent(type="text", text=json.dumps(output, ensure_ascii=False)) for output in outputs]

    server.postprocess_output_data = content


def endpoint(context: Context, task: Task[Any, Any, Any]) -> Callable[..., AsyncGenerator[Any, None]]:
    """A function whose signature and docstring are made of the fields of the task's input and options."""
    parameters, lines = _parameters(task)
    names = [parameter.name for parameter in parameters]

    async def call(*values: Any) -> AsyncGenerator[Any, None]:
        import gradio as gr

        given = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        try:
            fields = {name: given.pop(name) for name in task.input_type.model_fields if name in given}
            steps = answer(context.engine, task.name, fields, every=_EVERY, **given)
            async with aclosing(steps):
                async for step in steps:
                    yield None if step.result is None else step.result.model_dump(mode="json")
        except Exception as error:
            raise gr.Error(sentence(error), print_exception=False) from error

    shown = ", ".join(task.result_type.model_fields)
    call.__name__ = call.__qualname__ = task.name.replace("-", "_")
    call.__doc__ = f"{task.summary}\n\nArgs:\n" + "\n".join(lines) + f"\n\nReturns:\n    An object with {shown}.\n"
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": dict}
    call.__signature__ = inspect.Signature(parameters, return_annotation=dict)  # type: ignore[attr-defined]
    return call


def _parameters(task: Task[Any, Any, Any]) -> tuple[list[inspect.Parameter], list[str]]:
    """The parameters, required ones first, and a line of documentation for each."""
    fields = {**task.options_type.model_fields, **task.input_type.model_fields}
    order = [*task.input_type.model_fields, *task.options_type.model_fields]
    found = [_parameter(name, fields[name]) for name in dict.fromkeys(order)]
    found.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    who = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=str | None)
        for name in _WHO
    ]
    lines = [f"    {parameter.name}: {_help(fields[parameter.name])}" for parameter in found]
    return [*found, *who], [*lines, *(f"    {name}: {told}" for name, told in _WHO.items())]


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    default: Any = inspect.Parameter.empty
    if not field.is_required():
        default = field.get_default(call_default_factory=True)
        default = list(default) if isinstance(default, tuple) else default
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(name, kind, default=default, annotation=json_type(field.annotation))


def _help(field: FieldInfo) -> str:
    """The description in one line, with the bounds of a number."""
    return " ".join(f"{field.description or ''} {limits(field)}".split())
