"""Data files that users uploaded, stored as long as a training may need them."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from nlptasks import DataError
from nlptasks.data import FORMATS
from nlptasks.store import writing

KINDS = (*FORMATS, ".gz")
MAX_BYTES = 100_000_000

_STRANGE = re.compile(r"[^\w.-]+")


class Uploads:
    """Files under the user's names, in folders named by the digest of their content."""

    def __init__(self, runs: Path) -> None:
        self._root = runs / "data"

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
        size = upload.stat().st_size
        if size > MAX_BYTES:
            raise DataError(
                f"{name}: expected at most {MAX_BYTES // 10**6} MB, found {size / 10**6:.0f} MB: upload a part "
                "of it, or use `nlptasks train`."
            )
        with upload.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
        home = self._root / digest
        if not (home / name).is_file():
            with writing(home) as staging:
                shutil.copyfile(upload, staging / name)
        return home / name

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


def key_of(path: Path) -> str:
    """The key by which the browser refers to a stored file, without its full path on this machine."""
    return f"{path.parent.name}/{path.name}"


def named(words: str, path: Path | str) -> str:
    """A message about a stored file, with the user's name of the file in place of its path."""
    return words.replace(str(path), Path(path).name)
