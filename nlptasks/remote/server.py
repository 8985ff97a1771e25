"""Requests to one server: bounded, repeated where that may help, and with its faults in our sentences."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Protocol, TypeVar

import httpx2

from nlptasks.errors import NlptasksError, OverflowRefusedError, RemoteAnswerError, RemoteServerError, clip
from nlptasks.remote.address import Address, RemoteSettings
from nlptasks.remote.waiting import Put

_log = logging.getLogger(__name__)

T = TypeVar("T")

TRANSIENT = frozenset({429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""

NO_ROUTE = frozenset({404, 405, 501})
"""Statuses of a server that lacks a route, or the model."""

MOST_FAILURES = 10
"""Requests in a row, each repeated, after which the server is at fault and not one of the texts."""

MOST_BYTES = 256 * 2**20
"""An answer that is longer is not read to its end."""


class _Transient(Exception):
    """A failure that another try may mend: `error` if none did; `pause` is the server's Retry-After in seconds."""

    def __init__(self, error: NlptasksError, pause: float | None = None) -> None:
        super().__init__(error)
        self.error, self.pause = error, pause


class Events(Protocol):
    """The reader of one answer's events."""

    @property
    def is_whole(self) -> bool:
        """Whether the last event came."""
        ...

    def read(self, value: Any) -> str | None:
        """The text of an event, None if it has none."""
        ...

    def clear(self) -> None:
        """Forget what was read: the answer begins once more."""
        ...


