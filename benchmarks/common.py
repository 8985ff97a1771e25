"""What the benchmarks share: texts, checkpoints for plain transformers, timing in turns, printing."""

from __future__ import annotations

import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nlptasks import Engine
from nlptasks.runtime.loading.base import HEAD_CLASSES
from nlptasks.store.adapters import (
    MANIFEST,
    AdapterFolder,
    BaseReference,
    Manifest,
    open_adapter,
)
from nlptasks.store.download import BaseFolder, find_base
from nlptasks.store.gguf import quiet_transformers
from nlptasks.store.weights import fingerprint

TEXT = """
the a this film movie story plot acting camera music scene ending director cast comedy drama thriller is was feels seems
looks remains never always almost quite rather very too funny dull slow warm clever tired honest empty moving charming
predictable gorgeous awkward and but or because although with without from about of in on at every some no
"""
WORDS = TEXT.split()


def read_texts(file: Path, count: int) -> list[str]:
    """The first texts of a JSONL file, repeated until there are enough."""
    rows = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
    return [rows[i % len(rows)] for i in range(count)]


def made_up(lengths: Sequence[int], chance: random.Random, words: Sequence[str] = WORDS) -> list[str]:
    """A text of each length, in words drawn at random."""
    return [" ".join(chance.choices(words, k=length)) for length in lengths]


def adapter_of(task_name: str, spare: Path) -> AdapterFolder:
    """The adapter that serves a task; for one that ships none, a random one is made in the folder `spare`."""
    with Engine() as engine:
        task = engine.plugins.task(task_name)
        adapter, base_name = engine.choose(task, None, None)
        base = find_base(base_name, engine.settings)
    return adapter or random_adapter(task, base, spare)


def random_adapter(task: Any, base: BaseFolder, folder: Path) -> AdapterFolder:
    """An adapter of the recipe's size for a BERT-like base, which costs what a trained one costs and knows nothing."""
    import transformers
    from peft import LoraConfig, get_peft_model

    with quiet_transformers():
        model = getattr(transformers, HEAD_CLASSES[task.verb]).from_pretrained(base.path)
    lora = LoraConfig(
        task_type=task.head.task_type,
        r=task.recipe.r,
        lora_alpha=task.recipe.lora_alpha,
        target_modules=r".*encoder\.layer\.\d+\..*(query|key|value|dense)",
        # PEFT starts one of the two factors at zero otherwise.
        init_lora_weights=False,
    )
    get_peft_model(model, lora).save_pretrained(folder)
    manifest = Manifest(
        name="random",
        task=task.name,
        family=task.family,
        verb=task.verb,
        base=BaseReference(id=base.id, fingerprint=fingerprint(base.path), model_type=model.config.model_type),
        max_length=task.recipe.max_length,
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")
    return open_adapter(folder)


def merged_checkpoint(adapter: AdapterFolder, folder: Path) -> Path:
    """An adapter merged into its base by plain PEFT, with its tokenizer: what transformers alone would load."""
    import transformers
    from peft import PeftModel

    with Engine() as engine:
        base = find_base(adapter.base_id, engine.settings).path
    labels = adapter.manifest.labels if adapter.manifest else None
    named: dict[str, Any] = {"num_labels": len(labels), "id2label": dict(enumerate(labels))} if labels else {}
    with quiet_transformers():
        model = getattr(transformers, HEAD_CLASSES[adapter.verb]).from_pretrained(base, **named)
        PeftModel.from_pretrained(model, adapter.path).merge_and_unload().save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def in_turns(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Wall seconds of each work, measured one after the other (A B A B ...), so that a busy minute meets all."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - started)
    return times


def ratio(times: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """How many times as long the median of `slow` took as that of `fast`."""
    return statistics.median(times[slow]) / statistics.median(times[fast])


def print_times(times: Mapping[str, Sequence[float]], count: int, what: str = "texts") -> None:
    """The machine, then a line for each of the works: median, things a second, every measurement."""
    import torch

    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {count} {what}")
    width = max(map(len, times))
    for name, measured in times.items():
        median = statistics.median(measured)
        every = [round(seconds, 2) for seconds in measured]
        print(f"{name:{width}} median {median:6.2f} s  {count / median:7.0f} {what}/s  {every}")
