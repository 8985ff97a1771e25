"""Files in the form of OpenAI's Batch API: a request in each line, its response in each line of the output."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nlptasks import (
    AnyTask,
    CancelledError,
    CancelToken,
    NlptasksError,
    UnknownNameError,
    UnsupportedModelError,
    default_engine,
)
from nlptasks.batches.answers import Outcome, answer_rows
from nlptasks.batches.columns import json_line
from nlptasks.batches.loop import Answers, BatchProgress, BatchReport, PartLoop, PartRows, answer_in_turn
from nlptasks.batches.parts import Shard
from nlptasks.batches.rows import TaskRow
from nlptasks.batches.sources import Source
from nlptasks.batches.work import model_identity
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

CHAT, EMBEDDINGS, TASKS = "/v1/chat/completions", "/v1/embeddings", "/v1/tasks/"
AUTO = "auto"
"""The model of a request that leaves the choice to the task."""

PART_ROWS = 32


class TaskRequest(BaseModel):
    """The body of a request to `/v1/tasks/TASK`: one input's fields, options, and who answers."""

    model_config = ConfigDict(frozen=True, extra="allow")

    adapter: str | None = None
    model: str | None = None

    def divided(self, task: AnyTask) -> tuple[dict[str, Any], dict[str, Any]]:
        """The fields of the input, and the options."""
        fields = task.input_type.model_fields.keys() - task.options_type.model_fields.keys()
        values = self.model_extra or {}
        options = {name: value for name, value in values.items() if name not in fields}
        return {name: value for name, value in values.items() if name in fields}, options


Request = ChatRequest | EmbeddingRequest | TaskRequest
REQUESTS: dict[str, type[ChatRequest | EmbeddingRequest]] = {CHAT: ChatRequest, EMBEDDINGS: EmbeddingRequest}
"""The requests that are answered, by their address, beside those to tasks."""

Check = Callable[[AnyTask, str | None, str | None], object]
"""Raises NlptasksError for an adapter or a base of a task that requests may not name."""

Response = tuple[int, dict[str, Any]]
"""A status and a body."""


