"""What follows a text while it is written: stop strings, cancellation, log-probabilities, pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer


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


class Watch(StoppingCriteria):
    """Ends a row at a stop string, or within one step of its call's cancellation."""

    def __init__(
        self, tokenizer: Any, start: int, stops: Sequence[str], alive: Callable[[int], bool], num_prompts: int
    ) -> None:
        self._tokenizer = tokenizer
        self._start = start
        self._stops = stops
        self._alive = alive
        self._num_prompts = num_prompts
        self._cancelled: set[int] = set()

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        # Beam search passes more candidates for a prompt than it has beams.
        candidates = len(input_ids) // self._num_prompts
        self._cancelled |= {prompt for prompt in range(self._num_prompts) if not self._alive(prompt)}
        ended = [
            row // candidates in self._cancelled or has_stop(self._tokenizer, ids[self._start :], self._stops)
            for row, ids in enumerate(input_ids)
        ]
        return torch.tensor(ended, dtype=torch.bool, device=input_ids.device)

    def cancelled(self, prompt: int) -> bool:
        return prompt in self._cancelled


class LogProbabilities(LogitsProcessor):
    """Collects the log-probability of every chosen token; holds the scores of one step at a time."""

    def __init__(self) -> None:
        self._last: Any = None
        self._chosen: list[Any] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        self._take(input_ids)
        self._last = torch.log_softmax(scores.float(), dim=-1)
        return scores

    def finish(self, sequences: Any) -> None:
        """Collect the last chosen token, which no later step contains."""
        self._take(sequences)

    def of(self, row: int) -> list[float]:
        """Log-probabilities of a row's generated tokens, in nats."""
        return [float(step[row]) for step in self._chosen]

    def _take(self, ids: Any) -> None:
        if self._last is not None:
            self._chosen.append(self._last.gather(-1, ids[:, -1:]).squeeze(-1))
            self._last = None


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


class Streamer(BaseStreamer):
    """Passes what transformers writes for one prompt to a PieceWriter."""

    def __init__(self, writer: PieceWriter, skip: int) -> None:
        """The first `skip` values are no part of the text: the prompt, and tokens that are forced."""
        self._writer = writer
        self._skip = skip

    def put(self, value: Any) -> None:
        """Called by transformers: once with the prompt, then with each new token."""
        if self._skip:
            self._skip -= 1
            return
        self._writer.add(value.reshape(-1).tolist())

    def end(self) -> None:
        """Called by transformers when the text is finished."""
        self._writer.end()


def _possible_stop(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of `text` that may be the beginning of a stop string."""
    lengths = (n for stop in stops for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n]))
    return max(lengths, default=0)
