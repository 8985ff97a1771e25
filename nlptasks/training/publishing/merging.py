"""Merging: a model folder with an adapter's weights in it, written only if it answers as the adapter does."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.errors import AdapterError, GateError, UnsupportedModelError
from nlptasks.model import Completion, Decoding, Model, Prompt
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import writing
from nlptasks.store.adapters import MANIFEST, RANGES, AdapterFolder, Manifest, check_base
from nlptasks.training.families.base import AnyTask, FamilyTrainer, family_trainer

if TYPE_CHECKING:
    from nlptasks.plugins import Plugins
    from nlptasks.store.download import BaseFolder
    from nlptasks.store.sources import Report

LIMITS = {"float32": 1e-3, "bfloat16": 5e-2}
"""Largest difference allowed by default, as a share of the largest value. In float32 the sums differ by their order
only, as in training's gate; bfloat16 rounds each weight to 8 bits."""


@dataclass(frozen=True)
class MergeReport:
    """A merged folder. `largest` and `mean` are differences of `numbers` outputs on `rows` inputs, as shares of the
    largest output."""

    path: Path
    task: str
    adapter: str
    base: str
    dtype: str
    rows: int
    numbers: int
    largest: float
    mean: float
    limit: float

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}

    @property
    def summary(self) -> str:
        """The comparison, for a person."""
        return (
            f"{self.base} with {self.adapter} in {self.dtype}; against the adapter on {self.rows} rows "
            f"({self.numbers} outputs) the largest difference is {self.largest:.1e}, the mean {self.mean:.1e} "
            f"of the largest output (limit {self.limit:g})"
        )


def merge(
    task: AnyTask,
    adapter: AdapterFolder,
    target: Path,
    settings: Settings,
    plugins: Plugins,
    *,
    rows: Sequence[Any] | None = None,
    dtype: str = "float32",
    limit: float | None = None,
    model: str | None = None,
    on_progress: Report | None = None,
) -> MergeReport:
    """Write base and adapter as one model to the new folder `target`: safetensors, tokenizer, config, head included.

    Args:
        task: what the adapter is for.
        adapter: with its `nlptasks.json`.
        target: a folder that is not there yet.
        settings: where the bases are.
        plugins: whose bases may be named.
        rows: inputs of the task to compare on; the task's examples if not given.
        dtype: numbers of the written weights, float32 or bfloat16; merged and compared is in float32.
        limit: largest difference allowed, as a share of the largest output; `LIMITS` if not given.
        model: the base; the one that the adapter names if not given.
        on_progress: hears the progress of fetching the base.

    Raises:
        AdapterError: another tool's folder that was not imported, or `target` exists.
        AdapterMismatchError: the base is not the one that the adapter was trained on.
        UnsupportedModelError: the base is stored quantised.
        GateError: the difference is above the limit; nothing was written.
    """
    from nlptasks.store.download import BaseFolder, find_base

    if adapter.manifest is None:
        raise AdapterError(
            f"{adapter.path}: nothing says what it is for: bring it into the store first, with "
            f"`nlptasks adapters import {adapter.path} --task {task.name}`."
        )
    if target.exists():
        raise AdapterError(f"{target}: expected a new folder to write the merged model to, found one that exists.")
    inputs = task.validate(list(task.examples if rows is None else rows))
    if not inputs:
        raise AdapterError(f"{task.name} has no examples to compare on: give some with --rows FILE.")
    base = find_base(model or adapter.base_id, settings, on_progress=on_progress, shipped=plugins.bases)
    check_base(adapter, base.id, base.path)
    if task.head and task.head.make:
        raise UnsupportedModelError(f"{task.name} has a head that is no class of transformers: it cannot be merged.")
    _refuse_quantised(base)
    limit = LIMITS[dtype] if limit is None else limit
    with writing(target) as staging:
        _write(base, adapter, adapter.manifest, family_trainer(task), dtype, staging)
        asked, expected = _answers(base, adapter, lambda model: _asked(task, inputs, model))
        merged = BaseFolder(str(staging), None, staging, "merging")
        _, found = _answers(merged, None, lambda _: asked)
        largest, mean = _difference(expected, found)
        # "not <=" and not ">": NaN must not pass.
        if not largest <= limit:
            raise GateError(
                f"The merged model does not answer as the adapter does: expected a difference of at most {limit:g} of "
                f"the largest output on {len(inputs)} rows, found {largest:.3g} (mean {mean:.3g}). Nothing was written"
                + ("; --dtype float32 does not round." if dtype != "float32" else ".")
            )
    return MergeReport(
        target, task.name, adapter.name, base.id, dtype, len(inputs), len(expected), largest, mean, limit
    )


def _refuse_quantised(base: BaseFolder) -> None:
    config = json.loads((base.path / "config.json").read_text(encoding="utf-8"))
    if config.get("quantization_config"):
        raise UnsupportedModelError(
            f"{base.id} is stored quantised, and merging into rounded weights would round the adapter too: "
            "give the unquantised base with --model."
        )


