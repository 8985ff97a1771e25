"""Plain words to a task: "What is the mood of: ..." is compared with the ways in which each task is asked for."""

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
"""Cosine similarity from which a task is taken. In the half of `benchmarks/routing.py` that did not choose it, 15 of
20 requests found their task, none another one, and all of 15 other messages stayed with the chat."""

LEAST_WORDS = 12
"""Words of a text from which a question before it may be one about it."""

_REQUEST = 160
"""Most characters of what asks for a task; what is longer is a text."""

_COLON = re.compile(r"\s*([^\n:]{3,160}):\s+(\S.*)", re.DOTALL)
_LINES = re.compile(r"\s*([^\n]{3,160})\n\s*(\S.*)", re.DOTALL)
_QUOTE = re.compile(r"[\"“„«]([^\"“”„«»]{3,})[\"”“»]", re.DOTALL)

Vector = Sequence[float]


@dataclass(frozen=True)
class Asked:
    """A message in two parts: what is asked for, and the text that it is asked of."""

    request: str
    text: str


@dataclass(frozen=True)
class Route:
    """The task that is nearest to a request. `score` is their cosine similarity; None for a question about a text."""

    task: str
    score: float | None


def split(message: str) -> Asked | None:
    """What is asked for and the text behind it: after a colon, on the lines below, or in quotation marks."""
    for pattern in (_COLON, _LINES):
        if found := pattern.fullmatch(message):
            return Asked(found[1].strip(), found[2].strip())
    quote = _QUOTE.search(message)
    if quote:
        request = " ".join(f"{message[: quote.start()]} {message[quote.end() :]}".split())
        if 3 <= len(request) <= _REQUEST:
            return Asked(request, quote[1].strip())
    return None


class Router:
    """Finds the task of a request. The phrases of all tasks are embedded once, on the first call."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._known: list[tuple[str, Vector]] | None = None

    def nearest(self, request: str, cancel: CancelToken | None = None) -> Route | None:
        """The task whose phrases are nearest to a request; None where no task with an encoder is there.

        Raises:
            NlptasksError: the encoder cannot be had.
        """
        if self._encoder() is None:
            return None
        with self._lock:
            if self._known is None:
                self._known = self._learn()
        [vector] = self._embed([request], cancel)
        scores = [(sum(a * b for a, b in zip(vector, other, strict=True)), task) for task, other in self._known]
        score, task = max(scores)
        return Route(task, score)

    def route(self, asked: Asked, cancel: CancelToken | None = None) -> tuple[Route | None, Route | None]:
        """The task that is taken for a message, or None; and the nearest one.

        A task is taken from `THRESHOLD` on. Below it a question about a long enough text goes to the task that
        reads a question and a text.
        """
        nearest = self.nearest(asked.request, cancel)
        if nearest and nearest.score is not None and nearest.score >= THRESHOLD:
            return nearest, nearest
        reader = self._reader()
        if reader and asked.request.endswith("?") and len(asked.text.split()) >= LEAST_WORDS:
            return Route(reader.name, None), nearest
        return None, nearest

    def _learn(self) -> list[tuple[str, Vector]]:
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
        """A task whose base reads: its bare base gives the vectors."""
        return next((task for task in self._engine.plugins.tasks.values() if task.needs), None)

    def _reader(self) -> Task[Any, Any, Any] | None:
        """The task that reads a question and a text."""
        tasks = self._engine.plugins.tasks.values()
        return next((task for task in tasks if task.needs == "extract" and len(text_fields(task)) == 2), None)
