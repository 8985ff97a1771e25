"""The verbs that read: classify, embed, offsets. One turn answers the items of many callers."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nlptasks.errors import UnsupportedModelError
from nlptasks.model import Logits, Offsets, Text, Vector
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.verbs.batching import Batcher
from nlptasks.runtime.worker import Turn

BROKEN = "its weights or the adapter's are broken: fetch or train them again."


class Encoded:
    """Token ids of texts, cut to the model's limit, with their full lengths."""

    def __init__(self, base: LoadedBase, texts: Sequence[Text], limit: int, truncation: str = "longest_first") -> None:
        pairs = any(isinstance(text, tuple) for text in texts)
        self._given = [text if isinstance(text, tuple) else (text, "") for text in texts] if pairs else list(texts)
        self._tokenizer = base.tokenizer
        self._pad_id = base.tokenizer.pad_token_id or 0
        self._device = base.placement.device
        self.rows: list[dict[str, list[int]]] = [{} for _ in texts]
        self._encode(range(len(texts)), truncation=False)
        self.full_lengths = [len(row["input_ids"]) for row in self.rows]
        long = [i for i, length in enumerate(self.full_lengths) if length > limit]
        self._check_long(long, limit)
        self._encode(long, truncation=truncation, max_length=limit)
        self.lengths = [len(row["input_ids"]) for row in self.rows]

    def _encode(self, indices: Sequence[int], **options: Any) -> None:
        if not indices:
            return
        # `verbose=False` keeps the tokenizer's own "longer than the maximum" line away: results say it.
        found = self._tokenizer([self._given[i] for i in indices], verbose=False, **options)
        for row, index in enumerate(indices):
            self._keep(index, found, row)

    def _keep(self, index: int, found: Any, row: int) -> None:
        self.rows[index] = {name: found[name][row] for name in found}

    def _check_long(self, indices: Sequence[int], limit: int) -> None:
        """Refuse texts that cannot be cut; plain ones always can."""

    def truncated(self, index: int) -> bool:
        return self.full_lengths[index] > self.lengths[index]

    def batch(self, indices: Sequence[int]) -> dict[str, Any]:
        """Right-padded tensors of shape (rows, longest) for the model."""
        return pad([self.rows[i] for i in indices], self._pad_id, self._device)


def pad(rows: Sequence[dict[str, list[int]]], pad_id: int, device: str, *, left: bool = False) -> dict[str, Any]:
    """Stack token rows into tensors of shape (rows, longest)."""
    import torch

    width = max(1, max(len(row["input_ids"]) for row in rows))
    batch = {}
    for name in rows[0]:
        fill = pad_id if name == "input_ids" else 0
        padded = [
            [fill] * (width - len(r[name])) + r[name] if left else r[name] + [fill] * (width - len(r[name]))
            for r in rows
        ]
        batch[name] = torch.tensor(padded, dtype=torch.long).to(device)
    return batch


def classify_turn(base: LoadedBase, head: Any, batcher: Batcher, turn: Turn, limit: int) -> None:
    """Answer each item with the raw scores that `head` gives its text."""
    encoded = Encoded(base, turn.items, limit)

    def forward(batch: dict[str, Any]) -> list[list[float]]:
        values: list[list[float]] = head(**batch).logits.float().tolist()
        return values

    def answer(index: int, values: list[float]) -> Logits:
        check_numbers(base, [values])
        return Logits(tuple(values), encoded.full_lengths[index], encoded.truncated(index))

    read_turn(encoded, batcher, turn, forward, answer)


def embed_turn(base: LoadedBase, batcher: Batcher, turn: Turn, limit: int) -> None:
    """Answer each item with the mean of its last hidden states, scaled to length one.

    Mean pooling and scaling are what sentence-transformers' all-MiniLM-L6-v2 was trained with.
    """
    import torch

    encoded = Encoded(base, turn.items, limit)

    def forward(batch: dict[str, Any]) -> list[list[float]]:
        hidden = base.backbone(**batch).last_hidden_state.float()
        mask = batch["attention_mask"].unsqueeze(-1).float()
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        values: list[list[float]] = torch.nn.functional.normalize(mean, dim=-1).tolist()
        return values

    def answer(index: int, values: list[float]) -> Vector:
        check_numbers(base, [values])
        return Vector(tuple(values), encoded.full_lengths[index], encoded.truncated(index))

    read_turn(encoded, batcher, turn, forward, answer)


def offsets_turn(base: LoadedBase, turn: Turn) -> None:
    """Answer each item with the character spans of its tokens."""
    if not turn.items:
        return
    encoded = base.tokenizer(
        list(turn.items),
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        truncation=False,
        verbose=False,
    )
    for i, spans in enumerate(encoded["offset_mapping"]):
        turn.answer(i, Offsets(tuple(spans)))


def check_numbers(base: LoadedBase, rows: Iterable[Sequence[float]]) -> None:
    """Raise UnsupportedModelError if one of the numbers is NaN, of which every comparison is false."""
    if math.isnan(sum(map(sum, rows))):
        dtype = base.placement.dtype
        hint = BROKEN if dtype == "float32" else "use dtype='float32'."
        raise UnsupportedModelError(f"{base.config.model_type} answers NaN in {dtype}: {hint}")


def read_turn(
    encoded: Encoded,
    batcher: Batcher,
    turn: Turn,
    forward: Callable[[dict[str, Any]], list[Any]],
    answer: Callable[[int, Any], Any],
) -> None:
    """Run `forward` on batches of `encoded` and answer each item with what `answer` makes of its row."""
    import torch

    answering = threading.Lock()

    def step(indices: list[int]) -> list[None]:
        alive = [i for i in indices if turn.alive(i)]
        if alive:
            with torch.inference_mode():
                rows = forward(encoded.batch(alive))
            # Callers are told of their progress by one thread at a time.
            with answering:
                for i, values in zip(alive, rows, strict=True):
                    turn.answer(i, answer(i, values))
        return [None] * len(indices)

    batcher.run(range(len(turn.items)), encoded.lengths, step, before=turn.check)