def _write(
    base: BaseFolder, adapter: AdapterFolder, manifest: Manifest, family: FamilyTrainer, dtype: str, folder: Path
) -> None:
    """Merge by PEFT and save: another computation than the serving one that it is compared with."""
    import peft
    import torch

    from nlptasks.runtime.loading.roots import load_tokenizer
    from nlptasks.training.loop.models import load_task_model, quiet

    model, _ = load_task_model(base, family, manifest.labels or (), False, {})
    for config in (model.config, model.base_model.config):
        config.use_cache = True
    for name, value in manifest.settings.get("config", {}).items():
        setattr(model.config, name, value)
    with quiet():
        wrapped: Any = peft.PeftModel.from_pretrained(model, str(adapter.path))
        merged = wrapped.merge_and_unload(safe_merge=True).to(getattr(torch, dtype))
        merged.save_pretrained(folder)
        load_tokenizer(base.path).save_pretrained(folder)
    whole = manifest.model_copy(update={"method": "full"})
    text = json.dumps(whole.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(manifest, dtype), encoding="utf-8")
    if (adapter.path / RANGES).is_file():
        shutil.copyfile(adapter.path / RANGES, folder / RANGES)
    for file in folder.iterdir():
        # safetensors creates files that only their owner may read.
        file.chmod(0o644)


def _card(manifest: Manifest, dtype: str) -> str:
    return (
        f"# {manifest.name}, merged\n\nThe base `{manifest.base.id}` with the adapter `{manifest.name}` for the task "
        f"`{manifest.task}` of nlptasks merged into its weights, in {dtype}.\n\n"
        f"```bash\nnlptasks run {manifest.task} -m PATH_OF_THIS_FOLDER\n```\n\n"
        f"nlptasks divides logits by the temperature {manifest.temperature:g} of `{MANIFEST}`; other tools do not.\n"
    )


@dataclass
class _Asked:
    """What a task asked of a model: items by verb, and the texts that were written, for both models to score."""

    items: list[tuple[str, Any]] = field(default_factory=list)
    written: list[dict[str, Any]] = field(default_factory=list)


class _Recorder:
    """A model that notes what it is asked."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.asked = _Asked()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def classify(self, texts: Sequence[Any]) -> Any:
        return self._note("classify", texts)

    def tag(self, texts: Sequence[str]) -> Any:
        return self._note("tag", texts)

    def extract(self, pairs: Sequence[tuple[str, str]]) -> Any:
        return self._note("extract", pairs)

    def embed(self, texts: Sequence[str]) -> Any:
        return self._note("embed", texts)

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding) -> list[Completion]:
        done: list[Completion] = self._model.generate(prompts, decoding)
        self.asked.written += [
            {
                "prompt": prompt if isinstance(prompt, str) else [turn.model_dump() for turn in prompt],
                "target": completion.text,
                "languages": [decoding.source_language, decoding.target_language],
                "max_length": self._model.info.max_tokens,
            }
            for prompt, completion in zip(prompts, done, strict=True)
        ]
        return done

    def _note(self, verb: str, items: Sequence[Any]) -> Any:
        self.asked.items.append((verb, list(items)))
        return getattr(self._model, verb)(items)


def _asked(task: AnyTask, inputs: Sequence[Any], model: Model) -> _Asked:
    """What the task asks of the model for these inputs, with its default options."""
    recorder = _Recorder(model)
    task.run(inputs, task.validate_options({}), recorder)
    return recorder.asked


def _answers(
    base: BaseFolder, adapter: AdapterFolder | None, ask: Callable[[Model], _Asked]
) -> tuple[_Asked, list[float]]:
    """Every number that a served model answers, on the CPU in float32."""
    from nlptasks.runtime.resident import ResidentModel
    from nlptasks.training.families.writing import served_logprobs
    from nlptasks.training.publishing.gate import serve

    resident = ResidentModel(base, "cpu", "float32")
    try:
        model = resident.bind(adapter)
        asked = ask(model)
        rows = [row for verb, items in asked.items for row in serve(model, verb, items)]
        if asked.written:
            rows += model.submit(functools.partial(served_logprobs, requests=asked.written))
        return asked, [value for row in rows for value in row]
    finally:
        resident.close()


def _difference(expected: Sequence[float], found: Sequence[float]) -> tuple[float, float]:
    """The largest and the mean difference, as shares of the largest expected number."""
    if len(expected) != len(found) or not expected:
        raise GateError(
            f"The merged model answers {len(found)} numbers, the adapter {len(expected)}: they cannot be compared."
        )
    scale = max(max(map(abs, expected)), 1e-6)
    gaps = [abs(e - f) / scale for e, f in zip(expected, found, strict=True)]
    # max() would pass over NaN.
    return (max(gaps) if all(gap == gap for gap in gaps) else float("nan")), sum(gaps) / len(gaps)
