"""What every request passes: its host, its key, its rate, its number; and the line in the log that it leaves."""

from __future__ import annotations

import hmac
import json
import logging
import re
import time
import uuid
from base64 import b64decode
from collections import OrderedDict, deque
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nlptasks.serve.faults import CLIENT_CLOSED, Fault, answer_of
from nlptasks.serve.metrics import Metrics
from nlptasks.serve.settings import ServeSettings, is_loopback

OPEN = frozenset({"/health", "/ready"})
"""Addresses that need no key, and that answer under any Host."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that are labels in the metrics; a client may send any word as one."""

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

WRONG_KEYS = 30
"""Wrong keys that an address may send in a minute."""

MAX_CALLERS = 10_000
"""Callers whose rate is known; the one that was silent longest is forgotten first."""

_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)

log = logging.getLogger("nlptasks.serve")


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._keys = {key.encode(): name for key, name in settings.keys.items()}
        self._calls: OrderedDict[str, deque[float]] = OrderedDict()
        address = {"localhost", "127.0.0.1", "[::1]"} if is_loopback(settings.host) else {settings.host}
        # A server of all addresses knows none of them. It has a key, which a page that resolves its name to it has not.
        everywhere = settings.host in ("0.0.0.0", "::") and self._keys and not settings.allowed_hosts
        self._hosts = {"*"} if everywhere else {*address, *settings.allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # No route has a WebSocket, and what a library adds must not go past the checks below.
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        wished = headers.get("x-request-id", "")
        number = wished if _ID.fullmatch(wished) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = number
        status, begin, caller = 0, time.perf_counter(), ""

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = number
            await send(message)

        try:
            caller = scope["state"]["caller"] = self._admit(scope, headers)
            await self._app(scope, receive, answer)
        except Exception as error:
            code, body, extra = answer_of(error)
            if not status:
                await JSONResponse(body, code, extra)(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - begin
            route = _route(scope)
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.requests.labels(route, method, str(status or CLIENT_CLOSED)).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            facts = {"id": number, "method": scope["method"], "route": route, "status": status or CLIENT_CLOSED}
            log.info(
                json.dumps(
                    {**facts, "caller": caller, "ms": round(1000 * seconds, 1), **scope["state"].get("facts", {})}
                )
            )

    def _admit(self, scope: Scope, headers: Headers) -> str:
        """The name of the caller; raises Fault if it may not call."""
        host = headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        # A probe of health names the machine as it knows it, and learns nothing.
        if name not in self._hosts and "*" not in self._hosts and scope["path"] not in OPEN:
            # A page of another site can resolve its own name to this machine (DNS rebinding).
            raise Fault(400, f"Expected the server's own address as Host, found {name[:60]!r}: see --allowed-host.")
        origin = headers.get("origin")
        pages = {f"{scheme}://{host}" for scheme in ("http", "https")} | set(self._settings.cors_origins)
        if origin and scope["method"] not in READING and origin not in pages:
            # A browser sends a form of another site's page without asking, and the key that it remembers with it.
            raise Fault(403, f"Expected a page of this server as Origin, found {origin[:60]!r}: see --cors-origin.")
        caller = self._caller(scope, headers)
        # A page of the web app is many requests; those for models wait in its own queue.
        counted = scope["path"] not in OPEN and not scope["path"].startswith("/ui/")
        if self._settings.requests_a_minute and counted:
            self._count(caller or _address(scope), self._settings.requests_a_minute)
        return caller

    def _caller(self, scope: Scope, headers: Headers) -> str:
        if not self._keys or scope["path"] in OPEN:
            return ""
        key = _key(headers.get("authorization", "")).encode()
        names = [name for known, name in self._keys.items() if hmac.compare_digest(known, key)]
        if not names:
            # Nobody can try many keys in turn.
            self._count(f"wrong keys of {_address(scope)}", WRONG_KEYS)
            # With Basic a browser asks its user.
            scheme = 'Basic realm="any name, and a key as the password"' if self._settings.ui else "Bearer"
            raise Fault(
                401, "Expected a valid key in the header Authorization: Bearer KEY.", {"WWW-Authenticate": scheme}
            )
        return names[0]

    def _count(self, caller: str, limit: int) -> None:
        now = time.monotonic()
        calls = self._calls.setdefault(caller, deque())
        self._calls.move_to_end(caller)
        while len(self._calls) > MAX_CALLERS:
            self._calls.popitem(last=False)
        while calls and calls[0] <= now - 60:
            calls.popleft()
        if len(calls) >= limit:
            wait = {"Retry-After": str(max(1, round(60 - (now - calls[0]))))}
            raise Fault(429, f"Expected at most {limit} requests a minute, found more: try again later.", wait)
        calls.append(now)


def _address(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])


def _route(scope: Scope) -> str:
    """The path of the route as it was written, with the names of its parameters in place of their values."""
    route = scope.get("route")
    # A mounted app that knows no routes, such as one of files, leaves the mount itself there.
    path = "" if isinstance(route, Mount) else getattr(route, "path", "")
    return f"{scope.get('mount', '')}{path}" or "unknown"


def _key(header: str) -> str:
    """The key of a header: a bearer's, or the password of basic authentication, for clients that know no other."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        with suppress(ValueError):
            return b64decode(value, validate=True).decode().partition(":")[2]
    return ""


def facts_of(scope_state: Any, **facts: Any) -> None:
    """Add facts of a request to its line in the log; never its texts."""
    scope_state.facts = {**getattr(scope_state, "facts", {}), **facts}
