"""What a surface asks of the tasks that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nlptasks import UnsupportedModelError, can_stream

if TYPE_CHECKING:
    from nlptasks import Engine


def chat_task(engine: Engine) -> str:
    """The name of the first task that answers a list of messages.

    Raises:
        UnsupportedModelError: there is none.
    """
    for name, task in engine.plugins.tasks.items():
        if "messages" in task.input_type.model_fields and can_stream(task):
            return name
    raise UnsupportedModelError("No task that answers messages is registered: see `nlptasks plugins`.")
