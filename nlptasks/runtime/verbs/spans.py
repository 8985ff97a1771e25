"""The verbs that point into a text: tag, vectors, extract. Their answers say which characters each token covers."""

from __future__ import annotations

from typing import Any

import numpy as np

from nlptasks.model import SpanLogits, TokenLogits, TokenVectors
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.verbs.batching import Batcher
from nlptasks.runtime.verbs.encoding import Encoded, Reader, check_numbers, run_batches
from nlptasks.runtime.worker import BatchRequest


def tag(base: LoadedBase, head: Reader, batcher: Batcher, request: BatchRequest, limit: int) -> None:
    """Answer each item with the raw scores that `head` gives each token of its text."""
    encoded = Encoded(base, request.items, limit, segment=0)

    def answer(index: int, rows: Any) -> TokenLogits:
        segment = encoded.segments[index]
        scores = rows[segment.tokens].tolist()
        check_numbers(base, scores)
        return TokenLogits(
            spans=segment.spans,
            values=tuple(map(tuple, scores)),
            num_tokens=encoded.full_lengths[index],
            truncated=encoded.truncated(index),
            **encoded.vocabulary(index),
        )

    run_batches(encoded, batcher, request, lambda batch: head(**batch).logits, answer)


def vectors(base: LoadedBase, head: Reader, batcher: Batcher, request: BatchRequest, limit: int) -> None:
    """Answer each item with the vectors that `head` gives to the tokens of its text."""
    encoded = Encoded(base, request.items, limit, segment=0)

    def answer(index: int, rows: Any) -> TokenVectors:
        segment = encoded.segments[index]
        # A copy: the batch's array has the padding and the other texts too.
        values = rows[segment.tokens].copy()
        check_numbers(base, [[float(values.sum())]])
        length, cut = encoded.full_lengths[index], encoded.truncated(index)
        return TokenVectors(segment.spans, values, length, cut, **encoded.vocabulary(index))

    run_batches(encoded, batcher, request, lambda batch: head(**batch).logits, answer)


def extract(base: LoadedBase, head: Reader, batcher: Batcher, request: BatchRequest, limit: int) -> None:
    """Answer each (question, context) with the raw scores that `head` gives each token of the context."""
    encoded = Encoded(base, request.items, limit, segment=1)

    def forward(batch: dict[str, Any]) -> Any:
        output = head(**batch)
        return np.stack([output.start_logits, output.end_logits], 1)

    def answer(index: int, rows: Any) -> SpanLogits:
        segment = encoded.segments[index]
        starts, ends = rows.tolist()
        null = starts[segment.null] + ends[segment.null]
        starts, ends = starts[segment.tokens], ends[segment.tokens]
        check_numbers(base, (starts, ends, [null]))
        return SpanLogits(
            spans=segment.spans,
            starts=tuple(starts),
            ends=tuple(ends),
            null=null,
            num_tokens=encoded.full_lengths[index],
            truncated=encoded.truncated(index),
            **encoded.vocabulary(index),
        )

    run_batches(encoded, batcher, request, forward, answer)
