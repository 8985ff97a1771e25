"""What a task may know of a base with an adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nlptasks.model import ModelInfo
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.verbs.encoding import reads_emoji
from nlptasks.runtime.verbs.languages import direction, languages
from nlptasks.store.adapters import AdapterFolder
from nlptasks.store.weights import fingerprint

if TYPE_CHECKING:
    from nlptasks.store.download import BaseFolder


def describe(base: LoadedBase, folder: BaseFolder, adapter: AdapterFolder | None) -> ModelInfo:
    """What a task may know of a base from a folder with an adapter."""
    manifest = adapter.manifest if adapter else base.manifest
    verb = adapter.verb if adapter else base.native_verb
    labels: tuple[str, ...] | None = None
    trained = {"embed", verb} - {""}
    if base.kind != "encoder" and not base.native_verb:
        trained.add("generate")
    # An extractor's two outputs are a start and an end, which a configuration calls LABEL_0 and LABEL_1.
    if verb not in ("", "extract", "embed"):
        labels = adapter.labels if adapter else _config_labels(base.config.id2label)
    limit = base.max_tokens
    if manifest and manifest.max_length and verb not in ("", "generate"):
        limit = min(limit, manifest.max_length)
    # How T5 and its like are to be used for each task: the text before an input, and settings of generation.
    by_task: dict[str, dict[str, Any]] = getattr(base.config, "task_specific_params", None) or {}
    return ModelInfo(
        name=folder.id,
        kind=base.kind,
        adapter=adapter.name if adapter else manifest.name if manifest else None,
        labels=labels,
        multi_label=manifest.multi_label if manifest else base.config.problem_type == "multi_label_classification",
        temperature=manifest.temperature if manifest else 1.0,
        threshold=manifest.threshold if manifest else None,
        bias=manifest.bias if manifest else None,
        max_tokens=limit,
        has_chat_template=base.tokenizer.chat_template is not None,
        model_type=base.config.model_type,
        prefixes={task: params["prefix"] for task, params in by_task.items() if params.get("prefix")},
        presets={task: preset for task, params in by_task.items() if (preset := _preset(params))},
        languages=languages(base.tokenizer),
        direction=direction(base.tokenizer),
        trained_for=frozenset(trained),
        reads_emoji=reads_emoji(base.tokenizer),
        has_offsets=base.tokenizer.is_fast,
        version=repr((fingerprint(folder.path), adapter and adapter.key, base.placement.dtype)),
    )


_PRESET = ("num_beams", "length_penalty", "no_repeat_ngram_size", "repetition_penalty", "early_stopping")


def _preset(params: dict[str, Any]) -> dict[str, Any]:
    """A task's settings as fields of `Decoding`; its longest length is left to the task."""
    preset = {name: params[name] for name in _PRESET if params.get(name) is not None}
    if params.get("min_length"):
        # A decoder's length counts the token that starts it.
        preset["min_new_tokens"] = max(0, int(params["min_length"]) - 1)
    return preset


def _config_labels(id2label: dict[Any, str] | None) -> tuple[str, ...] | None:
    return tuple(id2label[key] for key in sorted(id2label, key=int)) if id2label else None
