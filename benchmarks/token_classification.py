"""Texts per second: `nlptasks.run("ner", texts)` against transformers' pipeline on the same checkpoint.

    python benchmarks/token_classification.py [--texts 2000] [--rounds 3] [--data rows.jsonl] [--dtype int8]

Both run in this process, one after the other (A B A B ...), on the same texts, each left at its defaults but for
--dtype, which is nlptasks' alone, and --batch-size, the pipeline's: it reads one text at a time and gives tokens, not
entities, unless it is told otherwise. The checkpoint is the shipped adapter merged into its base by plain PEFT. What
both answer is compared before: there the pipeline joins its tokens to entities as nlptasks does
(`aggregation_strategy="first"`), which is not timed.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import WORDS, adapter_of, in_turns, made_up, merged_checkpoint, print_times, ratio, read_texts

from nlptasks import Engine
from nlptasks.runtime.loading.devices import choose_placement

NAMES = ("Marie Curie", "Warsaw", "Siemens", "the University of Oslo", "Simone Biles", "Texas", "Unilever", "Nairobi")


def sample_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of 3 to 90 words, half of them below 18, about one word in twenty a name.

    The longest stay below the adapter's window: in windows the two would read different things.
    """
    chance = random.Random(seed)
    lengths = [max(3, min(90, round(chance.lognormvariate(2.9, 0.7)))) for _ in range(count)]
    return made_up(lengths, chance, [*WORDS * 2, *NAMES])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=1, help="the pipeline's; 1 is its default")
    parser.add_argument("--data", type=Path, help="JSONL with a text field, instead of made-up texts")
    parser.add_argument("--dtype", default="auto", help="nlptasks' number format")
    arguments = parser.parse_args()
    texts = read_texts(arguments.data, arguments.texts) if arguments.data else sample_texts(arguments.texts)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = merged_checkpoint(adapter_of("ner", Path(folder) / "spare"), Path(folder) / "merged")
        compare(texts, checkpoint, arguments)


def compare(texts: Sequence[str], checkpoint: Path, arguments: argparse.Namespace) -> None:
    """Compare the entities of both, time both, taking turns, and print medians and their ratio."""
    from transformers import pipeline

    stock = pipeline("token-classification", model=str(checkpoint), batch_size=arguments.batch_size)
    sample = list(texts)
    with Engine(dtype=arguments.dtype) as engine:
        results = engine.run("ner", sample)
        agreement = agree(results, stock(sample, aggregation_strategy="first", batch_size=32))
        works = {"nlptasks": lambda: engine.run("ner", sample), "pipeline": lambda: stock(sample)}
        times = in_turns(works, arguments.rounds)
    print_times(times, len(sample))
    print(f"ratio    {ratio(times, 'pipeline', 'nlptasks'):.1f} times the texts/s of the pipeline; {agreement}")
    served = arguments.dtype if arguments.dtype != "auto" else choose_placement().dtype
    print(f"numbers  nlptasks {served}, pipeline {str(stock.model.dtype).removeprefix('torch.')}")
    print(f"model    {results[0].model} + {results[0].adapter}")


def agree(results: Sequence[Any], stock: Sequence[Sequence[dict[str, Any]]]) -> str:
    """How many entities of either side the other has too, with the same type and borders."""
    ours = {(i, e.label, e.start, e.end) for i, result in enumerate(results) for e in result.entities}
    theirs = {(i, e["entity_group"], e["start"], e["end"]) for i, entities in enumerate(stock) for e in entities}
    return f"{len(ours & theirs)} entities in common, {len(ours - theirs)} and {len(theirs - ours)} of one alone"


if __name__ == "__main__":
    main()
