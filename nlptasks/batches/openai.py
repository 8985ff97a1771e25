"""Files in the form of OpenAI's Batch API: a request in each line, its response in each line of the output."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nlptasks import CancelledError, CancelToken, NlptasksError, UnsupportedModelError, default_engine
from nlptasks.batches.answers import Outcome, answer_rows
from nlptasks.batches.columns import json_line
from nlptasks.batches.loop import BatchProgress, BatchReport, PartLoop
from nlptasks.batches.parts import Shard
from nlptasks.batches.rows import TaskRow
from nlptasks.batches.run import model_identity
from nlptasks.batches.sources import Source
from nlptasks.data import read_rows
from nlptasks.surfaces import (
    ChatRequest,
    EmbeddingRequest,
    as_sentence,
    chat_body,
    chat_task,
    embedding_body,
    error_body,
    invalid,
    sentence,
)

if TYPE_CHECKING:
    from nlptasks import Engine

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
REQUESTS: dict[str, type[ChatRequest | EmbeddingRequest]] = {CHAT: ChatRequest, EMBEDDINGS: EmbeddingRequest}
"""The requests that are answered, by their address."""

PART_ROWS = 32


Response = tuple[int, dict[str, Any]]
"""A status and a body."""


class _Line(BaseModel):
    """A line of the input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    custom_id: str = Field(min_length=1)
    method: Literal["POST"]
    url: Literal["/v1/chat/completions", "/v1/embeddings"]
    body: dict[str, Any]


def run_batch(
    source: str | Path,
    output: str | Path,
    /,
    *,
    engine: Engine | None = None,
    restart: bool = False,
    progress: Callable[[BatchProgress], None] | None = None,
    cancel: CancelToken | None = None,
) -> BatchReport:
    """Answer a file of requests to `/v1/chat/completions` and `/v1/embeddings`, as OpenAI's Batch API and vLLM do.

    Each line of the .jsonl file `source` has `custom_id`, `method`, `url` and `body`; each line of `output` has `id`,
    `custom_id`, and either `response`, with its `status_code` and `body`, or `error`, for a line that is no request. A
    body's `model` is a base as in `Engine(model)`, or TASK or TASK@ADAPTER, where TASK is the one that chats. It goes
    on after a stop as `batch` does; so that the same lines give the same bytes, `created` is 0.

    Raises:
        DataError: the file cannot be read at all.
        NlptasksError: as in `batch`.
    """
    job = _RequestJob(engine or default_engine(), Source([Path(source)]), cancel or CancelToken())
    if Path(source).suffix != ".jsonl" or Path(output).suffix != ".jsonl":
        raise NlptasksError(f"Expected files that end in .jsonl, found {source} and {output}.")
    job.source.refuse(Path(output))
    return PartLoop(job, PART_ROWS, Shard(), report=progress).to_file(Path(output), restart=restart)


@dataclass
class _RequestJob:
    """The requests of a file. Those of one model and the same parameters are answered together."""

    engine: Engine
    source: Source
    cancel: CancelToken

    def __post_init__(self) -> None:
        self.name, self.count = self.source.name, self.source.count

    def rows(self) -> Iterator[TaskRow]:
        for name in self.source.files:
            for row in read_rows(name):
                yield TaskRow(None, row.place, row.fields, row.fault)

    def identity(self) -> dict[str, Any]:
        models = model_identity(self.engine, "as each request names it")
        return {"task": "requests", **models, "input": self.source.digests(), "columns": {}}

    def answer(self, rows: Sequence[TaskRow], progress: Callable[[int, int], None] | None) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        groups: dict[tuple[str, str, str], list[tuple[int, Any]]] = defaultdict(list)
        for place, row in enumerate(rows):
            url, request = self._read(row)
            if isinstance(request, str):
                outcomes[place] = Outcome(row, error=request)
            elif isinstance(request, tuple):
                outcomes[place] = _responded(row, *request)
            else:
                options = json.dumps(request.options) if isinstance(request, ChatRequest) else ""
                groups[url, request.model, options].append((place, request))
        for (url, model, _), members in groups.items():
            answer = self._chat if url == CHAT else self._embed
            try:
                answers = answer(model, [request for _, request in members], progress)
            except CancelledError:
                raise
            except NlptasksError as error:
                answers = [error_body(sentence(error), error)] * len(members)
            for (place, _), response in zip(members, answers, strict=True):
                outcomes[place] = _responded(rows[place], *response)
        return [outcomes[place] for place in range(len(rows))]

    def line(self, number: int, outcome: Outcome) -> bytes:
        fields = outcome.row.fields
        name = hashlib.sha256(f"{number} {fields.get('custom_id')}".encode()).hexdigest()[:24]
        response = error = None
        if outcome.result is None:
            error = {"code": "invalid_request", "message": outcome.error}
        else:
            status, body = outcome.result
            body = {**body, "id": f"chatcmpl-{name}"} if body.get("object") == "chat.completion" else body
            response = {"status_code": status, "request_id": f"req_{name}", "body": body}
        return json_line(
            {"id": f"batch_req_{name}", "custom_id": fields.get("custom_id"), "response": response, "error": error}
        )

    def _read(self, row: TaskRow) -> tuple[str, ChatRequest | EmbeddingRequest | str | Response]:
        """The address and the request of a line; a sentence if it is no request, a response if its body is refused."""
        if row.error:
            return "", as_sentence(row.error)
        try:
            line = _Line.model_validate(row.fields)
        except ValidationError as error:
            return "", invalid(error)
        try:
            return line.url, REQUESTS[line.url].model_validate(line.body)
        except ValidationError as error:
            return line.url, error_body(invalid(error))

    def _chat(self, model: str, requests: Sequence[ChatRequest], progress: Any) -> list[Response]:
        task = chat_task(self.engine)
        name, _, adapter = model.partition("@")
        chosen = {"adapter": adapter or None} if name == task else {"model": model}
        rows = [TaskRow({"messages": request.turns}) for request in requests]
        outcomes = answer_rows(
            self.engine, task, rows, progress=progress, cancel=self.cancel, **chosen, **requests[0].options
        )
        return [
            (200, chat_body(request, [outcome.result])) if outcome.result else error_body(outcome.error)
            for request, outcome in zip(requests, outcomes, strict=True)
        ]

    def _embed(self, model: str, requests: Sequence[EmbeddingRequest], progress: Any) -> list[Response]:
        task = next((task for task in self.engine.plugins.tasks.values() if task.verb), None)
        if task is None:
            raise UnsupportedModelError(
                "No installed task has an encoder, which embeddings need: see `nlptasks plugins`."
            )
        with self.engine.bind(task, "none", model, cancel=self.cancel) as bound:
            vectors = iter(bound.embed([text for request in requests for text in request.texts]))
        return [(200, embedding_body(request, [next(vectors) for _ in request.texts])) for request in requests]


def _responded(row: TaskRow, status: int, body: dict[str, Any]) -> Outcome:
    return Outcome(row, (status, body), "" if status == 200 else body["error"]["message"])
