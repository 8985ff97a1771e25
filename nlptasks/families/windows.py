"""Cut a long text into windows that a model can read, without losing a character."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nlptasks.model import Model, Offsets

MARGIN = 8
"""Tokens left free in a window: special tokens, and a few more that a cut may cause."""


_ABOUT_A_TOKEN = re.compile(r"[!-~]{1,3}|[^\s!-~]")
"""Less text than most tokens have: four to five characters of English, one of Chinese."""


def offsets(model: Model, texts: Sequence[str]) -> list[Offsets]:
    """Character spans of each text's tokens, or of about as much text where the model cannot count them."""
    if model.info.has_offsets:
        return model.offsets(texts)
    return [Offsets(tuple(match.span() for match in _ABOUT_A_TOKEN.finditer(text))) for text in texts]


def may_overflow(text: str, max_tokens: int) -> bool:
    """Whether a text could be longer than the limit; False only where it cannot be.

    A token covers at least one byte of the text, so short texts need no counting.
    """
    return len(text.encode("utf-8", "replace")) > max_tokens - MARGIN


def cut(spans: Sequence[tuple[int, int]], length: int, size: int, overlap: int = 0) -> list[tuple[int, int]]:
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
        back = _word_start(spans, max(first + 1, last - overlap), lowest=first + 1) if overlap else last
        first = back


def _word_start(spans: Sequence[tuple[int, int]], index: int, lowest: int) -> int:
    """The nearest token at or before `index` that begins a word, or `index` when there is none from `lowest` on."""
    for i in range(index, lowest - 1, -1):
        if spans[i][0] > spans[i - 1][1]:
            return i
    # Without spaces (Chinese, one long line of symbols) a cut falls between characters at least.
    for i in range(index, lowest - 1, -1):
        if spans[i][0] >= spans[i - 1][1]:
            return i
    return index
