"""The choices and the help of the fields that select an adapter and a base model."""

from __future__ import annotations

from nlptasks_ui.context import Context

DEFAULT_ADAPTER = "default"
"""The choice that lets the task decide which adapter to use."""

ADAPTER_INFO = "The name of one of your adapters, a folder, a Hub id, or none for the bare base model."
MODEL_INFO = "The base model: a catalog name, a Hub id or a folder. Leave empty for the task's default."


def adapter_choices(context: Context, task: str) -> list[str]:
    """The default, the bare base model, and the adapters in the user's store, which training adds to at run time."""
    from nlptasks.store import AdapterStore

    return [DEFAULT_ADAPTER, "none", *AdapterStore(context.engine.settings).names(task)]
