"""What an adapter picker offers."""

from __future__ import annotations

from nlptasks_ui.context import Context

DEFAULT_ADAPTER = "default"
"""The choice that leaves the adapter to the task."""


def adapter_choices(context: Context, task: str) -> list[str]:
    """The task's own adapter, the bare base, and those in the user's store: a training may have added one."""
    from nlptasks.store import AdapterStore

    return [DEFAULT_ADAPTER, "none", *AdapterStore(context.engine.settings).names(task)]
