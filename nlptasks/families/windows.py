"""Cut a long text into windows that a model can read, without losing a character."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import Field

from nlptasks.errors import OverflowRefusedError
from nlptasks.model import Logits, Model, Offsets, SpanLogits, TokenLogits, TokenVectors
from nlptasks.task import Overflow

ON_OVERFLOW: Any = Field(
    default="window",
    description="A text longer than the model's window: read all of it in windows, cut it, or refuse it.",
)

K = TypeVar("K")
Spans = Sequence[tuple[int, int]]
"""(start, end) code points."""

MARGIN = 8
"""Tokens left free in a window: special tokens, and a few more that a cut may cause."""

_ABOUT_A_TOKEN = re.compile(r"[!-~]{1,3}|[^\s!-~]")
"""Less text than most tokens have: four to five characters of English, one of Chinese."""


def offsets(model: Model, texts: Sequence[str]) -> list[Offsets]:
    """Character spans of each text's tokens, or of about as much text where the model cannot count them."""
    if model.info.has_offsets:
        return model.offsets(texts)
    return [Offsets(tuple(match.span() for match in _ABOUT_A_TOKEN.finditer(text))) for text in texts]


def measure(model: Model, texts: Mapping[K, str]) -> dict[K, Spans]:
    """The spans of each text's tokens by the text's key; without texts the model is not called."""
    return dict(zip(texts, (each.spans for each in offsets(model, [*texts.values()])), strict=True)) if texts else {}


def may_overflow(text: str, max_tokens: int) -> bool:
    """Whether a text could be longer than the limit; False only where it cannot be.

    A token covers at least one byte of the text as the tokenizer reads it, so short texts need no counting. Those of
    multilingual models read it in the compatibility form (NFKC), in which one character may be 18: ﷺ.
    """
    read = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return len(read.encode("utf-8", "replace")) > max_tokens - MARGIN


def cut(spans: Spans, length: int, size: int, overlap: int = 0) -> list[tuple[int, int]]:
    """Character ranges of at most `size` tokens that together cover 0..`length`.

    `spans` are the (start, end) code points of the text's tokens. A window ends between words where the last
    fifth of it has such a place; neighbours share about `overlap` tokens.
    """
    if len(spans) <= size:
        return [(0, length)]
    windows: list[tuple[int, int]] = []
    first = 0
    while True:
        last = min(first + size, len(spans))
        if last < len(spans):
            last = _word_start(spans, last, lowest=first + max(1, size * 4 // 5))
        start = 0 if first == 0 else spans[first][0]
        end = length if last == len(spans) else spans[last][0]
        windows.append((start, end))
        if last == len(spans):
            return windows
        first = _word_start(spans, max(first + 1, last - overlap), lowest=first + 1) if overlap else last


def ranges(
    task: str, texts: Mapping[int, str], spans: Mapping[int, Spans], room: int, on_overflow: Overflow, overlap: int = 0
) -> dict[int, list[tuple[int, int]]]:
    """Character ranges of each text's windows; a text without `spans` is read whole.

    Raises:
        OverflowRefusedError: a text has more than `room` tokens and `on_overflow` is "error".
    """
    if on_overflow == "error":
        refuse_long(task, {i: len(spans[i]) for i in texts if i in spans}, room)
    cuts = {i: cut(spans.get(i, ()), len(text), room, overlap) for i, text in texts.items()}
    return {i: places[:1] for i, places in cuts.items()} if on_overflow == "truncate" else cuts


def refuse_long(task: str, counts: Mapping[int, int], room: int, what: str = "text") -> None:
    """Raise OverflowRefusedError if an input, by its number, has more than `room` tokens."""
    long = [f"input {i} has {count} tokens" for i, count in counts.items() if count > room]
    if long:
        raise OverflowRefusedError(
            f"{task}: the model reads {room} tokens at a time, {', '.join(long[:5])}: "
            f"shorten the {what} or use on_overflow='window'."
        )


UNREAD = "the model's vocabulary has no token of this text: it was not read"


def reading(
    group: Sequence[Logits | TokenLogits | TokenVectors | SpanLogits], cut: bool, measured: int
) -> dict[str, Any]:
    """The fields of a result that say how the text was read: its windows and tokens, what is missing or unknown."""
    counted = len(group) == 1 and not cut and group[0].num_tokens
    truncated = cut or any(part.truncated for part in group)
    unknown = sum(part.unknown for part in group)
    note = None
    if all(part.unread for part in group):
        note = UNREAD
    elif unknown:
        note = f"{unknown} token{'s are' if unknown > 1 else ' is'} not in the model's vocabulary and not read"
    fields = {"truncated": truncated, "num_tokens": counted or measured, "windows": len(group)}
    return {**fields, "unknown": unknown, "note": note}


def _word_start(spans: Spans, index: int, lowest: int) -> int:
    """The nearest token at or before `index` that begins a word, or `index` when there is none from `lowest` on."""
    # Without spaces (Chinese, one long line of symbols) a cut falls between characters at least.
    for gap in (1, 0):
        for i in range(index, lowest - 1, -1):
            if spans[i][0] - spans[i - 1][1] >= gap:
                return i
    return index
