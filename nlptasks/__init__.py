"""NLP tasks on one resident Transformer: typed results, LoRA adapters, plugins.

Public names are imported when they are first used; `import nlptasks` brings in no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlptasks.engine import Engine, ResultStream, arun, astream, run, stream, tasks
    from nlptasks.errors import (
        AdapterError,
        AdapterMismatchError,
        CancelledError,
        DataError,
        DownloadError,
        GateError,
        IntegrityError,
        InvalidInputError,
        MissingExtraError,
        NlptasksError,
        OfflineError,
        OverflowRefusedError,
        PluginError,
        TrainingError,
        UnknownNameError,
        UnparsableOutputError,
        UnsafeWeightsError,
        UnsupportedModelError,
    )
    from nlptasks.families.text_classification import ClassificationOptions, TextClassification
    from nlptasks.families.text_to_text import TextToText, WritingOptions
    from nlptasks.hookspecs import API_VERSION, hookimpl
    from nlptasks.plugins import PluginFailure, PluginRecord, Plugins
    from nlptasks.results import Classification, GeneratedText, LabelScore, Message, Result
    from nlptasks.settings import Settings
    from nlptasks.task import Recipe, Task, TaskInput, TaskOptions, TextInput
    from nlptasks.verbs import CancelToken, Completion, Decoding, Logits, Model, ModelInfo, Prompt, Text

__version__ = "0.1.0"

_HOMES = {
    "nlptasks.engine": ("Engine", "ResultStream", "arun", "astream", "run", "stream", "tasks"),
    "nlptasks.errors": (
        "AdapterError",
        "AdapterMismatchError",
        "CancelledError",
        "DataError",
        "DownloadError",
        "GateError",
        "IntegrityError",
        "InvalidInputError",
        "MissingExtraError",
        "NlptasksError",
        "OfflineError",
        "OverflowRefusedError",
        "PluginError",
        "TrainingError",
        "UnknownNameError",
        "UnparsableOutputError",
        "UnsafeWeightsError",
        "UnsupportedModelError",
    ),
    "nlptasks.families.text_classification": ("ClassificationOptions", "TextClassification"),
    "nlptasks.families.text_to_text": ("TextToText", "WritingOptions"),
    "nlptasks.hookspecs": ("API_VERSION", "hookimpl"),
    "nlptasks.plugins": ("PluginFailure", "PluginRecord", "Plugins"),
    "nlptasks.results": ("Classification", "GeneratedText", "LabelScore", "Message", "Result"),
    "nlptasks.settings": ("Settings",),
    "nlptasks.task": ("Recipe", "Task", "TaskInput", "TaskOptions", "TextInput"),
    "nlptasks.verbs": ("CancelToken", "Completion", "Decoding", "Logits", "Model", "ModelInfo", "Prompt", "Text"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*sorted(_HOME_OF), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'nlptasks' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
