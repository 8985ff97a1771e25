"""Texts per second: `nlptasks.run("sentiment", texts)` against transformers' pipeline on the same checkpoint.

    python benchmarks/classification.py [--texts 2000] [--rounds 3] [--data rows.jsonl] [--dtype int8]

Both run in this process, one after the other (A B A B ...), on the same texts, each left at its defaults but for
the pipeline's batch_size=32 and --dtype, which is nlptasks' alone. The checkpoint is the shipped adapter merged into
its base by plain PEFT.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import adapter_of, in_turns, made_up, merged_checkpoint, print_times, ratio, read_texts

from nlptasks import Engine
from nlptasks.runtime.loading.devices import choose_placement


def sample_texts(count: int, seed: int = 0) -> list[str]:
    """Texts with the lengths of SST-2's sentences: about 19 words on average, from 2 to 50."""
    chance = random.Random(seed)
    return made_up([max(2, min(50, round(chance.gauss(19, 9)))) for _ in range(count)], chance)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="JSONL with a text field, instead of made-up texts")
    parser.add_argument("--dtype", default="auto", help="nlptasks' number format")
    arguments = parser.parse_args()
    texts = read_texts(arguments.data, arguments.texts) if arguments.data else sample_texts(arguments.texts)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = merged_checkpoint(adapter_of("sentiment", Path(folder) / "spare"), Path(folder) / "merged")
        compare(texts, checkpoint, arguments.rounds, arguments.dtype)


def compare(texts: Sequence[str], checkpoint: Path, rounds: int, dtype: str = "auto") -> None:
    """Time both, taking turns, and print medians and their ratio."""
    from transformers import pipeline

    stock = pipeline("text-classification", model=str(checkpoint), batch_size=32)
    sample = list(texts)
    answers: dict[str, list[str]] = {}
    with Engine(dtype=dtype) as engine:
        works = {
            "nlptasks": lambda: answers.update(nlptasks=[r.label for r in engine.run("sentiment", sample)]),
            "pipeline": lambda: answers.update(pipeline=[r["label"] for r in stock(sample)]),
        }
        # Loading and the first call's set-up are not what is compared.
        stock(sample[:32])
        first = engine.run("sentiment", sample[:32])[0]
        times = in_turns(works, rounds)
    same = sum(a == b for a, b in zip(answers["nlptasks"], answers["pipeline"], strict=True))
    print_times(times, len(sample))
    gain = ratio(times, "pipeline", "nlptasks")
    print(f"ratio    {gain:.1f} times the texts/s of the pipeline; same label for {same} of {len(sample)}")
    served = dtype if dtype != "auto" else choose_placement().dtype
    print(f"numbers  nlptasks {served}, pipeline {str(stock.model.dtype).removeprefix('torch.')}")
    print(f"model    {first.model} + {first.adapter}")


if __name__ == "__main__":
    main()
