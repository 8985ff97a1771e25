"""Metrics of written texts against references, by the field's own packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from nlptasks.errors import MissingExtraError


def exact_match(written: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The share of texts that are the reference, white space at the ends aside."""
    return {"exact_match": fmean(a.strip() == b.strip() for a, b in zip(written, references, strict=True))}


def rouge(written: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean ROUGE-1, ROUGE-2 and ROUGE-Lsum F1 in per cent, with Porter's stemmer, by Google's rouge-score.

    ROUGE-Lsum (Lin 2004) compares line by line: sentences are put on lines of their own first.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise MissingExtraError("ROUGE", "train") from error
    kinds = ("rouge1", "rouge2", "rougeLsum")
    scorer = RougeScorer(kinds, use_stemmer=True)
    rows = [scorer.score(_lines(right), _lines(text)) for text, right in zip(written, references, strict=True)]
    return {kind: 100 * fmean(row[kind].fmeasure for row in rows) for kind in kinds}


def bleu(written: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Corpus BLEU in per cent, by sacreBLEU with its defaults (13a tokens, exponential smoothing)."""
    return {"bleu": float(_sacrebleu().BLEU().corpus_score(list(written), [list(references)]).score)}


def chrf(written: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Corpus chrF2 in per cent, by sacreBLEU with its defaults."""
    return {"chrf": float(_sacrebleu().CHRF().corpus_score(list(written), [list(references)]).score)}


METRICS: Mapping[str, Callable[[Sequence[str], Sequence[str]], dict[str, float]]] = {
    "exact_match": exact_match,
    "rouge": rouge,
    "bleu": bleu,
    "chrf": chrf,
}


def measure(kinds: Sequence[str], written: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """All metrics of these kinds; one text and one reference a row."""
    return {name: value for kind in kinds for name, value in METRICS[kind](written, references).items()}


def _sacrebleu() -> Any:
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise MissingExtraError("BLEU and chrF", "train") from error
    return metrics


def _lines(text: str) -> str:
    from nlptasks.families.sentences import sentences

    return "\n".join(text[start:end] for start, end in sentences(text))
