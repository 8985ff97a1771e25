"""Facts about the engine, its tasks and plugins, and the installed packages."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from nlptasks import UnsupportedModelError, can_stream

if TYPE_CHECKING:
    from nlptasks import Engine, PluginFailure, PluginRecord

PACKAGES = (
    "nlptasks", "torch", "transformers", "peft", "tokenizers", "safetensors", "huggingface_hub", "pluggy", "pydantic",
    "click", "gradio", "datasets", "accelerate", "openpyxl", "openvino", "openvino-genai", "ctranslate2",
)  # fmt: skip


def chat_task(engine: Engine) -> str:
    """The name of the first task that answers a list of messages.

    Raises:
        UnsupportedModelError: there is none.
    """
    for name, task in engine.plugins.tasks.items():
        if "messages" in task.input_type.model_fields and can_stream(task):
            return name
    raise UnsupportedModelError("No installed task answers messages: see `nlptasks plugins`.")


def waiting_for(engine: Engine, task: str, adapter: str | None, model: str | None) -> str:
    """The base that a request must wait for; empty if it is in memory."""
    _, base = engine.choose(engine.plugins.task(task), adapter, model)
    loaded = {resident.name for resident in engine.resident() if resident.num_bytes}
    return "" if base in loaded else base


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that nlptasks uses; "not installed" for a missing one."""
    return {"python": platform.python_version(), **{package: _version(package) for package in PACKAGES}}


def origin(plugin: PluginRecord | PluginFailure) -> str:
    """The package that a plugin comes from, and its version."""
    return f"{plugin.distribution} {plugin.version or ''}".rstrip() if plugin.distribution else "no package"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
