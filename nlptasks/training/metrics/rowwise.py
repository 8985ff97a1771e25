"""Metrics as functions of sums over rows: their intervals, the scores of single rows, and tests of differences.

A row's counts are all that a metric needs of it, so that a thousand samples of the rows take one product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SAMPLES = 1000
"""Samples of an interval and of a test: 1,000 are usual (Koehn 2004, "Statistical Significance Tests for Machine
Translation Evaluation")."""

LEVEL = 0.95
"""The share of samples inside an interval."""

SEED = 13

_CHUNK = 10**7
"""The most numbers of a matrix of samples."""


@dataclass(frozen=True)
class RowCounts:
    """A metric of rows: `value` of the sums of `counts` over them.

    `counts` has the shape (rows, counts); `value` maps sums of shape (..., counts) to metrics of shape (...), of which
    `best` is the highest.
    """

    counts: Array
    value: Callable[[Array], Array]
    best: float = 1.0

    def of(self, rows: Sequence[int] | slice = slice(None)) -> float:
        """The metric of some rows, by default of all."""
        return float(self.value(self.counts[rows].sum(axis=0)))

    def each(self) -> Array:
        """The metric of each row alone."""
        return self.value(self.counts)

    def interval(self, samples: int = SAMPLES) -> tuple[float, float]:
        """The bootstrap's percentile interval (Efron 1979): samples of as many rows, drawn with replacement."""
        size = len(self.counts)
        values = [self.value(weights @ self.counts) for weights in _draws(size, samples)]
        low, high = np.quantile(np.concatenate(values), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """A metric of one system less that of another on the same rows, with its interval.

    `p_value` is the chance of a difference as large in either direction if both were equally good.
    """

    value: float
    low: float
    high: float
    p_value: float


def difference(new: RowCounts, old: RowCounts, samples: int = SAMPLES) -> Difference:
    """Compare two systems on the same rows, in the same order.

    The interval is a paired bootstrap's (Koehn 2004); the p-value that of an approximate randomisation test, which
    swaps the systems' answers to random rows (Noreen 1989; Yeh 2000, arXiv:cs/0008005).
    """
    size, actual = len(new.counts), new.of() - old.of()
    drawn = [new.value(weights @ new.counts) - old.value(weights @ old.counts) for weights in _draws(size, samples)]
    low, high = np.quantile(np.concatenate(drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    extreme = 0
    for swaps in _draws(size, samples, swaps=True):
        moved = swaps @ (old.counts - new.counts)
        gaps = new.value(new.counts.sum(axis=0) + moved) - old.value(old.counts.sum(axis=0) - moved)
        # Sums in another order differ in their last digits.
        extreme += int((np.abs(gaps) >= abs(actual) - 1e-9).sum())
    return Difference(actual, float(low), float(high), (extreme + 1) / (samples + 1))


def _draws(size: int, samples: int, *, swaps: bool = False) -> Iterable[Array]:
    """How often each sample has each row, or with `swaps` whether it swaps it: shape (some samples, size)."""
    chance = np.random.default_rng(SEED)
    step = max(1, _CHUNK // max(1, size))
    for start in range(0, samples, step):
        count = min(step, samples - start)
        drawn = chance.integers(2, size=(count, size)) if swaps else chance.multinomial(size, [1 / size] * size, count)
        yield drawn.astype(np.float64)


def mean(values: Iterable[float], best: float = 1.0) -> RowCounts:
    """The mean of a value of each row."""
    column = np.asarray(list(values), dtype=np.float64)
    counts = np.stack([column, np.ones_like(column)], axis=1)
    return RowCounts(counts, lambda sums: _share(sums[..., 0], sums[..., 1]), best)


def micro_f1(right: Iterable[float], answered: Iterable[float], expected: Iterable[float]) -> RowCounts:
    """F1 of all answers together: how many of a row's are right, were answered, and were expected.

    Nothing answered and nothing expected is 1 for a row alone and for all.
    """
    counts = np.asarray([list(right), list(answered), list(expected)], dtype=np.float64).T
    return RowCounts(
        counts,
        lambda sums: np.where(
            sums[..., 1] + sums[..., 2] == 0, 1.0, _share(2 * sums[..., 0], sums[..., 1] + sums[..., 2])
        ),
    )


def macro_f1(answered: Array, expected: Array, *, absent: bool = False) -> RowCounts:
    """The mean F1 of labels.

    Args:
        answered: 1 for each label that a row was answered, shape (rows, labels).
        expected: 1 for each label that it has.
        absent: whether labels that were neither answered nor expected count, as 0; else they are left out.
    """
    width = answered.shape[1]

    def value(sums: Array) -> Array:
        right, both = sums[..., :width], sums[..., width:]
        present = np.ones_like(both) if absent else both > 0
        return _share(_share(2 * right, both).sum(axis=-1), present.sum(axis=-1))

    return RowCounts(np.concatenate([answered * expected, answered + expected], axis=1), value)


def corpus_metric(metric: Any, written: Sequence[str], references: Sequence[str]) -> RowCounts:
    """A metric of sacreBLEU, from the counts of n-grams that it sums itself."""
    counts = np.asarray(metric._extract_corpus_statistics(list(written), [list(references)]), dtype=np.float64)

    def value(sums: Array) -> Array:
        rows = sums.reshape(-1, sums.shape[-1])
        scores = [float(metric._compute_score_from_stats(row.tolist()).score) for row in rows]
        return np.asarray(scores).reshape(sums.shape[:-1])

    return RowCounts(counts, value, 100.0)


def _share(part: Array, whole: Array) -> Array:
    """A part of a whole, 0 of nothing."""
    shares: Array = np.divide(part, whole, out=np.zeros_like(np.asarray(whole, dtype=np.float64)), where=whole != 0)
    return shares
