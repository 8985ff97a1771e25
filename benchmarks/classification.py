"""Texts per second: `nlptasks.run("sentiment", texts)` against transformers' pipeline on the same checkpoint.

    python benchmarks/classification.py [--texts 2000] [--rounds 3] [--data rows.jsonl]

Both run in this process, one after the other (A B A B ...), on the same texts, each left at its defaults but for
the pipeline's batch_size=32. The checkpoint is the shipped adapter merged into its base by plain PEFT.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

TEXT = """
the a this film movie story plot acting camera music scene ending director cast comedy drama thriller is was feels seems
looks remains never always almost quite rather very too funny dull slow warm clever tired honest empty moving charming
predictable gorgeous awkward and but or because although with without from about of in on at every some no
"""
WORDS = TEXT.split()


def sample_texts(count: int, seed: int = 0) -> list[str]:
    """Texts with the lengths of SST-2's sentences: about 19 words on average, from 2 to 50."""
    chance = random.Random(seed)
    lengths = [max(2, min(50, round(chance.gauss(19, 9)))) for _ in range(count)]
    return [" ".join(chance.choices(WORDS, k=length)) for length in lengths]


def merged_checkpoint(folder: Path) -> Path:
    """The shipped adapter merged into its base, with its tokenizer."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from nlptasks import Engine
    from nlptasks.runtime.download import find_base

    with Engine() as engine:
        task = engine.plugins.task("sentiment")
        adapter, base_name = engine.choose(task, None, None)
        if adapter is None or adapter.manifest is None:
            raise SystemExit("The sentiment task ships no adapter here.")
        base = find_base(base_name, engine.settings).path
    labels = adapter.manifest.labels or ()
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=len(labels), id2label=dict(enumerate(labels))
    )
    PeftModel.from_pretrained(model, adapter.path).merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="JSONL with a text field, instead of made-up texts")
    given = parser.parse_args()
    texts = read_texts(given.data, given.texts) if given.data else sample_texts(given.texts)
    with tempfile.TemporaryDirectory() as folder:
        compare(texts, merged_checkpoint(Path(folder)), given.rounds)


def read_texts(file: Path, count: int) -> list[str]:
    """The first texts of a JSONL file, repeated until there are enough."""
    rows = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
    return [rows[i % len(rows)] for i in range(count)]


def compare(texts: Sequence[str], checkpoint: Path, rounds: int) -> None:
    """Time both, taking turns, and print medians and their ratio."""
    import torch
    from transformers import pipeline

    from nlptasks import Engine

    stock = pipeline("text-classification", model=str(checkpoint), batch_size=32)
    engine = Engine()
    sample = list(texts)
    # Loading and the first call's set-up are not what is compared.
    stock(sample[:32])
    first = engine.run("sentiment", sample[:32])[0]
    times: dict[str, list[float]] = {"nlptasks": [], "pipeline": []}
    answers: dict[str, list[str]] = {}
    for _ in range(rounds):
        times["nlptasks"].append(
            seconds(lambda: answers.update(nlptasks=[r.label for r in engine.run("sentiment", sample)]))
        )
        times["pipeline"].append(seconds(lambda: answers.update(pipeline=[r["label"] for r in stock(sample)])))
    same = sum(a == b for a, b in zip(answers["nlptasks"], answers["pipeline"], strict=True))
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {len(sample)} texts")
    for name, measured in times.items():
        median = statistics.median(measured)
        print(
            f"{name:9} median {median:6.2f} s  {len(sample) / median:7.0f} texts/s  {[round(t, 2) for t in measured]}"
        )
    ratio = statistics.median(times["pipeline"]) / statistics.median(times["nlptasks"])
    print(f"ratio     {ratio:.1f} times the texts/s of the pipeline; same label for {same} of {len(sample)}")
    print(f"model     {first.model} + {first.adapter}")
    engine.close()


if __name__ == "__main__":
    main()
