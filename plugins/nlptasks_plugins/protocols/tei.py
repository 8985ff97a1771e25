"""The routes of text-embeddings-inference (TEI) for each task, and what Hugging Face's InferenceClient sends.

A task answers at `/TASK/predict`, `/embed`, `/similarity`, `/rerank`, `/info` and `/health`, in TEI's shapes. At
`/TASK` it answers as the Inference API does: any task, in the shape of transformers' pipelines.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from nlptasks import AnyTask, Classification, Engine, __version__
from nlptasks.serve import Fault, answer_faults, read_object, run_task, state_of, to_model

ERRORS = {400: "empty", 424: "backend", 429: "overloaded", 500: "backend", 503: "unhealthy"}
"""TEI's `error_type` by status; all others are `validation`."""

STATUSES = {422: 413}
"""TEI's status of an input that is not valid."""

ANSWERS = {"embed": "vector", "similarity": "scores", "rerank": "ranking"}
"""The field of the results of tasks that compare vectors, by route."""

SIBLINGS = {"embed": "embedding", "similarity": "similarity", "rerank": "rerank"}
"""Tasks of one model: any of them answers at the routes of all three, as one model does in TEI."""


class Parameters(BaseModel):
    """What all requests may have. Long texts are read in windows, so nothing is truncated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    truncate: bool | None = None
    truncation_direction: str | None = None
    prompt_name: None = None


class PredictRequest(Parameters):
    """A text, a pair of texts, or a list of lists of one or two texts."""

    inputs: str | list[str] | list[list[str]]
    raw_scores: Literal[False] = False


class EmbedRequest(Parameters):
    """A text or a list. Vectors have unit length and all their dimensions."""

    inputs: str | list[str]
    normalize: Literal[True, None] = None
    dimensions: None = None
    encoding_format: Literal["float", None] = None


class Comparison(BaseModel):
    """A sentence and those to compare with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_sentence: str
    sentences: list[str]


class SimilarityRequest(BaseModel):
    """The body of `/similarity`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: Comparison
    parameters: Parameters | None = None


class RerankRequest(Parameters):
    """A query, and the texts to put in order by the cosine of their vectors."""

    query: str
    texts: list[str]
    raw_scores: bool = False
    return_text: bool = False


class InferenceRequest(BaseModel):
    """The body of the Inference API: an input of the task, or a list, and options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: Any
    parameters: dict[str, Any] = Field(default_factory=dict)


class Caller:
    """A request, and the task and the adapter that its address names."""

    def __init__(self, request: Request, name: str) -> None:
        self._request, self._state = request, state_of(request)
        self.task, self.adapter = self._state.names.resolve(name)

    async def body(self) -> dict[str, Any]:
        """The body's object."""
        return await read_object(self._request, self._state.settings)

    def choose(self, verb: str) -> None:
        """Let the task of a route answer; raises Fault if there is none for this one."""
        tasks = self._state.engine.plugins.tasks
        if self.task.name in SIBLINGS.values() and verb in SIBLINGS and not self.adapter:
            self.task = tasks[SIBLINGS[verb]]
        if not _answers(self.task, verb):
            others = ", ".join(name for name, task in tasks.items() if _answers(task, verb))
            raise Fault(424, f"/{verb}: expected one of the tasks {others}; found {self.task.name}.")

    async def run(self, rows: Sequence[Sequence[str | list[str]]]) -> list[Any]:
        """The results for texts, which are the input's fields in their order."""
        fields = list(self.task.input_type.model_fields)
        if wide := next((row for row in rows if not 0 < len(row) <= len(fields)), None):
            most = f"1 to {len(fields)} texts ({', '.join(fields)})" if len(fields) > 1 else "1 text"
            raise Fault(413, f"inputs: expected {most} for each input, found {len(wide)}.")
        limit = self._state.settings.max_inputs
        if large := next((one for row in rows for one in row if isinstance(one, list) and len(one) > limit), None):
            raise Fault(413, f"Expected at most {limit} texts, found {len(large)}.")
        return await self.answer([dict(zip(fields, row, strict=False)) for row in rows], {})

    async def answer(self, inputs: list[Any], options: Mapping[str, Any]) -> list[Any]:
        """The results for inputs of the task."""
        return await run_task(self._request, self.task, inputs, options, adapter=self.adapter)


async def predict(caller: Caller, content: dict[str, Any]) -> Any:
    """The labels of texts with their probabilities, the likeliest first."""
    inputs = to_model(PredictRequest, content).inputs
    single = isinstance(inputs, str) or not all(isinstance(one, list) for one in inputs)
    rows: Any = [[inputs]] if isinstance(inputs, str) else [inputs] if single else inputs
    answers = [one.to_hf(top_k=None) for one in await caller.run(rows)]
    return answers[0] if single else answers


