"""BLEU and chrF of translators, for each pair of languages and test set, as rows of a Markdown table.

    python benchmarks/translation.py SETS [--model MODEL] [--adapter ADAPTER] [--pairs en-fr,fr-en] [--rows 1000]

SETS is a folder of folders with `test*.jsonl[.gz]` (`--split` names others), a row `{"en": ..., "fr": ...}` a line. A
document is translated sentence by sentence as `nlptasks run translation` does it; the first `--rows` rows of each file
are taken.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path

from sacrebleu.metrics import BLEU, CHRF

from nlptasks import Engine
from nlptasks.training.metrics.texts import measure

PAIRS = "en-fr,fr-en,en-de,de-en,en-es,es-en"
KINDS = ("bleu", "chrf")


def signatures() -> dict[str, str]:
    """sacreBLEU's signatures, which say how a figure was computed, by metric."""
    metrics = {"bleu": BLEU(), "chrf": CHRF()}
    for metric in metrics.values():
        metric.corpus_score(["a"], [["a"]])
    return {name: str(metric.get_signature()) for name, metric in metrics.items()}


def rows_of(file: Path, source: str, target: str, most: int) -> list[tuple[str, str]]:
    """(text, reference) of the file's first rows that have both languages."""
    content = file.read_bytes()
    text = (gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8")
    rows = (json.loads(line) for line in text.split("\n") if line.strip())
    return [(row[source], row[target]) for row in rows if source in row and target in row][:most]


def files(folder: Path, names: str, split: str = "test") -> Iterator[Path]:
    """The files of a split of the sets whose folders begin with one of the names."""
    for file in sorted(folder.glob(f"*/{split}*.jsonl*")):
        if file.parent.name.startswith(tuple(names.split(","))):
            yield file


def main() -> None:
    """Translate, measure, print a row for each pair and file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("--model", help="the embedded translator when not given")
    parser.add_argument("--adapter")
    parser.add_argument("--pairs", default=PAIRS)
    parser.add_argument("--only", default="", help="beginnings of the folders' names, separated by commas")
    parser.add_argument("--split", default="test", help="beginning of the files' names; validation to choose by")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--beams", type=int)
    parser.add_argument("--max-new-tokens", type=int, help="of a sentence; the task's own limit when not given")
    parser.add_argument("--dtype", default="auto")
    arguments = parser.parse_args()
    settings = {"num_beams": arguments.beams, "max_new_tokens": arguments.max_new_tokens}
    options = {name: value for name, value in settings.items() if value}
    print("| model | pair | test set | rows | BLEU | chrF | doubtful | seconds |\n|---|---|---|---|---|---|---|---|")
    with Engine(arguments.model or "translator", dtype=arguments.dtype) as engine:
        for pair in arguments.pairs.split(","):
            source, target = pair.split("-")
            for file in files(arguments.sets, arguments.only, arguments.split):
                rows = rows_of(file, source, target, arguments.rows)
                if not rows:
                    continue
                began = time.perf_counter()
                results = engine.run(
                    "translation", [text for text, _ in rows], source_language=source, target_language=target,
                    adapter=arguments.adapter, **options,
                )  # fmt: skip
                seconds = time.perf_counter() - began
                measured = measure(KINDS, [result.translation for result in results], [right for _, right in rows])
                bleu, chrf = (measured[kind].of() for kind in KINDS)
                parts = [segment for result in results for segment in result.segments]
                doubtful = sum(segment.doubt is not None for segment in parts) / max(1, len(parts))
                name = f"{results[0].model}{f' + {results[0].adapter}' if results[0].adapter else ''}"
                where = f"{file.parent.name}/{file.name.partition('.')[0]}"
                print(
                    f"| {name} | {pair} | {where} | {len(rows)} | {bleu:.1f} | {chrf:.1f} "
                    f"| {doubtful:.0%} | {seconds:.0f} |",
                    flush=True,
                )
    for kind, signature in signatures().items():
        print(f"{kind}: {signature}")


if __name__ == "__main__":
    main()
