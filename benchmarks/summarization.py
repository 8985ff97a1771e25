"""ROUGE of summaries as they are served, beside a text's first three sentences, and what is wrong with them.

    python benchmarks/summarization.py test.jsonl [--rows 100] [--length short] [--dtype float32] [--show 3]

Rows: `lead-3`, which is the first three sentences of each text; `base`, the task's base without an adapter; `adapter`,
the one that serves. All are measured on the same rows of each file, with the same options, by rouge-score with
stemming (F1 in per cent). A summary is faulty if it is empty, if its last sentence has no end, or if it has more
characters than its text.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from nlptasks import Engine
from nlptasks.data.splits import sample
from nlptasks.families.sentences import sentences
from nlptasks.training import DataOptions
from nlptasks.training.families.base import family_trainer
from nlptasks.training.metrics.texts import rouge

_ENDED = re.compile(r"""[.!?…]["'”’»)\]]*$""")


def lead(text: str, count: int = 3) -> str:
    """The first sentences of a text."""
    places = sentences(text)[:count]
    return text[places[0][0] : places[-1][1]]


def faults(texts: Sequence[str], summaries: Sequence[str]) -> dict[str, int]:
    """How many summaries have each fault."""
    return {
        "empty": sum(not summary.strip() for summary in summaries),
        "cut": sum(not _ENDED.search(summary.strip()) for summary in summaries),
        "longer": sum(len(summary) > len(text) for text, summary in zip(texts, summaries, strict=True)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--rows", type=int, default=100, help="of each file, drawn by seed 13")
    parser.add_argument("--length", default="medium", help="the task's option")
    parser.add_argument("-a", "--adapter", help="instead of the one that serves")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--show", type=int, default=0, help="rows to print in full")
    arguments = parser.parse_args()
    with Engine(dtype=arguments.dtype) as engine:
        for file in arguments.files:
            measure(engine, file, arguments)


def measure(engine: Engine, file: Path, arguments: argparse.Namespace) -> None:
    """Print the table of one file."""
    family = family_trainer(engine.plugins.task("summarization"), {})
    rows = sample(family.read([str(file)], DataOptions()).rows, arguments.rows, 13, label=family.stratum)
    texts = [row.example.inputs.text for row in rows]
    references = [row.example.target for row in rows]
    written = {"lead-3": [lead(text) for text in texts]}
    for name, adapter in (("base", "none"), ("adapter", arguments.adapter)):
        results: list[Any] = engine.run("summarization", texts, adapter=adapter, length=arguments.length)
        written[name] = [result.summary for result in results]
        noted = sum(result.note is not None for result in results)
        print(
            f"{file.parent.name}/{file.name}: {name} is {results[0].adapter or results[0].model}, {noted} with a note"
        )
    print(f"{'':8} {len(texts)} rows, length {arguments.length}")
    for name, summaries in written.items():
        scores = "  ".join(f"{kind} {score.of():5.2f}" for kind, score in rouge(summaries, references).items())
        wrong = ", ".join(f"{count} {fault}" for fault, count in faults(texts, summaries).items())
        words = fmean(len(summary.split()) for summary in summaries)
        print(f"{name:8} {scores}  words {words:4.0f}  {wrong}", flush=True)
    for place in range(min(arguments.show, len(texts))):
        example = {"text": texts[place], "reference": references[place]}
        example |= {name: summaries[place] for name, summaries in written.items()}
        print(json.dumps(example, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
