"""What follows a text while transformers writes it: stop strings, cancellation, log-probabilities, pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from nlptasks.runtime.verbs.completions import PieceWriter, has_stop


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
