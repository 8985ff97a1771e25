"""A batch on disk while it is computed: part files of whole rows, and a manifest that says what they belong to.

    results.parts/                   beside the output results.csv; for a shard results.parts-3-of-8/
        manifest.json                what the parts were computed from, and how many there are once that is known
        part-00000012-3-9f2c….jsonl  a part with its number, its errors, and a digest of the rows that it answers

A part is written beside its place and renamed, so that one that is there is whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from nlptasks import NlptasksError
from nlptasks.store import write_whole

MANIFEST = "manifest.json"
_LOCK = ".lock"
_PART = re.compile(r"part-(\d{8})-(\d+)-([0-9a-f]{16})\.jsonl")
_OURS = re.compile(r"part-.*\.jsonl|\.writing-.*|manifest\.json|joined\.tmp|\.lock")
"""The files that a batch writes: nothing else in the folder is removed."""

_SHARD = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True)
class Shard:
    """The `number`th of `count` shares of a batch: every `count`th part, from part `number` - 1 on."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """A shard written as `3/8`; raises NlptasksError for anything else."""
        match = _SHARD.fullmatch(text)
        shard = cls(int(match[1]), int(match[2])) if match else cls(0, 0)
        if not 1 <= shard.number <= shard.count:
            raise NlptasksError(f"--shard: expected NUMBER/COUNT, such as 3/8, found {text!r}.")
        return shard

    def has(self, part: int) -> bool:
        """Whether a part, counted from 0, is in this shard."""
        return part % self.count == self.number - 1

    def folder(self, output: Path) -> Path:
        """The folder of its parts."""
        share = "" if self.count == 1 else f"-{self.number}-of-{self.count}"
        return output.with_suffix(f".parts{share}")


class ChangedBatchError(NlptasksError):
    """A batch that was begun with something else than it is to go on with; `differences` says with what."""

    def __init__(self, message: str, differences: str) -> None:
        self.differences = differences
        super().__init__(message)


class Size(NamedTuple):
    """The size of a whole batch, over all shards: known when the last row was read."""

    parts: int
    rows: int


class Part(NamedTuple):
    """A part on disk."""

    file: Path
    errors: int
    digest: str


class PartFolder:
    """The parts of a batch, or of one of its shards. `identity` names what they are computed from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity: dict[str, Any] = {}
        self.size: Size | None = None
        self.joined = False
        self._parts: dict[int, Part] = {}

    @property
    def begun(self) -> bool:
        """Whether a batch was begun here and its folder is still there."""
        return (self.path / MANIFEST).exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from the parts; the system frees them when this process ends, however it does.

        Raises:
            NlptasksError: another process has them.
        """
        from filelock import FileLock, Timeout

        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if not self.begun and any(not _OURS.fullmatch(file.name) for file in self.path.iterdir()):
                raise NlptasksError(
                    f"{self.path}: expected a batch's folder or none, found other files in it: choose another output."
                )
            try:
                lock = FileLock(self.path / _LOCK).acquire(timeout=0)
            except Timeout:
                raise NlptasksError(
                    f"{self.path}: another process is computing this batch: wait for it, or choose another output."
                ) from None
        with lock:
            yield

    def read(self) -> bool:
        """Read what is there; False if nothing was begun."""
        try:
            manifest = json.loads((self.path / MANIFEST).read_text("utf-8"))
        except FileNotFoundError:
            return False
        self.identity, self.joined = manifest["identity"], manifest["joined"]
        self.size = Size(**manifest["size"]) if manifest["size"] else None
        for file in self.path.iterdir():
            if match := _PART.fullmatch(file.name):
                self._parts[int(match[1])] = Part(file, int(match[2]), match[3])
        return True

    def begin(self, identity: Any, *, restart: bool = False) -> None:
        """Go on with the parts that are there, or begin.

        Raises:
            ChangedBatchError: they were computed from something else.
        """
        identity = json.loads(json.dumps(identity, default=str))
        if restart:
            self._clear()
        if not self.read():
            self.identity = identity
            self._write_manifest()
        elif differences := self.differences(identity):
            raise ChangedBatchError(
                f"{self.path} was begun with something else: {differences}. Repeat the command that it was begun with, "
                "choose another output, or add --restart to compute everything anew.",
                differences,
            )

    def differences(self, identity: Mapping[str, Any]) -> str:
        """How this batch differs from one of another identity; empty if it does not."""
        names = dict.fromkeys([*self.identity, *identity])
        pairs = [(name, self.identity.get(name), identity.get(name)) for name in names]
        return "; ".join(f"{name} was {_show(old)}, is {_show(new)}" for name, old, new in pairs if old != new)

    def find(self, number: int, digest: str, rows: int) -> Part | None:
        """A part of so many rows, None if it is not there or damaged.

        Raises:
            NlptasksError: it answers other rows than those of this digest.
        """
        part = self._parts.get(number)
        if part and part.digest != digest:
            raise NlptasksError(
                f"{part.file}: its rows are not those of the input any more: the input was changed. Add --restart to "
                "compute everything anew."
            )
        content = part.file.read_bytes() if part else b""
        return part if content.endswith(b"\n") and content.count(b"\n") == rows else None

    def write(self, number: int, digest: str, lines: Iterable[bytes], errors: int) -> None:
        """Add a part; `errors` of its rows have no answer."""
        path = self.path / f"part-{number:08d}-{errors}-{digest}.jsonl"
        self._write(path, lines)
        self._parts[number] = Part(path, errors, digest)

    @property
    def parts(self) -> dict[int, Part]:
        """The parts by their numbers, from 0, in order."""
        return dict(sorted(self._parts.items()))

    def end(self, size: Size) -> None:
        """Note how large the whole batch is."""
        self.size = size
        self._write_manifest()

    def note_joined(self) -> None:
        """Note that the output is whole, so that a removal which is cut short is no loss."""
        self.joined = True
        self._write_manifest()

    def remove(self) -> None:
        """Remove the files, the manifest after the parts, and the folder if there is nothing else in it."""
        for pattern in ("part-*.jsonl", "*"):
            for file in self.path.glob(pattern):
                if _OURS.fullmatch(file.name):
                    file.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()

    def _clear(self) -> None:
        """Remove the manifest first: parts without one are nobody's."""
        with writing(self.path):
            (self.path / MANIFEST).unlink(missing_ok=True)
            for file in self.path.glob("part-*.jsonl"):
                file.unlink()

    def _write_manifest(self) -> None:
        size = self.size._asdict() if self.size else None
        content = {"identity": self.identity, "size": size, "joined": self.joined}
        self._write(self.path / MANIFEST, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def _write(self, file: Path, content: str | Iterable[bytes]) -> None:
        with writing(file):
            write_whole(file, content, durable=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise NlptasksError for a full disk and the like: what was computed stays."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = "Make room" if full else "Make it writable or choose another output"
        raise NlptasksError(
            f"{path}: {error.strerror or error}. {mend} and repeat the command: the rows that were answered are kept."
        ) from error


def digest_of(blocks: Iterable[bytes]) -> str:
    """A short digest of rows."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()[:16]


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
