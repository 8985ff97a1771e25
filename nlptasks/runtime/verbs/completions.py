"""Tokens as finished texts and as pieces of one; where a text ends. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nlptasks.model import Completion, Decoding
from nlptasks.runtime.loading.base import LoadedBase


def completion_of(
    base: LoadedBase,
    tokens: list[int],
    scores: list[float],
    decoding: Decoding,
    *,
    num_prompt: int,
    truncated: bool,
    cancelled: bool = False,
) -> Completion:
    """What was written after a prompt of `num_prompt` tokens; `scores` are the tokens' log-probabilities in nats."""
    ends = end_tokens(base)
    length = next((i for i, token in enumerate(tokens) if token in ends), None)
    written = tokens if length is None else tokens[: length + 1]
    text = base.tokenizer.decode(written, skip_special_tokens=True)
    before_stop = cut_at_stop(text, decoding.stop)
    stopped = length is not None or before_stop is not None
    return Completion(
        text=without_part(text) if before_stop is None else before_stop,
        finish_reason="cancelled" if cancelled else "stop" if stopped else "length",
        num_prompt_tokens=num_prompt,
        num_generated_tokens=len(written),
        logprobs=tuple(scores[: len(written)]),
        tokens=tuple(base.tokenizer.decode([token]) for token in written) if decoding.logprobs else (),
        truncated=truncated,
    )


def end_tokens(base: LoadedBase) -> set[int]:
    """The tokens that end a text."""
    ends = base.generation_config.eos_token_id
    ends = ends if ends is not None else base.tokenizer.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}


def cut_at_stop(text: str, stops: Sequence[str]) -> str | None:
    """The text before the first stop string, or None when there is none in it."""
    starts = [start for stop in stops if (start := text.find(stop)) >= 0]
    return text[: min(starts)] if starts else None


def has_stop(tokenizer: Any, written: Any, stops: Sequence[str]) -> bool:
    """Whether a stop string is at the end of written tokens."""
    if not stops:
        return False
    # A token may be only a part of a character, so a few more tokens than characters are searched.
    tail = max(map(len, stops)) + 8
    text = tokenizer.decode(written[-tail:], skip_special_tokens=True)
    return any(stop in text for stop in stops)


def without_part(text: str) -> str:
    """A finished text without the character at its end whose last bytes were not written."""
    return text.rstrip("\ufffd")


class PieceWriter:
    """Turns tokens into pieces of text that never have to be taken back.

    A piece waits while its last character is incomplete or while it may be the beginning of a stop string.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str], emit: Callable[[str], None]) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._emit = emit
        self._ids: list[int] = []
        self._prefix = 0
        self._read = 0
        self._held = ""
        self.stopped = False
        """Whether a stop string was written."""

    def add(self, tokens: Sequence[int]) -> bool:
        """Take new tokens; whether a stop string was written."""
        self._ids += tokens
        text = self._new_text()
        if text and not text.endswith("\ufffd"):
            self._prefix, self._read = self._read, len(self._ids)
            self._write(text)
        return self.stopped

    def end(self) -> None:
        """Emit what is left of the finished text."""
        self._write(without_part(self._new_text()), last=True)

    def _new_text(self) -> str:
        # The tokens before the new ones are decoded along with them: some tokenizers drop a leading space.
        before, now = (
            str(self._tokenizer.decode(ids, skip_special_tokens=True))
            for ids in (self._ids[self._prefix : self._read], self._ids[self._prefix :])
        )
        return now[len(before) :]

    def _write(self, text: str, *, last: bool = False) -> None:
        if self.stopped:
            return
        self._held += text
        before_stop = cut_at_stop(self._held, self._stops)
        if before_stop is not None:
            self.stopped = True
            ready = before_stop
        else:
            end = len(self._held) - (0 if last else _possible_stop(self._held, self._stops))
            ready, self._held = self._held[:end], self._held[end:]
        if ready:
            self._emit(ready)


def _possible_stop(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of `text` that may be the beginning of a stop string."""
    lengths = (n for stop in stops for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n]))
    return max(lengths, default=0)
