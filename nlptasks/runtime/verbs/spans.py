"""The verbs that point into a text: tag, extract. Their answers say which characters each token covers."""

from __future__ import annotations

from typing import Any

import numpy as np

from nlptasks.model import SpanLogits, TokenLogits
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.verbs.batching import Batcher
from nlptasks.runtime.verbs.encoding import Encoded, Reader, check_numbers, run_batches
from nlptasks.runtime.worker import BatchRequest


def tag(base: LoadedBase, head: Reader, batcher: Batcher, request: BatchRequest, limit: int) -> None:
    """Answer each item with the raw scores that `head` gives each token of its text."""
    encoded = Encoded(base, request.items, limit, segment=0)

    def answer(index: int, values: list[list[float]]) -> TokenLogits:
        segment = encoded.segments[index]
        scores = values[segment.tokens]
        check_numbers(base, scores)
        return TokenLogits(
            spans=segment.spans,
            values=tuple(map(tuple, scores)),
            num_tokens=encoded.full_lengths[index],
            truncated=encoded.truncated(index),
            **encoded.vocabulary(index),
        )

    run_batches(encoded, batcher, request, lambda batch: head(**batch).logits, answer)


def extract(base: LoadedBase, head: Reader, batcher: Batcher, request: BatchRequest, limit: int) -> None:
    """Answer each (question, context) with the raw scores that `head` gives each token of the context."""
    encoded = Encoded(base, request.items, limit, segment=1)

    def forward(batch: dict[str, Any]) -> Any:
        output = head(**batch)
        return np.stack([output.start_logits, output.end_logits], 1)

    def answer(index: int, values: list[list[float]]) -> SpanLogits:
        segment = encoded.segments[index]
        starts, ends = values
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
