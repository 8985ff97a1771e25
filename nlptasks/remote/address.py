"""The name of a remote model: what it is, where it is, and the key for it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast
from urllib.parse import urlsplit

from nlptasks.errors import NlptasksError, UnsupportedModelError

PREFIXES = ("openai:", "nlptasks:")
"""How the name of a remote model begins."""

OPENAI = "api.openai.com"
"""The only host that gets OPENAI_API_KEY."""

_NAME = re.compile(r"(openai|nlptasks):(.+?)@(https?://.+)", re.IGNORECASE)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FORMS = "openai:NAME@http://HOST:PORT/v1 or nlptasks:TASK[@ADAPTER]@http://HOST:PORT"


@dataclass(frozen=True)
class Address:
    """A remote model: `base` is its whole name, `url` the server's address without a slash at the end."""

    base: str
    kind: Literal["openai", "nlptasks"]
    name: str
    adapter: str | None
    url: str

    @classmethod
    def parse(cls, base: str) -> Address:
        """Read the name of a base.

        Raises:
            UnsupportedModelError: it is no address of a server, or has a password.
        """
        match = _NAME.fullmatch(base)
        if not match:
            raise UnsupportedModelError(f"Expected a remote model as {_FORMS}, found {_without_password(base)!r}.")
        kind, name, url = match.groups()
        try:
            parts = urlsplit(url)
            faulty = not parts.hostname or parts.port == 0
        except ValueError:
            faulty = True
        if faulty or parts.query or parts.fragment or any(char.isspace() for char in url):
            raise UnsupportedModelError(f"Expected a remote model as {_FORMS}, found {_without_password(base)!r}.")
        if parts.username is not None or parts.password is not None:
            raise UnsupportedModelError(
                f"Expected the address of a server without a password, found {_without_password(base)!r}: "
                "put the key into NLPTASKS_REMOTE_KEY."
            )
        url = url.rstrip("/")
        if kind == "openai":
            return cls(base, "openai", name, None, url if parts.path.strip("/") else f"{url}/v1")
        task, _, adapter = name.partition("@")
        return cls(base, cast(Literal["nlptasks"], kind.lower()), task, adapter or None, url.removesuffix("/v1"))

    @property
    def host(self) -> str:
        """The host, with its port if the address has one."""
        return urlsplit(self.url).netloc

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        return urlsplit(self.url).hostname in _LOOPBACK

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI's own server, reached over TLS."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" and parts.hostname == OPENAI and parts.port in (None, 443)


@dataclass(frozen=True)
class RemoteSettings:
    """How servers are asked. Times are in seconds.

    `connect` and `read` are the longest waits for a connection and for the next byte. A request is repeated at most
    `retries` times, after `delay`, twice that, and so on, or as long as the server's Retry-After says; together
    the pauses take at most `patience`. `parallel` requests run at once on each server. Only `hosts`, as HOST or
    HOST:PORT, may be named; None for any.
    """

    key: str | None = field(default=None, repr=False)
    openai_key: str | None = field(default=None, repr=False)
    hosts: frozenset[str] | None = None
    parallel: int = 8
    connect: float = 10.0
    read: float = 600.0
    retries: int = 4
    delay: float = 0.5
    patience: float = 60.0

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> RemoteSettings:
        """Read NLPTASKS_REMOTE_* and OPENAI_API_KEY.

        Raises:
            NlptasksError: a variable has an invalid value.
        """
        env = os.environ if env is None else env
        hosts = env.get("NLPTASKS_REMOTE_HOSTS")
        return cls(
            key=_key(env, "NLPTASKS_REMOTE_KEY"),
            openai_key=_key(env, "OPENAI_API_KEY"),
            hosts=None if hosts is None else frozenset(filter(None, map(str.strip, hosts.lower().split(",")))),
            parallel=_whole(env, "NLPTASKS_REMOTE_PARALLEL", cls.parallel),
            read=float(_whole(env, "NLPTASKS_REMOTE_TIMEOUT", int(cls.read))),
        )

    def key_for(self, address: Address) -> str | None:
        """The key that a server gets; that of OpenAI goes to no other host."""
        return self.key or (self.openai_key if address.is_openai else None)

    def check(self, address: Address) -> None:
        """Refuse a server that may not be named. Raises UnsupportedModelError."""
        hosts = {address.host.lower(), urlsplit(address.url).hostname}
        if self.hosts is not None and self.hosts.isdisjoint(hosts):
            allowed = ", ".join(sorted(self.hosts)) or "none"
            raise UnsupportedModelError(
                f"Expected a server of NLPTASKS_REMOTE_HOSTS ({allowed}), found {address.host}: add it there."
            )


def _key(env: Mapping[str, str], name: str) -> str | None:
    value = env.get(name, "").strip()
    # What cannot stand in a header would be in the text of its error.
    if not all("!" <= char <= "~" for char in value):
        raise NlptasksError(f"{name}: expected a key of visible ASCII characters, found others.")
    return value or None


def _whole(env: Mapping[str, str], name: str, default: int) -> int:
    value = env.get(name, "").strip()
    if not value:
        return default
    if not value.isdigit() or int(value) == 0:
        raise NlptasksError(f"{name}: expected a whole number above 0, found {value!r}.")
    return int(value)


def _without_password(base: str) -> str:
    return re.sub(r"(https?://)[^/@]*@", r"\1...@", base, flags=re.IGNORECASE)
