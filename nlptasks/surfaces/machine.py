"""What a report of this machine says on every surface."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nlptasks import PluginFailure, PluginRecord

PACKAGES = (
    "nlptasks", "torch", "transformers", "peft", "tokenizers", "safetensors", "huggingface_hub", "pluggy", "pydantic",
    "click", "gradio", "datasets", "accelerate", "openpyxl",
)  # fmt: skip


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that this one stands on; "not installed" where one is missing."""
    return {"python": platform.python_version(), **{package: _version(package) for package in PACKAGES}}


def origin(plugin: PluginRecord | PluginFailure) -> str:
    """The distribution that a plugin comes from, and its version."""
    return f"{plugin.distribution} {plugin.version or ''}".rstrip() if plugin.distribution else "no distribution"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
