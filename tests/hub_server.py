"""Loopback servers for the tests: a small Hugging Face Hub and a small package index, stdlib only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40
PULL, PULL_COMMIT = "refs/pr/1", "b" * 40
_CHUNK = 64 * 1024


@dataclass
class Request:
    method: str
    path: str
    range: str | None


@dataclass
class Site:
    """What a server offers, what it was asked, and how it misbehaves.

    `pulls` are files that the repositories have only at the pull request 1, by the account `author`. `delay` is how
    many seconds the Hub thinks about a repository. `break_after` cuts the connection once, after that many bytes of
    a file; `pause` waits between two chunks.
    """

    url: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    pulls: dict[str, dict[str, bytes]] = field(default_factory=dict)
    author: str = "SFconvertbot"
    wheels: dict[str, bytes] = field(default_factory=dict)
    break_after: int | None = None
    pause: float = 0.0
    delay: float = 0.0
    requests: list[Request] = field(default_factory=list)

    def asked(self, part: str, method: str = "GET") -> list[Request]:
        return [request for request in self.requests if request.method == method and part in request.path]


@contextlib.contextmanager
def serve() -> Iterator[Site]:
    """Serve a Site on a free loopback port until the block ends."""
    site = Site()

    class Handler(_Handler):
        def __init__(self, *args: object) -> None:
            self.site = site
            super().__init__(*args)  # type: ignore[arg-type]

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *args: object) -> None:
        """Keep the test output clean."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.site.requests.append(Request(self.command, path, self.headers.get("Range")))
        parts = path.strip("/").split("/")
        if parts[0] == "simple":
            self._index_page(parts[1])
        elif parts[0] == "wheels" and parts[1] in self.site.wheels:
            self._file(self.site.wheels[parts[1]], {})
        elif parts[:2] == ["api", "models"]:
            self._api("/".join(parts[2:4]), parts[4:])
        elif len(parts) > 4 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._error(404, "EntryNotFound")

    def _index_page(self, project: str) -> None:
        names = [name for name in self.site.wheels if name.replace("_", "-").startswith(project)]
        links = "".join(f'<a href="/wheels/{name}">{name}</a>' for name in names)
        self._send(200, f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), {"Content-Type": "text/html"})

    def _api(self, repo: str, rest: list[str]) -> None:
        files = self.site.repos.get(repo)
        time.sleep(self.site.delay)
        if files is None:
            return self._error(404, "RepoNotFound")
        if rest == ["discussions"]:
            return self._json(self._discussions(repo))
        revision = "/".join(rest[1:]) or "main"
        if revision in (PULL, PULL_COMMIT) and repo in self.site.pulls:
            files, commit = files | self.site.pulls[repo], PULL_COMMIT
        elif revision in ("main", COMMIT):
            commit = COMMIT
        else:
            return self._error(404, "RevisionNotFound")
        if rest and rest[0] == "tree":
            return self._json([_tree_entry(name, data) for name, data in files.items()])
        siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
        return self._json({"id": repo, "modelId": repo, "sha": commit, "siblings": siblings, "tags": []})

    def _discussions(self, repo: str) -> dict[str, object]:
        pull = {
            "title": "Adding `safetensors` variant of this model",
            "num": 1,
            "author": {"name": self.site.author},
            "createdAt": "2023-01-01T00:00:00.000Z",
            "status": "open",
            "repo": {"name": repo, "type": "model"},
            "isPullRequest": True,
        }
        found = [pull] if repo in self.site.pulls else []
        return {"discussions": found, "count": len(found), "start": 0}

    def _resolve(self, repo: str, revision: str, name: str) -> None:
        pulled = revision == PULL_COMMIT
        data = (self.site.repos.get(repo, {}) | (self.site.pulls.get(repo, {}) if pulled else {})).get(name)
        if data is None or revision not in ("main", COMMIT, PULL_COMMIT):
            return self._error(404, "EntryNotFound")
        digest = _digest(name, data)
        return self._file(
            data,
            {"X-Repo-Commit": revision if pulled else COMMIT, "ETag": f'"{digest}"', "X-Linked-Size": str(len(data))},
        )

    def _file(self, data: bytes, headers: dict[str, str]) -> None:
        start = 0
        asked = self.headers.get("Range")
        if asked:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            headers |= {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        self._send(206 if asked else 200, data[start:], headers | {"Accept-Ranges": "bytes"})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        limit = self.site.break_after
        if limit is not None and len(body) > limit:
            self.site.break_after = None
            self.wfile.write(body[:limit])
            self.close_connection = True
            return
        # A client that was killed is part of the tests.
        with contextlib.suppress(ConnectionError):
            for begin in range(0, len(body), _CHUNK):
                self.wfile.write(body[begin : begin + _CHUNK])
                time.sleep(self.site.pause)


def _digest(name: str, data: bytes) -> str:
    return (hashlib.sha256 if name.endswith(".safetensors") else hashlib.sha1)(data).hexdigest()


def _tree_entry(name: str, data: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": name, "size": len(data), "oid": _digest(name, data)[:40]}
    if name.endswith(".safetensors"):
        entry["lfs"] = {"oid": _digest(name, data), "size": len(data), "pointerSize": 134}
    return entry
