"""Fit the borders of `neutral` to an adapter for sentiment with two labels.

python recipes/sentiment_borders.py ADAPTER held_out.jsonl

ADAPTER is a name or a folder; the rows have the labels negative, neutral and positive. It prints SLOPE, LOWEST and
HIGHEST of `nlptasks_plugins.sentiment` by maximum likelihood, in which each label's rows weigh the same.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from nlptasks import Engine
from nlptasks_plugins import Sentiment

LABELS = ("negative", "neutral", "positive")


def chances(odds: np.ndarray, slope: float, lowest: float, highest: float) -> np.ndarray:
    """The probabilities of `LABELS`, of shape (rows, 3), from the log-odds of positive against negative."""
    negative, positive = expit(lowest - slope * odds), expit(slope * odds - highest)
    return np.stack([negative, 1 - negative - positive, positive], axis=1)


def fit(odds: Sequence[float], labels: Sequence[str]) -> tuple[float, float, float]:
    """The slope and the two borders; raises KeyError for other labels."""
    places = {label: place for place, label in enumerate(LABELS)}
    right = np.asarray([places[label] for label in labels])
    counts = Counter(labels)
    weights = np.asarray([1 / counts[label] for label in labels])

    def loss(parameters: np.ndarray) -> float:
        # Exponentials keep the slope positive and the borders in order.
        slope, lowest, gap = np.exp(parameters[0]), parameters[1], np.exp(parameters[2])
        rows = chances(np.asarray(odds), slope, lowest, lowest + gap)[np.arange(len(right)), right]
        return float(-(weights * np.log(np.maximum(rows, 1e-12))).sum())

    log_slope, lowest, log_gap = minimize(loss, [0.0, -1.0, 0.5], method="Nelder-Mead").x
    return float(np.exp(log_slope)), float(lowest), float(lowest + np.exp(log_gap))


def main() -> None:
    """Print the parameters."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("adapter")
    parser.add_argument("rows", type=Path)
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.rows.read_text(encoding="utf-8").splitlines()]
    with Engine(device="cpu", dtype="float32") as engine:
        results = engine.run(Sentiment, [row["text"] for row in rows], adapter=arguments.adapter)
    positive = np.asarray([{one.label: one.score for one in result.scores}["positive"] for result in results])
    odds = np.log(np.maximum(positive, 1e-9) / np.maximum(1 - positive, 1e-9))
    slope, lowest, highest = fit(odds.tolist(), [row["label"] for row in rows])
    print(f"SLOPE, LOWEST, HIGHEST = {slope:.2f}, {lowest:.2f}, {highest:.2f}")


if __name__ == "__main__":
    main()
