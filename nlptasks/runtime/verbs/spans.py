"""The verbs that point into a text: tag, extract. Their answers say which characters each token covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nlptasks.errors import OverflowRefusedError, UnsupportedModelError
from nlptasks.model import SpanLogits, Text, TokenLogits
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.verbs.batching import Batcher
from nlptasks.runtime.verbs.encoding import Encoded, check_numbers, read_turn
from nlptasks.runtime.worker import Turn


@dataclass(frozen=True)
class Place:
    """Where one segment of a row stands: `tokens` among the row's, `spans` in its text.

    `null` is the first special token's position: the classifier token's where there is one.
    """

    tokens: slice
    spans: tuple[tuple[int, int], ...]
    null: int


def place_of(
    ids: Sequence[int],
    spans: Sequence[tuple[int, int]],
    segments: Sequence[int | None],
    segment: int,
    cls_id: int | None,
) -> Place:
    """Where segment number `segment` of an encoded row stands.

    Args:
        ids: the row's token ids.
        spans: code points of each token in its own segment's text.
        segments: each token's segment, None for special tokens.
        segment: 0, or 1 for the second of a pair.
        cls_id: the tokenizer's classifier token, if it has one.
    """
    start = segments.index(segment) if segment in segments else 0
    tokens = slice(start, start + segments.count(segment))
    return Place(tokens, tuple((begin, end) for begin, end in spans[tokens]), _null_position(ids, segments, cls_id))


class Located(Encoded):
    """Encoded texts, and the place of each one's segment number `segment` (1 is the second of a pair).

    Raises:
        UnsupportedModelError: the tokenizer does not know where its tokens stand.
        OverflowRefusedError: a pair is too long and its first segment leaves no room for the second.
    """

    def __init__(self, base: LoadedBase, texts: Sequence[Text], limit: int, segment: int) -> None:
        _check_fast(base.tokenizer)
        self._segment = segment
        self.places: list[Place] = [Place(slice(0), (), 0)] * len(texts)
        super().__init__(base, texts, limit, "only_second" if segment else "longest_first")

    def _encode(self, indices: Sequence[int], **options: Any) -> None:
        super()._encode(indices, return_offsets_mapping=True, **options)

    def _keep(self, index: int, found: Any, row: int) -> None:
        super()._keep(index, found, row)
        spans: Any = self.rows[index].pop("offset_mapping")
        ids = self.rows[index]["input_ids"]
        self.places[index] = place_of(ids, spans, found.sequence_ids(row), self._segment, self._tokenizer.cls_token_id)

    def _check_long(self, indices: Sequence[int], limit: int) -> None:
        if not self._segment:
            return
        for index in indices:
            taken = self.full_lengths[index] - len(self.places[index].spans)
            if taken >= limit:
                raise OverflowRefusedError(
                    f"Expected a question that leaves room for its context within {limit} tokens, "
                    f"found one that takes {taken} with the special tokens: shorten the question."
                )


def tag_turn(base: LoadedBase, head: Any, batcher: Batcher, turn: Turn, limit: int) -> None:
    """Answer each item with the raw scores that `head` gives each token of its text."""
    encoded = Located(base, turn.items, limit, segment=0)

    def forward(batch: dict[str, Any]) -> list[list[list[float]]]:
        values: list[list[list[float]]] = head(**batch).logits.float().tolist()
        return values

    def answer(index: int, values: list[list[float]]) -> TokenLogits:
        place = encoded.places[index]
        kept = values[place.tokens]
        check_numbers(base, kept)
        return TokenLogits(
            spans=place.spans,
            values=tuple(map(tuple, kept)),
            num_tokens=encoded.full_lengths[index],
            truncated=encoded.truncated(index),
        )

    read_turn(encoded, batcher, turn, forward, answer)


def extract_turn(base: LoadedBase, head: Any, batcher: Batcher, turn: Turn, limit: int) -> None:
    """Answer each (question, context) with the raw scores that `head` gives each token of the context."""
    import torch

    encoded = Located(base, turn.items, limit, segment=1)

    def forward(batch: dict[str, Any]) -> list[list[list[float]]]:
        output = head(**batch)
        values: list[list[list[float]]] = torch.stack([output.start_logits, output.end_logits], 1).float().tolist()
        return values

    def answer(index: int, values: list[list[float]]) -> SpanLogits:
        place = encoded.places[index]
        starts, ends = values
        null = starts[place.null] + ends[place.null]
        starts, ends = starts[place.tokens], ends[place.tokens]
        check_numbers(base, (starts, ends, [null]))
        return SpanLogits(
            spans=place.spans,
            starts=tuple(starts),
            ends=tuple(ends),
            null=null,
            num_tokens=encoded.full_lengths[index],
            truncated=encoded.truncated(index),
        )

    read_turn(encoded, batcher, turn, forward, answer)


def _check_fast(tokenizer: Any) -> None:
    if not tokenizer.is_fast:
        raise UnsupportedModelError(
            f"Expected a fast tokenizer, which says where its tokens stand in the text, found "
            f"{type(tokenizer).__name__}: use a base that has a tokenizer.json."
        )


def _null_position(ids: Sequence[int], segments: Sequence[int | None], cls_id: int | None) -> int:
    # XLNet's classifier token is the last one; a text may also spell it out, which makes it no special token.
    special = (i for i, (token, part) in enumerate(zip(ids, segments, strict=True)) if part is None and token == cls_id)
    return next(special, 0)
