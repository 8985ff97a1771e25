"""What a safetensors file holds, read from its header alone and with distrust: of an adapter, a base or ranges.

Nothing here imports torch, and no tensor is read.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nlptasks.errors import AdapterError, NlptasksError, UnsupportedModelError

RANGES = "ranges.safetensors"
HEADER_LIMIT = 32 * 1024**2
"""Bytes of a header at most; a hundred thousand tensors take a third of it."""

_LFS = b"version https://git-lfs"
_REMEDY = "copy or download the file again."


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file: its type as safetensors names it (F32, BF16, ...), its shape, and its bytes in the file
    from `start` to before `end`."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


Header = Mapping[str, TensorInfo]
WeightFile = tuple[Path, int, int, int]
"""The state of a file: its path, size, time and inode; with other content one of them differs."""


def read_header(file: Path, error: type[NlptasksError] = AdapterError) -> Header:
    """The tensors of a safetensors file by their names; read once, and again when the file is replaced.

    Raises:
        error: the file is not there, is no safetensors file, or is not whole.
    """
    with _refusing(file, error):
        return _header(_state(file))


def read_headers(base: Path) -> dict[str, TensorInfo]:
    """The tensors of all weight files in a base's folder.

    Raises:
        UnsupportedModelError: a file is damaged.
    """
    headers = [read_header(file, UnsupportedModelError) for file in _weight_files(base)]
    return {name: tensor for header in headers for name, tensor in header.items()}


def fingerprint(base: Path) -> str:
    """Identity of a base: tensor names, types, shapes and a sample of every tensor's bytes.

    The sample (64 bytes at each end) distinguishes fine-tuned weights from their parents within a few milliseconds,
    where a full hash would read every byte. Computed once, and again when a file is replaced.

    Raises:
        UnsupportedModelError: a file is damaged.
    """
    states = []
    for file in _weight_files(base):
        with _refusing(file, UnsupportedModelError):
            states.append(_state(file))
            _header(states[-1])
    return _fingerprint(tuple(states))


class _DamagedError(Exception):
    """What was found instead of a whole file, and what to do."""


@contextmanager
def _refusing(file: Path, error: type[NlptasksError]) -> Iterator[None]:
    try:
        yield
    except _DamagedError as damage:
        raise error(f"{file}: expected a whole safetensors file, found {damage}") from None


def _state(file: Path) -> WeightFile:
    try:
        stat = file.stat()
    except OSError as error:
        raise _DamagedError(f"none ({error.strerror}).") from None
    return file, stat.st_size, stat.st_mtime_ns, stat.st_ino


def _weight_files(base: Path) -> list[Path]:
    return [path for path in sorted(base.glob("*.safetensors")) if path.name != RANGES]


@functools.lru_cache(maxsize=256)
def _header(state: WeightFile) -> Header:
    from safetensors import SafetensorError, safe_open

    file, length, *_ = state
    try:
        with file.open("rb") as stream:
            first = stream.read(8)
            size = int.from_bytes(first, "little")
            if _LFS.startswith(first) and len(first) == 8:
                raise _DamagedError("a Git LFS pointer: fetch the file itself with `git lfs pull`.")
            if length < 8:
                raise _DamagedError(f"a file of {length} bytes: {_REMEDY}")
            if size > min(HEADER_LIMIT, length - 8):
                raise _DamagedError(f"a header of {size} bytes in a file of {length}: {_REMEDY}")
            text = stream.read(size)
        # The library checks types, shapes, that the tensors fill the file without gap or overlap, and its length.
        with safe_open(file, framework="np"):
            content = json.loads(text)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise _DamagedError(f"something else ({error}): {_REMEDY}") from None
    content.pop("__metadata__", None)
    return {
        name: TensorInfo(entry["dtype"], tuple(entry["shape"]), *(8 + size + place for place in entry["data_offsets"]))
        for name, entry in content.items()
    }


@functools.lru_cache(maxsize=256)
def _fingerprint(files: tuple[WeightFile, ...]) -> str:
    digest = hashlib.sha256()
    for state in files:
        header = _header(state)
        with state[0].open("rb") as stream:
            for name in sorted(header):
                tensor = header[name]
                digest.update(f"{name}|{tensor.dtype}|{list(tensor.shape)}|".encode())
                for place in (tensor.start, max(tensor.start, tensor.end - 64)):
                    stream.seek(place)
                    digest.update(stream.read(min(64, tensor.end - tensor.start)))
    return digest.hexdigest()[:16]
