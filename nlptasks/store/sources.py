"""What every source of base models shares: progress, failures, and a quick check whether a host answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

# A cut network must fail within five seconds in all, the start of pip included.
PROBE_SECONDS = 1.5


@dataclass(frozen=True)
class Progress:
    """A step of a download: how many bytes (or parts) are completed, and of how many if that is known."""

    label: str
    completed: int
    total: int | None


ProgressCallback = Callable[[Progress], None]


class SourceError(Exception):
    """Why one source could not deliver; the next one is tried, and the final error names all reasons."""

    def __init__(self, reason: str, *, unreachable: bool = False, wrong_bytes: bool = False) -> None:
        self.unreachable = unreachable
        self.wrong_bytes = wrong_bytes
        super().__init__(reason)


class Probe:
    """Opens a TCP connection to a URL's host, or to the proxy that stands before it.

    It runs on a daemon thread, because a name look-up cannot be given a timeout and must not hold the process.
    """

    def __init__(self, url: str, *, proxy: str | None = None, timeout: float = PROBE_SECONDS) -> None:
        self._host, self._port = _target(url, proxy)
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._reason: str | None = f"no answer from {self._host}:{self._port} within {timeout:g} s"
        self._thread = threading.Thread(target=self._connect, name="nlptasks-probe", daemon=True)
        self._thread.start()

    def failure(self) -> str | None:
        """Wait for the outcome, at most until the timeout: None when the host answers, else why not."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        return self._reason

    def _connect(self) -> None:
        where = f"{self._host}:{self._port}"
        try:
            socket.create_connection((self._host, self._port), timeout=self._timeout).close()
        except socket.gaierror:
            self._reason = f"the host name {self._host} cannot be resolved"
        except TimeoutError:
            return
        except OSError as error:
            self._reason = f"{where}: {error.strerror or error}"
        else:
            self._reason = None


def _target(url: str, proxy: str | None) -> tuple[str, int]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if proxy is None and not proxy_bypass(host):
        proxies = getproxies()
        proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host, port = parts.hostname or "", parts.port
    return host, port or (443 if parts.scheme == "https" else 80)


def bytes_under(folder: Path) -> int:
    """The size of all plain files below a folder, links left out; 0 when it is not there."""
    total = 0
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
        except OSError:
            # Another thread or process renames files while they are counted.
            continue
    return total
