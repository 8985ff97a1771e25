"""The verbs that read: classify, embed, offsets. Each function answers the items of one batch request."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nlptasks.errors import OverflowRefusedError, UnsupportedModelError
from nlptasks.model import Logits, Offsets, Text, Vector
from nlptasks.runtime.loading.base import LoadedBase, unknown_id
from nlptasks.runtime.verbs.batching import Batcher
from nlptasks.runtime.worker import BatchRequest

BROKEN = "its weights or the adapter's are broken: fetch or train them again."


@dataclass(frozen=True)
class Segment:
    """The tokens of one segment in an encoded row: `tokens` among the row's, `spans` in its text.

    `null` is the first special token's position: the classifier token's where there is one.
    """

    tokens: slice
    spans: tuple[tuple[int, int], ...]
    null: int


def find_segment(
    ids: Sequence[int],
    spans: Sequence[tuple[int, int]],
    segments: Sequence[int | None],
    segment: int,
    cls_id: int | None,
) -> Segment:
    """Find segment number `segment` in an encoded row.

    Args:
        ids: the row's token ids.
        spans: code points of each token in its own segment's text.
        segments: each token's segment, None for special tokens.
        segment: 0, or 1 for the second of a pair.
        cls_id: the tokenizer's classifier token, if it has one.
    """
    start = segments.index(segment) if segment in segments else 0
    tokens = slice(start, start + segments.count(segment))
    # XLNet's classifier token is the last one; a text may also spell it out, which makes it no special token.
    special = (i for i, (token, part) in enumerate(zip(ids, segments, strict=True)) if part is None and token == cls_id)
    return Segment(tokens, tuple((begin, end) for begin, end in spans[tokens]), next(special, 0))


class Reader(Protocol):
    """A task model: token ids, mask and so on by name, int64 arrays of shape (rows, tokens), in; an object whose
    attributes are arrays in float32 out."""

    def __call__(self, **batch: Any) -> Any: ...


LOST = "\ufffd"
"""What stands for a character that was lost when a text was decoded."""


class Encoded:
    """Token ids of texts, cut to the model's limit, with their full lengths.

    With a `segment` number (1 is the second of a pair), `segments` has the tokens of that segment for each text.

    Raises:
        UnsupportedModelError: `segment` is given, and the tokenizer does not know the spans of its tokens.
        OverflowRefusedError: a pair is too long and its first segment leaves no room for the second.
    """

    def __init__(self, base: LoadedBase, texts: Sequence[Text], limit: int, segment: int | None = None) -> None:
        self._tokenizer = base.tokenizer
        if segment is not None and not self._tokenizer.is_fast:
            raise UnsupportedModelError(
                "Expected a fast tokenizer, which knows the characters of each token, found "
                f"{type(self._tokenizer).__name__}: use a base that has a tokenizer.json."
            )
        pairs = any(isinstance(text, tuple) for text in texts)
        self._texts = [text if isinstance(text, tuple) else (text, "") for text in texts] if pairs else list(texts)
        self._segment = segment
        self._pad_id = base.pad_id
        self._unk_id = base.unknown_id
        self._num_special = base.num_special[pairs]
        self.rows: list[dict[str, list[int]]] = [{} for _ in texts]
        self.segments: list[Segment] = [Segment(slice(0), (), 0)] * len(texts)
        self._encode(range(len(texts)), truncation=False)
        self.full_lengths = [len(row["input_ids"]) for row in self.rows]
        long = [i for i, length in enumerate(self.full_lengths) if length > limit]
        if segment:
            self._check_questions(long, limit)
        self._encode(long, truncation="only_second" if segment else "longest_first", max_length=limit)
        self.lengths = [len(row["input_ids"]) for row in self.rows]

    def _encode(self, indices: Sequence[int], **options: Any) -> None:
        if not indices:
            return
        if self._segment is not None:
            options["return_offsets_mapping"] = True
        # `verbose=False` hides the tokenizer's "longer than the maximum" line: results say it.
        encoded = self._tokenizer([self._texts[i] for i in indices], verbose=False, **options)
        spans = encoded.pop("offset_mapping", None)
        for row, index in enumerate(indices):
            self.rows[index] = {name: encoded[name][row] for name in encoded}
            if self._segment is not None:
                ids, segments = encoded["input_ids"][row], encoded.sequence_ids(row)
                cls_id = self._tokenizer.cls_token_id
                self.segments[index] = find_segment(ids, spans[row], segments, self._segment, cls_id)

    def _check_questions(self, indices: Sequence[int], limit: int) -> None:
        for index in indices:
            size = self.full_lengths[index] - len(self.segments[index].spans)
            if size >= limit:
                raise OverflowRefusedError(
                    f"Expected a question that leaves room for its context within {limit} tokens, "
                    f"found one that takes {size} with the special tokens: shorten the question."
                )

    def truncated(self, index: int) -> bool:
        return self.full_lengths[index] > self.lengths[index]

    def vocabulary(self, index: int) -> dict[str, Any]:
        """The fields of `Vocabulary` for a text, as far as the model reads it."""
        ids = self.rows[index]["input_ids"]
        unknown = 0 if self._unk_id is None else ids.count(self._unk_id)
        unread = unknown >= len(ids) - self._num_special
        # BERT's tokenizers leave it out.
        if lost := "".join(self._texts[index]).count(LOST):
            unknown += lost * (not self._tokenizer(LOST, add_special_tokens=False)["input_ids"])
        return {"unknown": unknown, "unread": unread}

    def batch(self, indices: Sequence[int]) -> dict[str, Any]:
        """Right-padded arrays of shape (rows, longest) for the model."""
        return stack([self.rows[i] for i in indices], self._pad_id)


def reads_emoji(tokenizer: Any) -> bool:
    """Whether two common emoji are in the vocabulary."""
    ids = tokenizer("\U0001f44d \U0001f44e", add_special_tokens=False, verbose=False)["input_ids"]
    return unknown_id(tokenizer) not in ids


def stack(rows: Sequence[dict[str, list[int]]], pad_id: int, *, left: bool = False) -> dict[str, Any]:
    """Token rows as int64 arrays of shape (rows, longest)."""
    width = max(1, max(len(row["input_ids"]) for row in rows))
    batch = {}
    for name in rows[0]:
        batch[name] = np.full((len(rows), width), pad_id if name == "input_ids" else 0, np.int64)
        for line, row in zip(batch[name], rows, strict=True):
            if row[name]:
                line[slice(-len(row[name]), None) if left else slice(len(row[name]))] = row[name]
    return batch


def pad(rows: Sequence[dict[str, list[int]]], pad_id: int, device: str, *, left: bool = False) -> dict[str, Any]:
    """Token rows as tensors of shape (rows, longest)."""
    import torch

    return {name: torch.from_numpy(array).to(device) for name, array in stack(rows, pad_id, left=left).items()}


def classify(base: LoadedBase, head: Reader, batcher: Batcher, request: BatchRequest, limit: int) -> None:
    """Answer each item with the raw scores that `head` gives its text."""
    encoded = Encoded(base, request.items, limit)

    def answer(index: int, row: Any) -> Logits:
        values = row.tolist()
        check_numbers(base, [values])
        length, cut = encoded.full_lengths[index], encoded.truncated(index)
        return Logits(tuple(values), length, cut, **encoded.vocabulary(index))

    run_batches(encoded, batcher, request, lambda batch: head(**batch).logits, answer)


def embed(base: LoadedBase, head: Reader, batcher: Batcher, request: BatchRequest, limit: int) -> None:
    """Answer each item with the vector that `head` gives its text, as `MeanPooling` does."""
    encoded = Encoded(base, request.items, limit)

    def answer(index: int, row: Any) -> Vector:
        values = row.tolist()
        check_numbers(base, [values])
        length, cut = encoded.full_lengths[index], encoded.truncated(index)
        return Vector(tuple(values), length, cut, **encoded.vocabulary(index))

    run_batches(encoded, batcher, request, lambda batch: head(**batch).vectors, answer)


def offsets(base: LoadedBase, request: BatchRequest) -> None:
    """Answer each item with the character spans of its tokens."""
    encoded = base.tokenizer(
        list(request.items),
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        truncation=False,
        verbose=False,
    )
    for i, spans in enumerate(encoded["offset_mapping"]):
        request.answer(i, Offsets(tuple(spans)))


def check_numbers(base: LoadedBase, rows: Iterable[Sequence[float]]) -> None:
    """Raise UnsupportedModelError if one of the numbers is NaN, of which every comparison is false."""
    if math.isnan(sum(map(sum, rows))):
        dtype = base.placement.dtype
        hint = BROKEN if dtype == "float32" else "use dtype='float32'."
        raise UnsupportedModelError(f"{base.config.model_type} answers NaN in {dtype}: {hint}")


def run_batches(
    encoded: Encoded,
    batcher: Batcher,
    request: BatchRequest,
    forward: Callable[[dict[str, Any]], Any],
    answer: Callable[[int, Any], Any],
) -> None:
    """Run `forward` on batches of `encoded`; `answer` makes an item's answer of its row in the array that it gives."""
    answering = threading.Lock()

    def step(indices: list[int]) -> None:
        request.check()
        alive = [i for i in indices if request.alive(i)]
        if alive:
            rows = forward(encoded.batch(alive))
            # One thread at a time reports progress to the callers.
            with answering:
                for i, row in zip(alive, rows, strict=True):
                    request.answer(i, answer(i, row))

    batcher.run(encoded.lengths, step, request)
