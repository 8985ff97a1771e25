"""OpenAI's `/v1/files` and `/v1/batches`, where the server has a folder for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from nlptasks.serve.bodies import read_as
from nlptasks.serve.faults import CLIENT_CLOSED, Fault
from nlptasks.serve.jobs import TASKS, Jobs
from nlptasks.serve.settings import ServeSettings
from nlptasks.serve.state import state_of
from nlptasks.serve.stored import Batch, FileObject

FILES, BATCHES = "/v1/files", "/v1/batches"
ENDPOINTS = ("/v1/chat/completions", "/v1/embeddings")


class BatchRequest(BaseModel):
    """A file of requests to answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_file_id: str = Field(description="A file that was uploaded with the purpose batch.")
    endpoint: str = Field(description="/v1/chat/completions, /v1/embeddings, or /v1/tasks/TASK: that of all its lines.")
    completion_window: str = Field(
        pattern=r"^[1-9]\d{0,2}h$", description="Hours after which it expires with the answers so far, such as 24h."
    )
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None


class FileDeleted(BaseModel):
    """A file that was deleted."""

    id: str
    object: Literal["file"] = "file"
    deleted: bool = True


class _Page(BaseModel):
    object: Literal["list"] = "list"
    has_more: bool
    first_id: str | None = None
    last_id: str | None = None


class FilePage(_Page):
    """Files, newest first."""

    data: list[FileObject]


class BatchPage(_Page):
    """Batches, newest first."""

    data: list[Batch]


BODIES: dict[str, type[BaseModel]] = {BATCHES: BatchRequest}
_UPLOAD: Any = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": ["batch"]},
                    },
                }
            }
        },
    }
}


def add_routes(app: FastAPI) -> None:
    """Add the routes."""
    files: dict[str, Any] = {"tags": ["files"]}
    app.post(FILES, operation_id="create_file", openapi_extra=_UPLOAD, **files)(create_file)
    app.get(FILES, operation_id="list_files", **files)(list_files)
    app.get(f"{FILES}/{{name}}", operation_id="file", **files)(file)
    app.delete(f"{FILES}/{{name}}", operation_id="delete_file", **files)(delete_file)
    app.get(f"{FILES}/{{name}}/content", operation_id="file_content", response_class=FileResponse, **files)(content)
    batches: dict[str, Any] = {"tags": ["batches"]}
    app.post(BATCHES, operation_id="create_batch", **batches)(create_batch)
    app.get(BATCHES, operation_id="list_batches", **batches)(list_batches)
    app.get(f"{BATCHES}/{{name}}", operation_id="batch", **batches)(batch)
    app.post(f"{BATCHES}/{{name}}/cancel", operation_id="cancel_batch", **batches)(cancel_batch)


async def create_file(request: Request) -> FileObject:
    """Upload a file of requests, one JSON object a line."""
    jobs, owner = _jobs(request)
    form = await _form(request, state_of(request).settings)
    try:
        upload, purpose = form.get("file"), form.get("purpose")
        if others := form.keys() - {"file", "purpose"}:
            raise Fault(422, f"{min(others)[:60]}: this parameter is not served.", param=min(others)[:60])
        if purpose != "batch":
            raise Fault(422, f"purpose: expected 'batch', found {str(purpose)[:60]!r}.", param="purpose")
        if not isinstance(upload, UploadFile):
            raise Fault(422, "file: expected a file with a name, found none.", param="file")
        name = PurePath(upload.filename or "").name[:255]
        return await run_in_threadpool(jobs.add_file, owner, upload.file, name)
    finally:
        await form.close()


