"""Data files that users uploaded, stored as long as a training may need them."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from pathlib import Path

from nlptasks import DataError
from nlptasks.data import FORMATS
from nlptasks.store import writing
from nlptasks_ui.pages.files import check_size, home

KINDS = (*FORMATS, ".gz")
MAX_BYTES = 100_000_000

_STRANGE = re.compile(r"[^\w.-]+")


class Uploads:
    """A user's files under their names, in folders named by a digest of content and name."""

    def __init__(self, runs: Path, user: str = "") -> None:
        self._runs = runs
        self._root = home(runs, user) / "data"

    def of(self, user: str) -> Uploads:
        """The files of a user."""
        return Uploads(self._runs, user)

    def store(self, upload: Path) -> Path:
        """Store a copy of an upload and return its path; the same content under the same name is stored once.

        Raises:
            DataError: the file is of another type or too large.
        """
        name = _STRANGE.sub("-", upload.name).lstrip(".-") or "data"
        kind = Path(name).suffix.lower()
        if kind not in KINDS:
            raise DataError(
                f"{name}: expected one of {', '.join(KINDS)}, found {repr(kind) if kind else 'no extension'}."
            )
        check_size(upload, name, MAX_BYTES, "upload a part of it, or use `nlptasks train`")
        with upload.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").digest()
        # With the name, or the same content under another name would replace the folder.
        digest = hashlib.sha256(content + name.encode()).hexdigest()[:16]
        folder = self._root / digest
        if not (folder / name).is_file():
            with writing(folder) as staging:
                shutil.copyfile(upload, staging / name)
        return folder / name

    def list(self) -> list[Path]:
        """All files, the newest first."""
        files = [path for path in self._root.glob("*/*") if not path.parent.name.startswith(".")]
        return sorted(files, key=lambda path: -path.stat().st_mtime)

    def find(self, key: str) -> Path:
        """A file by its key, see `key_of`; raises DataError if there is no such file."""
        for path in self.list():
            if key_of(path) == key:
                return path
        raise DataError("This file no longer exists: upload it again.")

    def delete(self, key: str) -> Path:
        """Delete a file and return the path that it had; raises DataError if there is no such file."""
        path = self.find(key)
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        return path


def key_of(path: Path) -> str:
    """The key by which the browser refers to a stored file, without its full path on this machine."""
    return f"{path.parent.name}/{path.name}"


def named(words: str, path: Path | str) -> str:
    """A message about a stored file, with the user's name of the file in place of its path."""
    return words.replace(str(path), Path(path).name)
