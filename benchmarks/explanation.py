"""Whether explanations name the words that matter: comprehensiveness on labelled sentences.

    python benchmarks/explanation.py FILE [--rows 300]

FILE has a JSON object a line with a "text", as SST-2's validation set. Comprehensiveness (DeYoung et al. 2020,
arXiv:1911.03429) is how much the probability of the label falls without the words that weigh most, averaged over the
strongest 5, 10, 20 and 50 % of the words (one at least). Random words stand beside them. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlptasks import Classification, Engine, WordWeight

SHARES = (0.05, 0.1, 0.2, 0.5)


def without(text: str, words: Sequence[WordWeight]) -> str:
    """The text without some of its words."""
    for word in sorted(words, key=lambda word: -word.start):
        text = text[: word.start] + text[word.end :]
    return text


def variants(text: str, order: Sequence[WordWeight]) -> list[str]:
    """The text without the first words of an order, for each share."""
    return [without(text, order[: max(1, round(share * len(order)))]) or "." for share in SHARES]


def main() -> None:
    """Explain, leave words out, and print how far the probabilities fall."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--task", default="sentiment")
    arguments = parser.parse_args()
    rows = [json.loads(line)["text"] for line in arguments.file.read_text(encoding="utf-8").splitlines()]
    texts = random.Random(13).sample(rows, min(arguments.rows, len(rows)))
    with Engine() as engine:
        engine.run(arguments.task, texts[:2])
        begin = time.perf_counter()
        results: list[Any] = engine.run(arguments.task, texts, explain=True)
        seconds = time.perf_counter() - begin
        orders: dict[str, list[list[WordWeight]]] = {"explained": [], "random": []}
        for number, result in enumerate(results):
            words = list(result.explanations[0].words)
            orders["explained"].append(sorted(words, key=lambda word: -word.weight))
            orders["random"].append(random.Random(number).sample(words, len(words)))
        falls = {}
        for name, listed in orders.items():
            shortened = [text for source, order in zip(texts, listed, strict=True) for text in variants(source, order)]
            answers: list[Classification] = engine.run(arguments.task, shortened)
            falls[name] = statistics.fmean(
                result.score - score_of(answers[number * len(SHARES) + place], str(result.label))
                for number, result in enumerate(results)
                for place in range(len(SHARES))
            )
    figures = {
        "rows": len(texts),
        "comprehensiveness": {name: round(value, 3) for name, value in falls.items()},
        "times_random": round(falls["explained"] / falls["random"], 2),
        "seconds_a_text": round(seconds / len(texts), 3),
    }
    print(json.dumps(figures, indent=2))


def score_of(result: Classification, label: str) -> float:
    """The probability of a label."""
    return next(one.score for one in result.scores if one.label == label)


if __name__ == "__main__":
    main()
