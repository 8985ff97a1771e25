"""Bodies of requests: read within limits, and parsed as JSON without NaN."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request

from nlptasks.serve.faults import CLIENT_CLOSED, Fault
from nlptasks.serve.settings import ServeSettings
from nlptasks.surfaces import invalid

B = TypeVar("B", bound=BaseModel)


async def read_body(request: Request, settings: ServeSettings) -> bytes:
    """The bytes of a body.

    Raises:
        Fault: 413 for too many, 408 if they are not there in time.
    """
    limit = int(settings.max_body_mb * 1024 * 1024)
    large = Fault(
        413, f"Expected a body of at most {settings.max_body_mb:g} MB, found a larger one: send fewer inputs."
    )
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise large
    data = bytearray()
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for chunk in request.stream():
                data += chunk
                if len(data) > limit:
                    raise large
    except TimeoutError:
        raise Fault(408, f"Expected the body within {settings.body_seconds:g} seconds, found part of it.") from None
    except ClientDisconnect:
        raise Fault(CLIENT_CLOSED, "The client left.") from None
    return bytes(data)


async def read_fields(request: Request, settings: ServeSettings) -> dict[str, Any]:
    """The fields of a JSON object or of a form.

    Raises:
        Fault: as `read_object`.
    """
    if _type(request) != "application/x-www-form-urlencoded":
        return await read_object(request, settings)
    data = await read_body(request, settings)
    try:
        pairs = parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError as error:
        raise Fault(400, f"Expected a form of at most 100 fields in UTF-8, found another ({error}).") from None
    return dict(reversed(pairs))


async def read_object(request: Request, settings: ServeSettings) -> dict[str, Any]:
    """The JSON object of a body.

    Raises:
        Fault: as `read_body`; 400 for anything but a JSON object, NaN, infinity, or nesting that has no end.
    """
    kind = _type(request)
    # A form of another site's page can be posted without a browser asking first; JSON cannot.
    if kind != "application/json":
        raise Fault(415, f"Expected a body of type application/json, found {kind[:60]!r}.")
    data = await read_body(request, settings)
    try:
        content = from_json(data, allow_inf_nan=False)
        str(content).encode()
    except (ValueError, RecursionError) as error:
        raise Fault(400, f"Expected a JSON object, found something else ({str(error)[:120]}).") from None
    if not isinstance(content, dict):
        raise Fault(400, f"Expected a JSON object, found {type(content).__name__}.")
    return content


async def read_as(model: type[B], request: Request, settings: ServeSettings) -> B:
    """The body as a type.

    Raises:
        Fault: as `read_object`; 422 naming every field that does not fit.
    """
    return to_model(model, await read_object(request, settings))


def to_model(model: type[B], content: Mapping[str, Any]) -> B:
    """An object as a type.

    Raises:
        Fault: 422 naming every field that does not fit.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = ".".join(map(str, error.errors()[0]["loc"])) or None
        raise Fault(422, invalid(error), param=first) from None


def _type(request: Request) -> str:
    return request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
