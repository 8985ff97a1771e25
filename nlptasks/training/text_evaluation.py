"""Perplexity of a causal language model on plain text, in sliding windows.

A window reads `window` tokens and predicts the token after each of them. The next window begins `stride` tokens later
and counts only what the last one did not predict, so that every token but the first is predicted exactly once, from
at least `window - stride + 1` tokens where there are as many. A shorter stride takes longer and gives a lower, fairer
figure (Hugging Face, "Perplexity of fixed-length models").
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nlptasks.data import read_text
from nlptasks.errors import DataError, UnsupportedModelError
from nlptasks.model import CancelToken
from nlptasks.task import AnyTask

if TYPE_CHECKING:
    from nlptasks.engine import Engine

WINDOW = 1024
"""Tokens that a window reads by default, if the model reads as many: GPT-2's, for which many figures are published."""


@dataclass(frozen=True)
class PerplexityReport:
    """How well a model predicts texts.

    `tokens` were predicted, at a mean negative log-likelihood of `loss` nats; `token_perplexity` is its exponential.
    `word_perplexity` spreads the same sum over the `words` of the texts, which white space separates, and so compares
    models with different tokenizers.
    """

    task: str
    model: str
    adapter: str | None
    tokens: int
    words: int
    loss: float
    token_perplexity: float
    word_perplexity: float
    window: int
    stride: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


def perplexity(
    task: AnyTask | str,
    files: str | Sequence[str],
    *,
    engine: Engine,
    adapter: str | None = None,
    model: str | None = None,
    window: int | None = None,
    stride: int | None = None,
    encoding: str | None = None,
    progress: bool | Callable[[int, int], None] = False,
    cancel: CancelToken | None = None,
) -> PerplexityReport:
    """Measure the model that serves a task on the whole text of each file, as it stands.

    Args:
        task: a task that writes text, or its name.
        files: plain text.
        engine: what to run on.
        adapter: name, folder, Hub id, or "none".
        model: the base, unless the adapter decides it.
        window: tokens read at once; `WINDOW` or the model's own window, if that is shorter.
        stride: tokens between the beginnings of two windows; half the window.
        encoding: of texts that are neither UTF-8 nor marked as UTF-16.
        progress: True for a bar on stderr, or a callback `(done, total)` in tokens.
        cancel: ends the computation within one window.

    Raises:
        DataError: a file that is missing, no text or shorter than two tokens; a window or stride that does not fit.
        UnsupportedModelError: a model that does not continue text.
    """
    from nlptasks.progress import reporting

    task = engine.plugins.task(task) if isinstance(task, str) else task
    names = [files] if isinstance(files, str) else list(files)
    texts = [read_text(name, encoding) for name in names]
    with engine.bind(task, adapter, model, cancel=cancel) as bound:
        info = bound.info
        if info.kind != "causal":
            raise UnsupportedModelError(
                f"Perplexity: expected a model that continues text, found {info.name}, which is {info.kind}: "
                "name a causal language model with -m."
            )
        window, stride = _sizes(window, stride, info.max_tokens)
        encoded = bound.submit(lambda _, tokenizer: [_ids(tokenizer, text) for text in texts])
        for name, ids in zip(names, encoded, strict=True):
            if len(ids) < 2:
                raise DataError(f"{name}: expected a text of at least two tokens, found {len(ids)}.")
        total, tokens = 0.0, sum(len(ids) - 1 for ids in encoded)
        with reporting(progress, tokens) as counter:
            for ids in encoded:
                for start, counted, end in windows(len(ids) - 1, window, stride):
                    total += bound.submit(partial(_surprise, ids=ids[start : end + 1], last=end - counted))
                    if counter:
                        counter.advance(end - counted)
    words = sum(len(text.split()) for text in texts)
    return PerplexityReport(
        task=task.name,
        model=info.name,
        adapter=info.adapter,
        tokens=tokens,
        words=words,
        loss=total / tokens,
        token_perplexity=_exponential(total / tokens),
        word_perplexity=_exponential(total / max(1, words)),
        window=window,
        stride=stride,
    )


def windows(count: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Windows over `count` predictions: where each begins, where it begins to count, where it ends."""
    counted = 0
    for start in range(0, count, stride):
        end = min(start + window, count)
        if end > counted:
            yield start, counted, end
            counted = end


def _sizes(window: int | None, stride: int | None, most: int) -> tuple[int, int]:
    window = window or min(WINDOW, most)
    stride = stride or max(1, window // 2)
    if window > most:
        raise DataError(f"window: expected at most {most} tokens, which the model reads at once, found {window}.")
    if stride > window:
        raise DataError(f"stride: expected at most the window of {window} tokens, found {stride}.")
    return window, stride


def _ids(tokenizer: Any, text: str) -> list[int]:
    """The text's tokens, and before them what the tokenizer puts before every text."""
    return list(tokenizer(text, verbose=False)["input_ids"])


def _surprise(model: Any, _: Any, ids: Sequence[int], last: int) -> float:
    """Negative log-likelihood in nats of the `last` tokens, each after all before it."""
    import torch
    from torch.nn import functional

    read = torch.tensor([ids[:-1]], device=model.device)
    right = torch.tensor(ids[-last:], device=model.device)
    logits = model(input_ids=read, use_cache=False, logits_to_keep=last).logits[0]
    return float(functional.cross_entropy(logits.float(), right, reduction="sum"))


def _exponential(value: float) -> float:
    return math.exp(min(value, 700.0))