class _Line(BaseModel):
    """A line of the input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    custom_id: str = Field(min_length=1)
    method: Literal["POST"]
    url: str
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
    endpoint: str | None = None,
    check: Check | None = None,
    part_rows: int = PART_ROWS,
) -> BatchReport:
    """Answer a file of requests to `/v1/chat/completions`, `/v1/embeddings`, `/v1/tasks/TASK`, as OpenAI's Batch API.

    Each line of the .jsonl file `source` has `custom_id`, `method`, `url` and `body`; each line of `output` has `id`,
    `custom_id`, and either `response`, with its `status_code` and `body`, or `error`, for a line that is no request. A
    body's `model` is a base as in `Engine(model)`, `auto`, or TASK or TASK@ADAPTER, where TASK is the one that chats.
    It goes on after a stop as `batch` does; so that the same lines give the same bytes, `created` is 0. `endpoint` is
    the one address that lines may have, `check` refuses adapters and bases, `part_rows` lines are kept at once.

    Raises:
        DataError: the file cannot be read at all.
        NlptasksError: as in `batch`.
    """
    job = _RequestJob(engine or default_engine(), Source([Path(source)]), cancel or CancelToken(), endpoint, check)
    if Path(source).suffix != ".jsonl" or Path(output).suffix != ".jsonl":
        raise NlptasksError(f"Expected files that end in .jsonl, found {source} and {output}.")
    job.source.refuse(Path(output))
    return PartLoop(job, part_rows, Shard(), report=progress).to_file(Path(output), restart=restart)


@dataclass
class _RequestJob:
    """The requests of a file. Those of one model and the same parameters are answered together."""

    engine: Engine
    source: Source
    cancel: CancelToken
    endpoint: str | None
    check: Check | None

    def __post_init__(self) -> None:
        self.name, self.count = self.source.name, self.source.count

    def rows(self) -> Iterator[TaskRow]:
        for name in self.source.files:
            for row in read_rows(name):
                yield TaskRow(None, row.place, row.fields, row.fault)

    def identity(self) -> dict[str, Any]:
        models = model_identity(self.engine, "as each request names it")
        return {"task": "requests", **models, "input": self.source.digests(), "columns": {}}

    def answer_parts(
        self, parts: Iterator[PartRows], advance: Callable[[float], None] | None
    ) -> Generator[tuple[PartRows, Answers], None, None]:
        return answer_in_turn(parts, advance, self._answer, self._line)

    def _answer(self, rows: Sequence[TaskRow], progress: Callable[[int, int], None] | None) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        groups: dict[tuple[str, str, str], list[tuple[int, Any]]] = defaultdict(list)
        for place, row in enumerate(rows):
            url, request = self._read(row)
            if isinstance(request, str):
                outcomes[place] = Outcome(row, error=request)
            elif isinstance(request, tuple):
                outcomes[place] = _responded(row, *request)
            else:
                groups[url, request.model or AUTO, self._shared(url, request)].append((place, request))
        answers_to: dict[str, Callable[..., list[Response]]] = {CHAT: self._chat, EMBEDDINGS: self._embed}
        for (url, model, _), members in groups.items():
            answer = answers_to.get(url) or partial(self._run, self._task(url))
            try:
                answers = answer(model, [request for _, request in members], progress)
            except CancelledError:
                raise
            except NlptasksError as error:
                answers = [error_body(sentence(error), error)] * len(members)
            for (place, _), response in zip(members, answers, strict=True):
                outcomes[place] = _responded(rows[place], *response)
        return [outcomes[place] for place in range(len(rows))]

    def _line(self, number: int, outcome: Outcome) -> bytes:
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

    def _task(self, url: str) -> AnyTask:
        return self.engine.plugins.task(url.removeprefix(TASKS))

    def _shared(self, url: str, request: Request) -> str:
        """What requests of one model must share to be answered together."""
        if isinstance(request, TaskRequest):
            return json.dumps([request.adapter, request.divided(self._task(url))[1]], sort_keys=True)
        return json.dumps(request.options) if isinstance(request, ChatRequest) else ""

    def _read(self, row: TaskRow) -> tuple[str, Request | str | Response]:
        """The address and the request of a line; a sentence if it is no request, a response if its body is refused."""
        if row.error:
            return "", as_sentence(row.error)
        try:
            line = _Line.model_validate(row.fields)
        except ValidationError as error:
            return "", invalid(error)
        served = [self.endpoint] if self.endpoint else [*REQUESTS, f"{TASKS}TASK"]
        if line.url not in served and (self.endpoint or not line.url.startswith(TASKS)):
            return "", f"url: expected {' or '.join(served)}, found {line.url[:80]!r}."
        try:
            if line.url.startswith(TASKS):
                self._task(line.url)
            return line.url, REQUESTS.get(line.url, TaskRequest).model_validate(line.body)
        except ValidationError as error:
            return line.url, error_body(invalid(error))
        except UnknownNameError as error:
            return line.url, error_body(sentence(error), error)

    def _choose(self, task: AnyTask, adapter: str | None, model: str) -> dict[str, str | None]:
        chosen = {"adapter": adapter, "model": None if model == AUTO else model}
        if self.check:
            self.check(task, chosen["adapter"], chosen["model"])
        return chosen

    def _run(self, task: AnyTask, model: str, requests: Sequence[TaskRequest], progress: Any) -> list[Response]:
        _, options = requests[0].divided(task)
        task.validate_options(options)
        chosen = self._choose(task, requests[0].adapter, model)
        rows = [TaskRow(request.divided(task)[0]) for request in requests]
        outcomes = answer_rows(self.engine, task, rows, progress=progress, cancel=self.cancel, **chosen, **options)
        return [
            (200, outcome.result.model_dump(mode="json")) if outcome.result else error_body(outcome.error)
            for outcome in outcomes
        ]

    def _chat(self, model: str, requests: Sequence[ChatRequest], progress: Any) -> list[Response]:
        task = self.engine.plugins.task(chat_task(self.engine))
        name, _, adapter = model.partition("@")
        chosen = self._choose(task, adapter or None, AUTO) if name == task.name else self._choose(task, None, model)
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
        chosen = self._choose(task, None, model)
        with self.engine.bind(task, "none", chosen["model"], cancel=self.cancel) as bound:
            vectors = iter(bound.embed([text for request in requests for text in request.texts]))
        return [(200, embedding_body(request, [next(vectors) for _ in request.texts])) for request in requests]


def _responded(row: TaskRow, status: int, body: dict[str, Any]) -> Outcome:
    return Outcome(row, (status, body), "" if status == 200 else body["error"]["message"])
