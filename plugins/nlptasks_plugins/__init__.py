"""The built-in tasks, to be run by their classes. They come through the same entry points as any third party's plugin.

from nlptasks_plugins import Sentiment

nlptasks.run(Sentiment, "I loved every minute.").label
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "classify": ("Classify",),
    "sentiment": ("Sentiment",),
    "entities": ("AnyEntities",),
    "ner": ("NamedEntities",),
    "qa": ("Qa",),
    "generation": ("Generation", "GenerationInput", "GenerationOptions"),
    "summarization": ("Summarization",),
    "similarity": ("Embedding", "Ranking", "Rerank", "ScoredText", "Similarities", "Similarity", "TextEmbedding"),
    "translation.inputs": ("TranslationInput", "TranslationOptions"),
    "translation.task": ("TranslationTask",),
    "translation.results": ("TranslatedSegment", "Translation"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    # Not before its first use: a task whose module is broken must leave the others alone.
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
