"""Errors as statuses and bodies, in OpenAI's shape."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from nlptasks import (
    CancelledError,
    InvalidInputError,
    NlptasksError,
    OverflowRefusedError,
    UnknownNameError,
    UnsupportedModelError,
)
from nlptasks.surfaces import sentence


class Fault(Exception):
    """A request that is refused: its status, a sentence, and headers of the answer."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None, param: str | None = None):
        super().__init__(status, message, headers, param)
        self.status, self.headers, self.param = status, headers or {}, param

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


def body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The body of an answer that is an error."""
    kind = _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def answer_of(error: BaseException) -> tuple[int, dict[str, Any], dict[str, str]]:
    """The status, the body and the headers for an error."""
    if isinstance(error, Fault):
        return error.status, body(error.status, str(error), error.param), error.headers
    if isinstance(error, UnknownNameError):
        return 404, body(404, sentence(error), code="model_not_found"), {}
    if isinstance(error, InvalidInputError | OverflowRefusedError):
        return 422, body(422, sentence(error)), {}
    if isinstance(error, UnsupportedModelError):
        return 400, body(400, sentence(error)), {}
    if isinstance(error, CancelledError):
        return CLIENT_CLOSED, body(CLIENT_CLOSED, sentence(error)), {}
    if isinstance(error, NlptasksError):
        # Weights that cannot be fetched, a plugin that failed: nothing that the caller could mend.
        return 503, body(503, sentence(error)), {"Retry-After": "60"}
    # The log has the traceback; the caller learns nothing of the inside.
    sentence(error)
    return 500, body(500, "This failed inside the server; its log says more."), {}