async def embed(caller: Caller, content: dict[str, Any]) -> Any:
    """A vector for each text."""
    inputs = to_model(EmbedRequest, content).inputs
    results = await caller.run([[text] for text in ([inputs] if isinstance(inputs, str) else inputs)])
    return [one.vector for one in results]


async def similarity(caller: Caller, content: dict[str, Any]) -> Any:
    """How near each sentence is to the first."""
    inputs = to_model(SimilarityRequest, content).inputs
    [result] = await caller.run([[inputs.source_sentence, inputs.sentences]])
    return result.scores


async def rerank(caller: Caller, content: dict[str, Any]) -> Any:
    """The places of texts, the nearest to the query first."""
    body = to_model(RerankRequest, content)
    [result] = await caller.run([[body.query, body.texts]])
    left_out = set() if body.return_text else {"text"}
    return [one.model_dump(exclude=left_out) for one in result.ranking]


async def infer(caller: Caller, content: dict[str, Any]) -> Any:
    """What the Inference API answers."""
    if _answers(caller.task, "embed") or caller.task.name in SIBLINGS.values():
        verb = "similarity" if isinstance(content.get("inputs"), dict) else "embed"
        caller.choose(verb)
        return await ROUTES[verb](caller, content)
    body = to_model(InferenceRequest, content)
    inputs = body.inputs if isinstance(body.inputs, list) else [body.inputs]
    options = {name: value for name, value in body.parameters.items() if value is not None}
    if issubclass(caller.task.result_type, Classification):
        top_k = options.pop("top_k", None)
        if top_k is not None and not (isinstance(top_k, int) and top_k > 0):
            raise Fault(413, f"top_k: expected a whole number from 1, found {top_k!r:.60}.")
        return [one.to_hf(top_k=top_k) for one in await caller.answer(inputs, options)]
    answers = [one.to_hf() for one in await caller.answer(inputs, options)]
    return answers if isinstance(body.inputs, list) else answers[0]


ROUTES: dict[str, Callable[[Caller, dict[str, Any]], Awaitable[Any]]] = {
    "predict": predict,
    "embed": embed,
    "similarity": similarity,
    "rerank": rerank,
}


def add_routes(app: FastAPI, engine: Engine) -> None:
    """Add the routes of all tasks."""
    answer_faults(
        app, lambda fault: {"error": str(fault), "error_type": ERRORS.get(fault.status, "validation")}, STATUSES
    )
    for verb, compute in ROUTES.items():
        app.post(f"/{{task}}/{verb}", summary=compute.__doc__)(_handler(verb, compute))

    @app.post("/{task}", summary=infer.__doc__)
    async def root(task: str, request: Request) -> Any:
        caller = Caller(request, task)
        return await infer(caller, await caller.body())

    @app.get("/{task}/health")
    async def health(task: str, request: Request) -> Response:
        """Whether there is such a task."""
        Caller(request, task)
        return Response()

    @app.get("/{task}/info")
    async def info(task: str, request: Request) -> dict[str, Any]:
        """What answers."""
        caller, settings = Caller(request, task), state_of(request).settings
        adapter, base = engine.choose(caller.task, caller.adapter, None)
        return {
            "model_id": f"{base}@{adapter.name}" if adapter else base,
            "model_dtype": settings.dtype,
            "model_type": _kind(caller.task, adapter.labels if adapter else None),
            "max_concurrent_requests": settings.max_running,
            "max_client_batch_size": settings.max_inputs,
            "auto_truncate": False,
            "version": __version__,
        }


def _handler(verb: str, compute: Callable[[Caller, dict[str, Any]], Awaitable[Any]]) -> Callable[..., Any]:
    async def handle(task: str, request: Request) -> Any:
        caller = Caller(request, task)
        caller.choose(verb)
        return await compute(caller, await caller.body())

    return handle


def _answers(task: AnyTask, verb: str) -> bool:
    if verb == "predict":
        return issubclass(task.result_type, Classification)
    return task.family == "vectors" and ANSWERS[verb] in task.result_type.model_fields


def _kind(task: AnyTask, labels: Sequence[str] | None) -> dict[str, Any]:
    """TEI's `model_type`."""
    if issubclass(task.result_type, Classification):
        names = {str(number): label for number, label in enumerate(labels or getattr(task, "labels", None) or ())}
        return {"classifier": {"id2label": names, "label2id": {label: int(key) for key, label in names.items()}}}
    return {"embedding": {"pooling": "mean"}} if task.family == "vectors" else {task.family: {}}
