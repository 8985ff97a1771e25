"""Metrics of written texts against references, by the field's own packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nlptasks.errors import MissingExtraError
from nlptasks.training.metrics.rowwise import RowCounts, corpus_metric, mean


def exact_match(written: Sequence[str], references: Sequence[str]) -> dict[str, RowCounts]:
    """The share of texts that are the reference, white space at the ends aside."""
    return {"exact_match": mean(a.strip() == b.strip() for a, b in zip(written, references, strict=True))}


def rouge(written: Sequence[str], references: Sequence[str]) -> dict[str, RowCounts]:
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
    return {kind: mean((100 * row[kind].fmeasure for row in rows), 100.0) for kind in kinds}


def bleu(written: Sequence[str], references: Sequence[str]) -> dict[str, RowCounts]:
    """Corpus BLEU in per cent, by sacreBLEU with its defaults (13a tokens, exponential smoothing)."""
    return {"bleu": corpus_metric(_sacrebleu().BLEU(), written, references)}


def chrf(written: Sequence[str], references: Sequence[str]) -> dict[str, RowCounts]:
    """Corpus chrF2 in per cent, by sacreBLEU with its defaults."""
    return {"chrf": corpus_metric(_sacrebleu().CHRF(), written, references)}


METRICS: Mapping[str, Callable[[Sequence[str], Sequence[str]], dict[str, RowCounts]]] = {
    "exact_match": exact_match,
    "rouge": rouge,
    "bleu": bleu,
    "chrf": chrf,
}


def measure(kinds: Sequence[str], written: Sequence[str], references: Sequence[str]) -> dict[str, RowCounts]:
    """All metrics of these kinds; one text and one reference a row."""
    return {name: counts for kind in kinds for name, counts in METRICS[kind](written, references).items()}


def notes(measured: Mapping[str, RowCounts]) -> list[str]:
    """What explains metrics of `measure`."""
    # sacreBLEU's last count is that of the sequences of four that were written.
    if "bleu" not in measured or measured["bleu"].counts[:, -1].any():
        return []
    return ["BLEU is 0 because no answer has four words: it counts sequences of one to four"]


def _sacrebleu() -> Any:
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise MissingExtraError("BLEU and chrF", "train") from error
    return metrics


def _lines(text: str) -> str:
    from nlptasks.families.sentences import sentences

    return "\n".join(text[start:end] for start, end in sentences(text))
