"""How many sentences of each quality a translator's doubts flag, by the threshold of the tokens' probability.

    python benchmarks/translation_doubts.py SETS [--model MODEL] [--pairs en-fr,fr-en] [--rows 30]

SETS is as in benchmarks/translation.py; of each file `--rows` rows are drawn with the seed. Rows of one sentence are
measured, by sentence chrF (sacreBLEU) against the row's translation. At the threshold 0.00 only what the texts say
counts.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from sacrebleu.metrics import CHRF
from translation import PAIRS, files, rows_of

from nlptasks import Engine
from nlptasks_plugins.translation import doubts

BANDS = {"under 30": (0, 30), "30 to 60": (30, 60), "over 60": (60, 101)}
THRESHOLDS = (0.0, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)


def main() -> None:
    """Translate, measure, print the curve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("--model", help="the embedded translator when not given")
    parser.add_argument("--pairs", default=PAIRS)
    parser.add_argument("--only", default="tatoeba,wmt,flores", help="beginnings of the folders' names")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dtype", default="auto")
    arguments = parser.parse_args()
    chrf = CHRF()
    measured: list[tuple[float, float, bool]] = []
    with Engine(arguments.model or "translator", dtype=arguments.dtype) as engine:
        for pair in arguments.pairs.split(","):
            source, target = pair.split("-")
            for file in files(arguments.sets, arguments.only):
                rows = rows_of(file, source, target, 10**9)
                rows = random.Random(arguments.seed).sample(rows, min(arguments.rows, len(rows)))
                results = engine.run(
                    "translation", [text for text, _ in rows], source_language=source, target_language=target
                )
                for (_, right), result in zip(rows, results, strict=True):
                    if len(result.segments) == 1:
                        [part] = result.segments
                        fault = part.doubt is not None and not part.doubt.startswith(doubts.UNLIKELY)
                        measured.append((chrf.sentence_score(part.text, [right]).score, part.score, fault))
    print(f"| flagged below | {' | '.join(f'chrF {band}' for band in BANDS)} |\n|---|---|---|---|")
    for threshold in sorted({*THRESHOLDS, doubts.DOUBTFUL}):
        cells = []
        for low, high in BANDS.values():
            flags = [fault or score < threshold for value, score, fault in measured if low <= value < high]
            cells.append(f"{sum(flags) / max(1, len(flags)):.0%}")
        today = " (in use)" if threshold == doubts.DOUBTFUL else ""
        print(f"| {threshold:.2f}{today} | {' | '.join(cells)} |")
    counts = [sum(low <= value < high for value, _, _ in measured) for low, high in BANDS.values()]
    print(f"| sentences | {' | '.join(map(str, counts))} |\nsacreBLEU: {chrf.get_signature()}")


if __name__ == "__main__":
    main()
