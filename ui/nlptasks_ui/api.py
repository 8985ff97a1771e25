"""Every task as an API endpoint (`/sentiment`, `/ner`, ...) with typed parameters.

Names and parameters follow from the task's types: they are as stable as its input and options.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from pydantic.fields import FieldInfo

from nlptasks import Task
from nlptasks.surfaces import answer, default_of, json_type, limits, sentence
from nlptasks_ui.context import MODEL_QUEUE, Context

_COMMON = {
    "adapter": "Adapter: a name, a folder, a Hub id, or none for the bare base model. Default: the task's own.",
    "model": "Base model: a catalog name, a Hub id or a folder. Default: the task's own.",
}
"""Parameters that every endpoint has, with their help."""

_HEARTBEAT = 2.0
"""Seconds between two empty updates, by which the queue notices that a caller has disconnected."""


def add(context: Context, task: Task[Any, Any, Any]) -> None:
    """Add the endpoint of a task to the current Blocks."""
    import gradio as gr

    gr.api(endpoint(context, task), api_name=task.name, concurrency_id=MODEL_QUEUE)


def blocks() -> type[Any]:
    """Gradio's Blocks, but "Use via API" lists all endpoints on every page; theirs lists those of the page itself."""
    import gradio as gr

    class Blocks(gr.Blocks):  # type: ignore[misc]
        def get_config_file(self) -> Any:
            config = super().get_config_file()
            endpoints = [id for id, fn in self.fns.items() if fn.api_visibility == "public"]
            for page in config["page"].values():
                page["dependencies"] = list(dict.fromkeys([*page["dependencies"], *endpoints]))
            return config

        # Without a parameter for a page, Gradio selects by the configuration above.
        def get_api_info(self, all_endpoints: bool = False) -> Any:
            return super().get_api_info(all_endpoints=all_endpoints)

    return Blocks


def endpoint(context: Context, task: Task[Any, Any, Any]) -> Callable[..., AsyncGenerator[Any, None]]:
    """A function whose signature and docstring are built from the fields of the task's input and options."""
    parameters, lines = _parameters(task)

    async def call(*values: Any) -> AsyncGenerator[Any, None]:
        import gradio as gr

        # Clients send defaults too; that of a secret is a row of stars.
        pairs = zip(parameters, values, strict=True)
        arguments = {one.name: value for one, value in pairs if value is not None and value != one.default}
        try:
            fields = {name: arguments.pop(name) for name in task.input_type.model_fields if name in arguments}
            steps = answer(context.engine, task.name, fields, every=_HEARTBEAT, **arguments)
            async with aclosing(steps):
                async for step in steps:
                    yield None if step.result is None else step.result.model_dump(mode="json")
        except Exception as error:
            raise gr.Error(sentence(error), print_exception=False) from error

    returns = f"An object with {', '.join(task.result_type.model_fields)}."
    call.__name__ = call.__qualname__ = task.name.replace("-", "_")
    call.__doc__ = f"{task.summary}\n\nArgs:\n" + "\n".join(lines) + f"\n\nReturns:\n    {returns}\n"
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": dict}
    call.__signature__ = inspect.Signature(parameters, return_annotation=dict)  # type: ignore[attr-defined]
    return call


def _parameters(task: Task[Any, Any, Any]) -> tuple[list[inspect.Parameter], list[str]]:
    """The parameters, required ones first, and a docstring line for each."""
    fields = {**task.options_type.model_fields, **task.input_type.model_fields}
    order = [*task.input_type.model_fields, *task.options_type.model_fields]
    parameters = [_parameter(name, fields[name]) for name in dict.fromkeys(order)]
    parameters.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    common = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=str | None)
        for name in _COMMON
    ]
    lines = [f"    {parameter.name}: {_help(fields[parameter.name])}" for parameter in parameters]
    return [*parameters, *common], [*lines, *(f"    {name}: {text}" for name, text in _COMMON.items())]


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    default: Any = inspect.Parameter.empty
    if not field.is_required():
        default = default_of(field)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(name, kind, default=default, annotation=json_type(field.annotation))


def _help(field: FieldInfo) -> str:
    """A field's description on one line, followed by the bounds of a number."""
    return " ".join(f"{field.description or ''} {limits(field)}".split())