class Server:
    """One server, for all models of an engine. Its methods run in the engine's event loop."""

    def __init__(self, address: Address, settings: RemoteSettings) -> None:
        self.host = address.host
        self.url = address.url
        self._protocol = "OpenAI's protocol" if address.kind == "openai" else "nlptasks"
        self._list = f"{self.url}/models" if address.kind == "openai" else f"{self.url}/v1/tasks"
        self.lacks: set[str] = set()
        """Routes that it has not."""
        self.windows: dict[str, int] | None = None
        """Tokens that its models read, by their names; None before the server was asked."""
        key = settings.key_for(address)
        # A closure: no attribute shows the key.
        self._without_key: Callable[[str], str] = lambda text: text.replace(key, "***") if key else text
        self._settings = settings
        self._failures = 0
        self._slots = asyncio.Semaphore(settings.parallel)
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        if key and not address.is_local and address.url.lower().startswith("http:"):
            _log.warning("%s gets its key over a connection that is not encrypted: use https.", self.host)
        # A proxy of the environment cannot reach this machine's own servers. Redirects are not followed: the key
        # would go where the user did not send it.
        self._client = httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(settings.read, connect=settings.connect, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=settings.parallel),
            # Reading certificates takes 0.1 s; an address without TLS, whose redirects are not followed, needs none.
            verify=address.url.lower().startswith("https:"),
            trust_env=not address.is_local,
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def get(self, path: str) -> Any:
        """The JSON of a page; None if the server has none."""

        async def attempt() -> Any:
            async with self._open("GET", path, None) as response:
                return None if response.status_code in NO_ROUTE else await self._json(response, lambda value: value)

        return await self._repeated(attempt)

    async def post(self, path: str, body: Any, read: Callable[[Any], T]) -> T:
        """What `read` makes of the answer's JSON; an answer that it cannot read is asked for again.

        Raises:
            RemoteAnswerError: this request has no answer; others may have one.
            RemoteServerError: no request to this server, or to this model, can be answered.
            OverflowRefusedError: the server says that the prompt is too long.
        """

        async def attempt() -> T:
            async with self._open("POST", path, body) as response:
                return await self._json(response, read)

        return await self._repeated(attempt)

    async def stream(self, path: str, body: Any, events: Events, put: Put) -> None:
        """Read an answer of server-sent events; their texts go to `put`.

        A request is repeated until the first text came. Raises as `post`; RemoteAnswerError for half an answer.
        """
        begun = False

        async def attempt() -> None:
            nonlocal begun
            events.clear()
            async with self._open("POST", path, body) as response:
                await self._check(response)
                async for line in response.aiter_lines():
                    if not line.startswith("data:"):
                        continue
                    data = line.removeprefix("data:").strip()
                    if data == "[DONE]":
                        break
                    if text := self._read(lambda data=data: self._event(json.loads(data), events)):  # type: ignore[misc]
                        begun = True
                        put(text)
            # Not every server ends with [DONE].
            if not events.is_whole:
                raise _Transient(RemoteAnswerError(f"{self.host} ended its answer in the middle: run it again."))

        await self._repeated(attempt, lambda: begun)

    def _event(self, value: Any, events: Events) -> str | None:
        if isinstance(value, dict) and value.get("error"):
            raise RemoteAnswerError(f"{self.host} failed while it wrote: {self._message(value)}")
        return events.read(value)

    async def _repeated(self, attempt: Callable[[], Awaitable[T]], give_up: Callable[[], bool] = lambda: False) -> T:
        settings, waited = self._settings, 0.0
        for number in range(settings.retries + 1):
            try:
                async with self._slots:
                    answer = await attempt()
                self._failures = 0
                return answer
            except _Transient as failure:
                # Half a second to one, and so on: clients that failed together come back apart.
                pause = random.uniform(0.5, 1) * settings.delay * 2**number
                pause = pause if failure.pause is None else failure.pause
                waited += pause
                if number == settings.retries or waited > settings.patience or give_up():
                    self._failures += 1
                    if self._failures >= MOST_FAILURES and isinstance(failure.error, RemoteAnswerError):
                        what = f"{self.host} answered none of the last {self._failures} requests."
                        raise RemoteServerError(f"{what} The last: {failure.error}") from None
                    raise failure.error from None
                _log.info("%s: again in %.1f s, because: %s", self.host, pause, failure.error)
                await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    @asynccontextmanager
    async def _open(self, method: str, path: str, body: Any) -> AsyncIterator[httpx2.Response]:
        try:
            # ASCII: half a surrogate pair has no bytes in UTF-8.
            content = None if body is None else json.dumps(body).encode()
            async with self._client.stream(method, f"{self.url}{path}", content=content) as response:
                yield response
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise _Transient(
                RemoteServerError(
                    f"Expected a server at {self.url}, found none ({clip(str(error)) or 'no answer'}): start it, "
                    "or correct the address."
                )
            ) from None
        except httpx2.TimeoutException:
            raise RemoteAnswerError(
                f"Expected an answer of {self.host} within {self._settings.read:g} s, found none: ask for less, or "
                "set NLPTASKS_REMOTE_TIMEOUT to more seconds."
            ) from None
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            what = self._without_key(clip(str(error))) or type(error).__name__
            raise _Transient(
                RemoteAnswerError(f"{self.host} broke the connection before its answer was complete: {what}.")
            ) from None
        except httpx2.InvalidURL as error:
            raise RemoteServerError(f"Expected the address of a server, found {self.url}: {error}.") from None

    async def _json(self, response: httpx2.Response, read: Callable[[Any], T]) -> T:
        await self._check(response)
        content = await self._content(response)
        return self._read(lambda: read(json.loads(content)))

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            reason = clip(f"{type(error).__name__}: {error}")
            raise _Transient(
                RemoteAnswerError(
                    f"Expected an answer of {self._protocol} from {self.host}, found another ({reason}): see "
                    "whether the address is that of its API."
                )
            ) from error

    async def _content(self, response: httpx2.Response) -> bytes:
        parts, size = [], 0
        async for part in response.aiter_bytes():
            parts.append(part)
            size += len(part)
            if size > MOST_BYTES:
                raise RemoteAnswerError(f"{self.host} answered with more than {MOST_BYTES >> 20} MiB: ask for less.")
        return b"".join(parts)

    async def _check(self, response: httpx2.Response) -> None:
        """Raise for an answer that is none."""
        status = response.status_code
        if response.is_success:
            return
        if response.is_redirect:
            target = clip(response.headers.get("location", "?"), 200)
            raise RemoteServerError(
                f"{self.host} sends requests on to {target}, and a text or a key goes to no other server than the one "
                "that was named: name that address."
            )
        content = await self._content(response)
        try:
            message = self._message(json.loads(content))
        except ValueError:
            message = self._message(content.decode("utf-8", "replace").strip() or "no reason")
        if status in TRANSIENT:
            more = " Try again later, or send fewer requests at once (NLPTASKS_REMOTE_PARALLEL)."
            error = RemoteAnswerError(
                f"{self.host} did not answer ({status}): {message}{more if status == 429 else ''}"
            )
            raise _Transient(error, retry_after(response.headers.get("retry-after")))
        if status in (401, 403):
            raise RemoteServerError(
                f"{self.host} refuses the key ({status}): {message} Set NLPTASKS_REMOTE_KEY to one that it accepts.",
                status,
            )
        if status in NO_ROUTE:
            raise RemoteServerError(
                f"{self.host} has no such model or route ({status}): {message} {self._list} lists what it has.",
                status,
            )
        if "context" in message.lower() and any(word in message.lower() for word in ("length", "window", "token")):
            raise OverflowRefusedError(f"The prompt is too long for {self.host}: {message} Shorten it.")
        raise RemoteAnswerError(f"{self.host} refused the request ({status}): {message}", status)

    def _message(self, value: Any) -> str:
        """The reason in the body of an error, as one sentence without the key."""
        while isinstance(value, dict):
            value = next((value[name] for name in ("error", "message", "detail") if value.get(name)), "no reason")
        text = clip(" ".join(str(value).split()), 300)
        text = self._without_key(text)
        return text if text.endswith((".", "!", "?")) else f"{text}."


def retry_after(value: str | None) -> float | None:
    """The seconds of a Retry-After header, which has a number or a date; None without a valid one."""
    try:
        seconds = float(value or "")
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value or "").timestamp() - time()
        except (OverflowError, TypeError, ValueError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
