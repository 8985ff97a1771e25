"""Merging: a model folder with an adapter's weights in it, by PEFT, written only if it gives the adapter's logits."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.errors import AdapterError, GateError, UnsupportedModelError
from nlptasks.process import LOADING
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import writing
from nlptasks.store.adapters import MANIFEST, AdapterFolder, Manifest
from nlptasks.store.base_check import check_base
from nlptasks.store.exchange import read_config
from nlptasks.store.weights import RANGES
from nlptasks.task import AnyTask
from nlptasks.training.families.base import FamilyTrainer, adapter_trainer
from nlptasks.training.publishing.publish import write_manifest

if TYPE_CHECKING:
    from nlptasks.plugins import Plugins
    from nlptasks.store.download import BaseFolder
    from nlptasks.store.sources import ProgressCallback

LIMITS = {"float32": 1e-3, "bfloat16": 5e-2}
"""Largest difference allowed by default, as a share of the largest logit. In float32 the sums differ by their order
only, as in training's gate; bfloat16 rounds each weight to 8 bits."""

TOKENS = 128
"""Tokens of a row that are compared, at most."""


@dataclass(frozen=True)
class MergeReport:
    """A merged folder. `largest` and `mean` are differences of `numbers` logits on `rows` inputs, as shares of the
    largest logit; `limit` is the largest that is allowed."""

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
        """The comparison, to display."""
        return (
            f"{self.base} with {self.adapter} in {self.dtype}; against the adapter on {self.rows} rows "
            f"({self.numbers} logits) the largest difference is {self.largest:.1e}, the mean {self.mean:.1e} "
            f"of the largest logit (limit {self.limit:g})"
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
    on_progress: ProgressCallback | None = None,
) -> MergeReport:
    """Write base and adapter as one model to the new folder `target`: safetensors, tokenizer, config, head included.

    Args:
        task: the task of the adapter.
        adapter: an adapter with `nlptasks.json`.
        target: a folder that does not exist yet.
        settings: the folder of the bases.
        plugins: whose bases may be named.
        rows: inputs of the task to compare on; by default the task's examples.
        dtype: number format of the written weights, float32 or bfloat16; merging and comparing use float32.
        limit: largest difference allowed, as a share of the largest logit; by default that of `LIMITS`.
        model: the base; by default the one that the adapter names.
        on_progress: receives the progress of the base's download.

    Raises:
        AdapterError: another tool's folder that was not imported, or `target` exists.
        AdapterMismatchError: the base is not the one that the adapter was trained on.
        UnsupportedModelError: the base is stored quantised.
        GateError: the difference is above the limit; nothing was written.
    """
    from nlptasks.store.download import find_base

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
    family = adapter_trainer(task, adapter)
    if family.trained_head.make:
        raise UnsupportedModelError(f"{adapter.name} has a head that is no class of transformers: it cannot be merged.")
    _refuse_quantised(base)
    limit = LIMITS[dtype] if limit is None else limit
    # Any text of the row will do: the two models differ by rounding only.
    texts = [one.model_dump_json(exclude_none=True) for one in inputs]
    with writing(target) as staging:
        expected, merged = _write(base, adapter, adapter.manifest, family, texts, dtype, staging)
        gaps = (expected - merged).abs() / expected.abs().max().clamp(min=1e-6)
        largest, mean = float(gaps.max()), float(gaps.mean())
        # "not <=" and not ">": NaN must not pass.
        if not largest <= limit:
            raise GateError(
                f"The merged model does not answer as the adapter does: expected a difference of at most {limit:g} of "
                f"the largest logit on {len(inputs)} rows, found {largest:.3g} (mean {mean:.3g}). Nothing was written"
                + ("; --dtype float32 does not round." if dtype != "float32" else ".")
            )
    return MergeReport(
        target, task.name, adapter.name, base.id, dtype, len(inputs), expected.numel(), largest, mean, limit
    )


def _refuse_quantised(base: BaseFolder) -> None:
    if read_config(base).get("quantization_config"):
        raise UnsupportedModelError(
            f"{base.id} is stored quantised, and merging into rounded weights would round the adapter too: "
            "give the unquantised base with --model."
        )


def _write(
    base: BaseFolder, adapter: AdapterFolder, manifest: Manifest, family: FamilyTrainer, texts: Sequence[str],
    dtype: str, folder: Path,
) -> tuple[Any, Any]:  # fmt: skip
    """Save the merged model; the logits of base and adapter, and those of the saved model."""
    from nlptasks.runtime.loading.base import load_tokenizer, quiet_transformers
    from nlptasks.store.download import BaseFolder

    with LOADING:
        import peft
        import torch
    tokenizer = load_tokenizer(base.path)
    with quiet_transformers():
        wrapped: Any = peft.PeftModel.from_pretrained(_load(base, family, manifest), str(adapter.path)).eval()
        expected = _logits(wrapped, tokenizer, family, texts)
        wrapped.merge_and_unload(safe_merge=True).to(getattr(torch, dtype)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        # Two models need not be in memory at once.
        del wrapped
        saved = _load(BaseFolder(str(folder), None, folder, "merging"), family, manifest)
        merged = _logits(saved, load_tokenizer(folder), family, texts)
    if (adapter.path / RANGES).is_file():
        shutil.copyfile(adapter.path / RANGES, folder / RANGES)
    write_manifest(folder, manifest.model_copy(update={"method": "full"}), _card(manifest, dtype))
    return expected, merged


def _card(manifest: Manifest, dtype: str) -> str:
    return (
        f"# {manifest.name}, merged\n\nThe base `{manifest.base.id}` with the adapter `{manifest.name}` for the task "
        f"`{manifest.task}` of nlptasks merged into its weights, in {dtype}.\n\n"
        f"```bash\nnlptasks run {manifest.task} -m PATH_OF_THIS_FOLDER\n```\n\n"
        f"nlptasks divides logits by the temperature {manifest.temperature:g} of `{MANIFEST}`; other tools do not.\n"
    )


def _load(folder: BaseFolder, family: FamilyTrainer, manifest: Manifest) -> Any:
    """The task model in float32, with the settings that its adapter was trained with."""
    from nlptasks.training.loop.models import load_task_model

    model, _ = load_task_model(folder, family, manifest.labels or ())
    for config in (model.config, model.base_model.config):
        config.use_cache = True
    for name, value in manifest.settings.config.changes.items():
        setattr(model.config, name, value)
    return model.eval()


def _logits(model: Any, tokenizer: Any, family: FamilyTrainer, texts: Sequence[str]) -> Any:
    """Every logit for the first tokens of the texts, as one tensor of one dimension."""
    import torch

    rows = []
    with torch.inference_mode():
        for text in texts:
            batch = tokenizer(text, truncation=True, max_length=TOKENS, return_tensors="pt")
            if family.verb == "generate" and model.config.is_encoder_decoder:
                batch["labels"] = batch["input_ids"]
            rows.append(family.logits(model(**batch)).flatten())
    return torch.cat(rows)
