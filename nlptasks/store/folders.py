"""Folders of base models: the marker of a whole cached base, and checks for safetensors that transformers can load."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlptasks.errors import UnsafeWeightsError, UnsupportedModelError
from nlptasks.store.sources import Progress, ProgressCallback

MARKER = "nlptasks-base.json"
_FORMAT = 1
_CHUNK = 1 << 22
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class CachedBase:
    """A whole base in the user's cache."""

    name: str
    path: Path
    bytes: int
    source: str


def sha256_of(path: Path, step: str, report: ProgressCallback) -> str:
    """The hex SHA-256 of a file, read with progress."""
    digest = hashlib.sha256()
    total = path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            report(Progress(step, file.tell(), total))
    return digest.hexdigest()


def write_marker(folder: Path, content: Mapping[str, Any], name: str = MARKER) -> None:
    """Mark the folder as whole and bring it to disk; call it last, before the folder is renamed into place."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != name)
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    marker = {"format": _FORMAT, **content, "files": sizes}
    (folder / name).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
    sync(folder)


def sync(folder: Path) -> None:
    """Bring every file to disk, so that a rename of the folder never outruns its data."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def write_whole(path: Path, content: str | bytes | Iterable[bytes], *, durable: bool = False) -> None:
    """Replace a file in one step: readers see either the old or the new content, if `durable` after a power cut too."""
    part = path.with_name(f".writing-{os.getpid()}-{path.name}")
    whole = content.encode() if isinstance(content, str) else content
    try:
        with part.open("wb") as file:
            file.writelines([whole] if isinstance(whole, bytes) else whole)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def existing_folder(name: str) -> Path | None:
    """The folder of this name, or None where there is none or the name can be no path."""
    try:
        path = Path(name).expanduser()
        return path if name and path.is_dir() else None
    # RuntimeError: a home of nobody; OSError: a name that is too long.
    except (OSError, ValueError, RuntimeError):
        return None


def read_marker(folder: Path, name: str = MARKER) -> dict[str, Any] | None:
    """The marker of a folder whose files are all there in their sizes, else None."""
    try:
        marker = json.loads((folder / name).read_text(encoding="utf-8"))
        if marker["format"] != _FORMAT:
            return None
        whole = all((folder / file).stat().st_size == size for file, size in marker["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return marker if whole else None


def check_folder(folder: Path) -> None:
    """Refuse a user's folder that is no base model, or whose weights are not safe to load.

    Raises:
        UnsafeWeightsError: there are weights, but only in pickle formats.
        UnsupportedModelError: config or weights are missing.
    """
    names = [path.name for path in folder.iterdir()]
    what = f"The folder {folder}"
    if "config.json" not in names:
        if "adapter_config.json" in names:
            raise UnsupportedModelError(f"{what} is an adapter, not a base model: give it with --adapter.")
        raise UnsupportedModelError(
            f"{what} is no base model: expected config.json and model.safetensors, found {_some(names)}."
        )
    check_weights(what, names)
    check_shards(what, folder)


def check_weights(what: str, names: Iterable[str]) -> None:
    """Refuse a list of file names without loadable safetensors.

    Raises:
        UnsafeWeightsError: there are weights, but only in pickle formats.
        UnsupportedModelError: there are none that transformers can load.
    """
    top = sorted(name for name in names if "/" not in name)
    if "model.safetensors" in top or _INDEX in top:
        return
    pickles = [name for name in top if name.endswith(_PICKLES)]
    if pickles:
        raise UnsafeWeightsError(
            f"{what} has its weights only as {_some(pickles)}, a pickle format that can run code when it is loaded; "
            "nlptasks loads safetensors only. If you trust the source, convert it once: load it with transformers' "
            "from_pretrained, save_pretrained it to a new folder (that writes model.safetensors), and give that folder."
        )
    raise UnsupportedModelError(f"{what} has no weights to load: expected model.safetensors, found {_some(top)}.")


def check_shards(what: str, folder: Path) -> None:
    """Refuse a folder whose weights index names files that are not there.

    Raises:
        UnsupportedModelError: a shard is missing, or the index cannot be read.
    """
    index = folder / _INDEX
    if not index.exists() or (folder / "model.safetensors").exists():
        return
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnsupportedModelError(f"{what}: {_INDEX} cannot be read: {error}.") from error
    if missing := [shard for shard in shards if not (folder / shard).exists()]:
        raise UnsupportedModelError(f"{what} is not whole: {_INDEX} names {_some(missing)}, which is not there.")


def _some(names: Iterable[str], most: int = 5) -> str:
    listed = sorted(names)
    return (", ".join(listed[:most]) + (", ..." if len(listed) > most else "")) or "nothing"
