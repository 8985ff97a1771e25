"""The data files that users handed in, kept as long as a training may need them."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from nlptasks import DataError
from nlptasks.data import FORMATS
from nlptasks.store.adapter_store import writing

KINDS = (*FORMATS, ".gz")
MAX_BYTES = 100_000_000

_STRANGE = re.compile(r"[^\w.-]+")


class Shelf:
    """Files by the digest of their content, under names that say what the user called them."""

    def __init__(self, runs: Path) -> None:
        self._root = runs / "data"

    def keep(self, upload: Path) -> Path:
        """A copy that stays; the same content under the same name is kept once.

        Raises:
            DataError: another kind of file, or too large a one.
        """
        name = _STRANGE.sub("-", upload.name).lstrip(".-") or "data"
        kind = Path(name).suffix.lower()
        if kind not in KINDS:
            raise DataError(f"{name}: expected one of {', '.join(KINDS)}, found {kind or 'no ending'!r}.")
        size = upload.stat().st_size
        if size > MAX_BYTES:
            raise DataError(
                f"{name}: expected at most {MAX_BYTES // 10**6} MB, found {size / 10**6:.0f} MB: train on a part "
                "of it, or with `nlptasks train`."
            )
        with upload.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
        home = self._root / digest
        if not (home / name).is_file():
            with writing(home) as staging:
                shutil.copyfile(upload, staging / name)
        return home / name

    def list(self) -> list[Path]:
        """All files, the last one handed in first."""
        found = [path for path in self._root.glob("*/*") if not path.parent.name.startswith(".")]
        return sorted(found, key=lambda path: -path.stat().st_mtime)

    def find(self, key: str) -> Path:
        """A file by its `key`; raises DataError if it is not on the shelf."""
        for path in self.list():
            if key_of(path) == key:
                return path
        raise DataError("This file is not there any more: upload it again.")


def key_of(path: Path) -> str:
    """What names a file of the shelf to the browser: never a path of this machine."""
    return f"{path.parent.name}/{path.name}"


def named(words: str, path: Path | str) -> str:
    """What the library says of a file of the shelf, as the user calls it."""
    return words.replace(str(path), Path(path).name)
