"""Uploads and files to download: each belongs to its user, and none stays longer than a day."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nlptasks import DataError

UNPACKED = 10
"""How many times the bytes of a plain file a packed one may hold: a small one of a repeated byte would fill memory."""

FOLDER_VARIABLE = "GRADIO_TEMP_DIR"

_FILE_ROUTE = re.compile(r".*?/file[=/](.*)", re.DOTALL)

_users: dict[str, set[str]] = {}
"""The users of each file, by its path. A file without a user is nobody's."""


def home(runs: Path, user: str) -> Path:
    """A user's folder in the folder of trainings and batches; without logins (`user` is ""), that folder itself."""
    return runs / "users" / hashlib.sha256(user.encode()).hexdigest()[:16] if user else runs


def check_size(path: Path, name: str, limit: int, hint: str) -> None:
    """Refuse a file of more than `limit` bytes, or of `UNPACKED` times as many when it is unpacked.

    Raises:
        DataError: it names the file by `name` and ends with the hint.
    """
    if (size := path.stat().st_size) > limit:
        raise DataError(f"{name}: expected at most {limit // 10**6} MB, found {size / 10**6:.0f} MB: {hint}.")
    limit *= UNPACKED
    # What is no gzip is refused by the reader.
    with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(path) as packed:
        if packed.seek(limit + 1) > limit:
            raise DataError(f"{name}: expected at most {limit // 10**6} MB unpacked, found more: {hint}.")


def give(path: Path | str, user: str) -> None:
    """Let a user download a file of Gradio's folder, and send its path back to the app."""
    if user:
        _users.setdefault(_plain(path), set()).add(user)


class FileOwners:
    """ASGI middleware for an app with logins: a file of Gradio's folder is only for the user it was given to.

    An upload is its uploader's. Downloads of other users' files, and requests that name one, are answered with 403.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from starlette.requests import Request
        from starlette.responses import JSONResponse

        request = Request(scope, receive)
        user, path, posted = _user(request), scope["path"], request.method == "POST"
        route = _FILE_ROUTE.fullmatch(path)
        names = [route[1]] if route else []
        if posted and request.headers.get("content-type", "").lower().startswith("application/json"):
            body = await request.body()
            names += _paths(body)
            receive = _again(body, receive)
        folder = _plain(request.app.uploaded_file_dir)
        for name in map(_plain, names):
            if name.startswith(folder + os.sep) and user not in _users.get(name, ()):
                refusal = JSONResponse({"detail": "This file belongs to another user, or no longer exists."}, 403)
                await refusal(scope, receive, send)
                return
        if posted and path.endswith("/upload") and user:
            send = _noting(send, user)
        await self._app(scope, receive, send)


def sweep(folder: Path, age: float) -> None:
    """Delete files, and empty folders, that are older than `age` in seconds, by whatever process they were left."""
    limit = time.time() - age
    for path in sorted(folder.rglob("*"), reverse=True):
        # Somebody else may delete it, and a folder may not be empty.
        with contextlib.suppress(OSError):
            if path.lstat().st_ctime < limit:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def keep_for(age: float, folder: Path, every: float) -> None:
    """Make `folder` Gradio's folder for files, and sweep it now and every so many seconds while the process lives.

    Gradio deletes only what its own process made: a process that was killed leaves its files. A folder that the
    environment names is used for a folder in it.
    """
    folder = Path(os.environ[FOLDER_VARIABLE]) / "nlptasks" if os.environ.get(FOLDER_VARIABLE) else folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ[FOLDER_VARIABLE] = str(folder)

    def run() -> None:
        while True:
            sweep(folder, age)
            time.sleep(every)

    threading.Thread(target=run, name="files", daemon=True).start()


def _plain(path: Path | str) -> str:
    """One spelling of a path; "" for one that no file can have."""
    try:
        return os.path.normcase(Path(path).resolve())
    except (OSError, ValueError, RuntimeError):
        return ""


def _user(request: Any) -> str:
    """The user of a request, as Gradio finds it; "" without a login."""
    server = request.app
    if server.auth_dependency:
        return str(server.auth_dependency(request) or "")
    names = (f"access-token-{server.cookie_id}", f"access-token-unsecure-{server.cookie_id}")
    token = next(filter(None, map(request.cookies.get, names)), None)
    return server.tokens.get(token) or ""


def _again(body: bytes, receive: Any) -> Any:
    """A `receive` that begins with a body that was read."""
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def repeat() -> Any:
        return first.pop() if first else await receive()

    return repeat


def _paths(body: bytes) -> list[str]:
    """The paths of all files that a request names."""

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("path"), str):
                yield value["path"]
            value = list(value.values())
        if isinstance(value, list):
            for part in value:
                yield from walk(part)

    try:
        return list(walk(json.loads(body)))
    except (ValueError, RecursionError):
        return []  # Gradio refuses it


def _noting(send: Any, user: str) -> Any:
    """A `send` that gives the uploaded files to their uploader before they learn the paths."""
    body = bytearray()

    async def note(message: Any) -> None:
        body.extend(message.get("body", b""))
        if message["type"] == "http.response.body" and not message.get("more_body"):
            with contextlib.suppress(ValueError):
                paths = json.loads(bytes(body))
                for path in paths if isinstance(paths, list) else []:
                    give(path, user)
        await send(message)

    return note
