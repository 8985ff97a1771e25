"""Fits the temperature and the threshold of an adapter `entities`, and writes them into its manifest.

python recipes/zero_shot/entity_scores.py DATA ADAPTER

They are fitted on sets that are neither trained on nor a yardstick: the test types of Few-NERD, CoNLL04 and SciERC. The
temperature gives the least calibration error of all spans that are reported at a threshold of 0.05; the threshold gives
the best mean F1 of the sets.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nlptasks import Settings
from nlptasks.families import spans
from nlptasks.families.zero_shot_entities import MATCH, TypedOptions, _text_of, _word_scores, decode
from nlptasks.runtime.resident import ResidentModel
from nlptasks.store.adapters import MANIFEST, open_adapter
from nlptasks.store.download import find_base
from nlptasks_plugins.entities import AnyEntities

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from zero_shot_entities import CHOOSING, read, words_of

TEMPERATURES = (0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5)
THRESHOLDS = tuple(round(float(value), 2) for value in np.arange(0.1, 0.9, 0.05))


class Scored:
    """The windows of a set's texts as the model read them, and the right spans."""

    def __init__(self, model: Any, task: AnyEntities, data: Path, name: str, most: int) -> None:
        rows = read(data, name, most)
        words = words_of(name, {label for _, right in rows for *_, label in right})
        pairs = {label: text.partition(": ")[::2] for label, text in words.items()}
        self.labels = sorted(pairs, key=lambda label: pairs[label])
        self.right = [right for _, right in rows]
        self.texts = [text for text, _ in rows]
        self.vectors, _ = task._vectors.get(model, MATCH.verb, [_text_of(*pairs[label]) for label in self.labels])
        self.groups = [
            group for group, _ in task.read(partial(model.apply, MATCH.verb), self.texts, TypedOptions(), model)
        ]

    def spans(self, info: Any, threshold: float) -> list[list[tuple[float, tuple[int, int, str]]]]:
        """The score and the place of each span that is reported."""
        reported = []
        for text, group in zip(self.texts, self.groups, strict=True):
            words = spans.words(text)
            chosen = decode(_word_scores(words, group, self.vectors, info), threshold)
            reported.append([(c.score, (words[c.first][0], words[c.last][1], self.labels[c.type])) for c in chosen])
        return reported


def f1(scored: Scored, reported: Sequence[Any], threshold: float) -> float:
    """F1 of the reported spans with at least that score."""
    right = answered = 0
    for truth, row in zip(scored.right, reported, strict=True):
        answers = {span for score, span in row if score >= threshold}
        right, answered = right + len(answers & truth), answered + len(answers)
    return 2 * right / max(1, answered + sum(map(len, scored.right)))


def calibration_error(scores: Any, right: Any, bins: int = 10) -> float:
    """Mean distance of score and share of right spans in ten bins of equal width, weighted by their spans."""
    numbers = np.minimum((scores * bins).astype(int), bins - 1)
    gaps = [abs(scores[numbers == n].sum() - right[numbers == n].sum()) for n in range(bins)]
    return float(sum(gaps) / max(1, len(scores)))


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("--rows", type=int, default=300)
    arguments = parser.parse_args()
    model = ResidentModel(find_base("minilm", Settings.from_env()), "cpu", "float32", head=lambda _: MATCH).bind(
        open_adapter(arguments.adapter)
    )
    task = AnyEntities()
    sets = {name: Scored(model, task, arguments.data, name, arguments.rows) for name in CHOOSING}
    best: tuple[float, float] = (float("inf"), 1.0)
    for temperature in TEMPERATURES:
        info = dataclasses.replace(model.info, temperature=temperature)
        pairs = [
            (score, span in truth)
            for scored in sets.values()
            for truth, row in zip(scored.right, scored.spans(info, 0.05), strict=True)
            for score, span in row
        ]
        scores, right = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
        error = calibration_error(scores, right)
        print(f"temperature {temperature}: calibration error {error:.3f} of {len(pairs)} spans")
        best = min(best, (error, temperature))
    info = dataclasses.replace(model.info, temperature=best[1])
    means = {}
    # The best of overlapping spans stay, so that a threshold only leaves out some of them.
    reported = {name: scored.spans(info, 0.05) for name, scored in sets.items()}
    for threshold in THRESHOLDS:
        values = {name: f1(scored, reported[name], threshold) for name, scored in sets.items()}
        means[threshold] = sum(values.values()) / len(values)
        print(f"threshold {threshold}: mean F1 {means[threshold]:.3f}", {k: round(v, 3) for k, v in values.items()})
    threshold = max(means, key=lambda value: means[value])
    file = arguments.adapter / MANIFEST
    manifest = json.loads(file.read_text(encoding="utf-8"))
    manifest |= {"temperature": best[1], "threshold": threshold}
    manifest["metrics"] = {"ece": round(best[0], 6), "f1": round(means[threshold], 6)}
    file.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"temperature {best[1]}, threshold {threshold}")


if __name__ == "__main__":
    main()