async def _form(request: Request, settings: ServeSettings) -> FormData:
    """The parts of an upload, a large one in a temporary file; raises Fault as `read_body`."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise Fault(415, f"Expected a body of type multipart/form-data, found {kind[:60]!r}.")
    most, seconds = int(settings.max_file_mb * 1024**2), settings.body_seconds
    size, begin = 0, asyncio.get_running_loop().time()

    async def chunks() -> AsyncGenerator[bytes, None]:
        nonlocal size
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise Fault(413, f"Expected a file of at most {settings.max_file_mb:g} MB, found a larger one.")
            # As slow as any other body may be, but for its size.
            within.reschedule(begin + seconds * (1 + size / (settings.max_body_mb * 1024**2)))
            yield chunk

    try:
        async with asyncio.timeout(seconds) as within:
            return await MultiPartParser(request.headers, chunks(), max_files=1, max_fields=8).parse()
    except TimeoutError:
        raise Fault(408, f"Expected the file within {seconds:g} seconds, found part of it.") from None
    except ClientDisconnect:
        raise Fault(CLIENT_CLOSED, "The client left.") from None
    except MultiPartException as error:
        raise Fault(400, f"Expected the parts of a form, found something else ({error.message[:80]}).") from None


def list_files(
    request: Request,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> FilePage:
    """The files of a caller."""
    jobs, owner = _jobs(request)
    listed = [one for one in jobs.files.of(owner) if purpose in (None, one.purpose)]
    data, more = _page(listed if order == "desc" else listed[::-1], after, limit)
    return FilePage(data=data, has_more=more, **_ends(data))


def file(name: str, request: Request) -> FileObject:
    """A file."""
    jobs, owner = _jobs(request)
    return jobs.files.get(owner, name)


def content(name: str, request: Request) -> FileResponse:
    """The lines of a file."""
    jobs, owner = _jobs(request)
    return FileResponse(jobs.files.lines(owner, name), media_type="application/jsonl")


def delete_file(name: str, request: Request) -> FileDeleted:
    """Delete a file."""
    jobs, owner = _jobs(request)
    jobs.remove_file(owner, name)
    return FileDeleted(id=name)


async def create_batch(request: Request) -> Batch:
    """Answer a file of requests, after the batches that came before."""
    jobs, owner = _jobs(request)
    state = state_of(request)
    wish = await read_as(BatchRequest, request, state.settings)
    if wish.endpoint not in ENDPOINTS:
        if not wish.endpoint.startswith(TASKS):
            served = ", ".join([*ENDPOINTS, f"{TASKS}TASK"])
            raise Fault(422, f"endpoint: expected {served}, found {wish.endpoint[:60]!r}.", param="endpoint")
        state.names.task(wish.endpoint.removeprefix(TASKS))
    hours = int(wish.completion_window.removesuffix("h"))
    return await run_in_threadpool(jobs.create, owner, wish.input_file_id, wish.endpoint, hours, wish.metadata)


def list_batches(
    request: Request, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> BatchPage:
    """The batches of a caller."""
    jobs, owner = _jobs(request)
    data, more = _page(jobs.batches.of(owner), after, limit)
    return BatchPage(data=data, has_more=more, **_ends(data))


def batch(name: str, request: Request) -> Batch:
    """A batch: how far it is, and the files of its answers and errors."""
    jobs, owner = _jobs(request)
    return jobs.batches.get(owner, name)


def cancel_batch(name: str, request: Request) -> Batch:
    """Stop a batch; the answers so far become its output."""
    jobs, owner = _jobs(request)
    return jobs.cancel(owner, name)


def _jobs(request: Request) -> tuple[Jobs, str]:
    """The server's jobs, and the caller's name."""
    jobs = state_of(request).jobs
    if jobs is None:
        raise Fault(404, "Files and batches are off: start the server with --batches FOLDER.")
    return jobs, request.state.caller


def _page(listed: Sequence[Any], after: str | None, limit: int) -> tuple[list[Any], bool]:
    """The objects that follow one, and whether there are more; those of an unknown one are all."""
    begin = next((place + 1 for place, one in enumerate(listed) if one.id == after), 0)
    return list(listed[begin : begin + limit]), len(listed) > begin + limit


def _ends(data: Sequence[Any]) -> dict[str, Any]:
    return {"first_id": data[0].id, "last_id": data[-1].id} if data else {}
