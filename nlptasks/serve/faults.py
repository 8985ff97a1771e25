"""Errors as statuses and bodies: in OpenAI's shape, or in that of a plugin's protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from nlptasks import (
    CancelledError,
    InvalidInputError,
    NlptasksError,
    OverflowRefusedError,
    UnknownNameError,
    UnsupportedModelError,
)
from nlptasks.surfaces import invalid, sentence

if TYPE_CHECKING:
    from fastapi import FastAPI


class Fault(Exception):
    """A request that is refused: its status, a sentence, headers of the answer, and OpenAI's `param` and `code`."""

    def __init__(
        self,
        status: int,
        message: str,
        headers: dict[str, str] | None = None,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(status, message, headers, param, code)
        self.status, self.headers, self.param, self.code = status, headers or {}, param, code

    def __str__(self) -> str:
        return str(self.args[1])


_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
}
"""OpenAI's `type` of an error; all others are `invalid_request_error`."""

CLIENT_CLOSED = 499
"""The status in the log of a request whose client left; nobody receives it."""


class ErrorFacts(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of an answer that is an error."""

    error: ErrorFacts


def body(fault: Fault) -> dict[str, Any]:
    """The body of an answer that is an error."""
    kind = _TYPES.get(fault.status, "invalid_request_error")
    return {"error": {"message": str(fault), "type": kind, "param": fault.param, "code": fault.code}}


def fault_of(error: Exception) -> Fault:
    """Any error as what is answered to a request."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, HTTPException):
        return Fault(error.status_code, f"{error.detail}.", dict(error.headers or {}))
    if isinstance(error, RequestValidationError):
        return Fault(422, invalid(error))  # type: ignore[arg-type]
    if isinstance(error, UnknownNameError):
        return Fault(404, sentence(error), code="model_not_found")
    if isinstance(error, InvalidInputError | OverflowRefusedError):
        return Fault(422, sentence(error))
    if isinstance(error, UnsupportedModelError):
        return Fault(400, sentence(error))
    if isinstance(error, CancelledError):
        return Fault(CLIENT_CLOSED, sentence(error))
    if isinstance(error, NlptasksError):
        # Weights that cannot be fetched, a plugin that failed: nothing that the caller could mend.
        return Fault(503, sentence(error), {"Retry-After": "60"})
    # The log has the traceback; the caller learns nothing of the inside.
    sentence(error)
    return Fault(500, "This failed inside the server; its log says more.")


def answer_of(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """The status, the body and the headers for an error."""
    fault = fault_of(error)
    return fault.status, body(fault), fault.headers


def answer_faults(
    app: FastAPI,
    shape: Callable[[Fault], dict[str, Any]] = body,
    statuses: Mapping[int, int] = MappingProxyType({}),
) -> None:
    """Answer every error of an app's routes with a body of this shape; `statuses` has some to put in place of ours."""

    async def refuse(_: Request, error: Exception) -> Response:
        fault = fault_of(error)
        return JSONResponse(shape(fault), statuses.get(fault.status, fault.status), fault.headers)

    for kind in (HTTPException, RequestValidationError, NlptasksError, Fault, Exception):
        app.add_exception_handler(kind, refuse)
