"""Routing a message in plain words to a task: "What is the mood of: ..." is compared with the phrases of each task."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlptasks import Task
from nlptasks_ui.chat.commands import text_fields

if TYPE_CHECKING:
    from nlptasks import CancelToken, Engine

THRESHOLD = 0.5
"""The least cosine similarity for a message to be routed to a task. On the held-out half of `benchmarks/routing.py`,
15 of 20 requests were routed to their task, none to another, and all 15 other messages stayed with the chat."""

MIN_WORDS = 12
"""The fewest words of a text that a question may be about."""

_REQUEST = 160
"""The most characters of a request; anything longer is a text."""

_COLON = re.compile(r"\s*([^\n:]{3,160}):\s+(\S.*)", re.DOTALL)
_LINES = re.compile(r"\s*([^\n]{3,160})\n\s*(\S.*)", re.DOTALL)
_QUOTE = re.compile(r"[\"“„«]([^\"“”„«»]{3,})[\"”“»]", re.DOTALL)

Vector = Sequence[float]


@dataclass(frozen=True)
class TextRequest:
    """A message in two parts: the request, and the text that it refers to."""

    request: str
    text: str


@dataclass(frozen=True)
class Route:
    """A task for a request. `score` is their cosine similarity; None for a question about a text."""

    task: str
    score: float | None


def split(message: str) -> TextRequest | None:
    """The request and its text, which follows a colon, is on the lines below, or is in quotation marks; else None."""
    for pattern in (_COLON, _LINES):
        if match := pattern.fullmatch(message):
            return TextRequest(match[1].strip(), match[2].strip())
    quote = _QUOTE.search(message)
    if quote:
        request = " ".join(f"{message[: quote.start()]} {message[quote.end() :]}".split())
        if 3 <= len(request) <= _REQUEST:
            return TextRequest(request, quote[1].strip())
    return None


class Router:
    """Finds the task for a request. The phrases of all tasks are embedded once, on the first call."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._phrases: list[tuple[str, Vector]] | None = None

    def nearest(self, request: str, cancel: CancelToken | None = None) -> Route | None:
        """The task with the phrase nearest to a request; None if no task has an encoder.

        Raises:
            NlptasksError: the encoder cannot be loaded.
        """
        if self._encoder() is None:
            return None
        with self._lock:
            if self._phrases is None:
                self._phrases = self._embed_phrases()
        [vector] = self._embed([request], cancel)
        scores = [(sum(a * b for a, b in zip(vector, other, strict=True)), task) for task, other in self._phrases]
        score, task = max(scores)
        return Route(task, score)

    def route(self, message: TextRequest, cancel: CancelToken | None = None) -> tuple[Route | None, Route | None]:
        """The task for a message, or None for the chat; and the nearest task.

        The nearest task answers if its similarity is at least `THRESHOLD`. Otherwise a question about a text of at
        least `MIN_WORDS` words goes to the task that reads a question and a text.
        """
        nearest = self.nearest(message.request, cancel)
        if nearest and nearest.score is not None and nearest.score >= THRESHOLD:
            return nearest, nearest
        reader = self._reader()
        if reader and message.request.endswith("?") and len(message.text.split()) >= MIN_WORDS:
            return Route(reader.name, None), nearest
        return None, nearest

    def _embed_phrases(self) -> list[tuple[str, Vector]]:
        tasks = self._engine.plugins.tasks.values()
        phrases = [(task.name, phrase) for task in tasks for phrase in (*task.phrases, task.summary)]
        vectors = self._embed([phrase for _, phrase in phrases], None)
        return [(name, vector) for (name, _), vector in zip(phrases, vectors, strict=True)]

    def _embed(self, texts: Sequence[str], cancel: CancelToken | None) -> list[Vector]:
        task = self._encoder()
        assert task is not None
        with self._engine.bind(task, "none", task.recipe.base, cancel=cancel) as model:
            return [vector.values for vector in model.embed(texts)]

    def _encoder(self) -> Task[Any, Any, Any] | None:
        """A task with an encoder, whose bare base computes the embeddings."""
        return next((task for task in self._engine.plugins.tasks.values() if task.verb), None)

    def _reader(self) -> Task[Any, Any, Any] | None:
        """The task that reads a question and a text."""
        tasks = self._engine.plugins.tasks.values()
        return next((task for task in tasks if task.verb == "extract" and len(text_fields(task)) == 2), None)
