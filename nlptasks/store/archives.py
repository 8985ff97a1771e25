"""An adapter's files as one archive (.zip), written whole and read with distrust."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from nlptasks.errors import AdapterError, UnsafeWeightsError
from nlptasks.store.adapters import FILES, PEFT_CONFIG, PEFT_PICKLE, PEFT_WEIGHTS, PICKLED

UNPACKED = 10
"""How many times an archive's size its files may have: weights hardly compress, and a bomb would fill the disk."""

_SMALL = 64 * 1024**2
"""Bytes that are unpacked out of any archive."""


def copy_files(source: Path, target: Path) -> None:
    """Copy an adapter's files from one folder to another; other files are left out."""
    for name in FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def pack(folder: Path, target: Path) -> None:
    """Write an adapter's files to the new archive `target`, under a folder of its name; atomic."""
    part = target.with_name(f".writing-{target.name}")
    try:
        # Weights do not compress.
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for name in FILES:
                if (folder / name).is_file():
                    archive.write(folder / name, f"{target.stem}/{name}")
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def opened(source: Path) -> Iterator[Path]:
    """A folder with an adapter's files: `source` itself, or what an archive holds, until the block ends.

    Of an archive only the known files of one folder are read, and nothing is written where it says.

    Raises:
        AdapterError: neither a folder nor a zip archive, a damaged one, one with paths that lead out of it, one whose
            files are much larger than itself, or one that holds no adapter or several.
        UnsafeWeightsError: pickled weights only.
    """
    if source.is_dir():
        yield source
        return
    if not source.is_file() or not zipfile.is_zipfile(source):
        what = "something else" if source.exists() else "nothing there"
        raise AdapterError(f"{source}: expected an adapter folder or a .zip archive of one, found {what}.")
    with tempfile.TemporaryDirectory(prefix="nlptasks-import-") as scratch:
        folder = Path(scratch) / source.stem
        folder.mkdir()
        try:
            with zipfile.ZipFile(source) as archive:
                members = _members(source, archive)
                if fault := size_fault(members.values(), source.stat().st_size):
                    raise AdapterError(f"{source}: {fault}: it was not imported.")
                for name, member in members.items():
                    with archive.open(member) as stream, (folder / name).open("wb") as file:
                        shutil.copyfileobj(stream, file)
        # RuntimeError: zipfile's for a password, NotImplementedError among them for a method it does not know.
        except (zipfile.BadZipFile, RuntimeError, EOFError) as error:
            raise AdapterError(f"{source}: the archive cannot be read ({error}): fetch or export it again.") from error
        yield folder


def _members(source: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's entries that are an adapter's files, by the files' names."""
    entries = {}
    for entry in archive.infolist():
        if (path := path_of(entry)) is None:
            raise AdapterError(
                f"{source}: the archive holds a link or a path that leads out of it ({entry.filename}): "
                "it was not imported."
            )
        if not entry.is_dir():
            entries[path] = entry
    homes = [path.parent for path in entries if path.name == PEFT_CONFIG]
    if len(homes) != 1:
        raise AdapterError(f"{source}: expected one adapter with its {PEFT_CONFIG}, found {len(homes) or 'none'}.")
    members = {path.name: entry for path, entry in entries.items() if path.parent == homes[0]}
    if PEFT_WEIGHTS not in members and PEFT_PICKLE in members:
        raise UnsafeWeightsError(f"{source}: {PICKLED}")
    return {name: members[name] for name in FILES if name in members}


def size_fault(entries: Iterable[zipfile.ZipInfo], packed: int) -> str:
    """Why entries of an archive of `packed` bytes are not unpacked, or ''; zipfile unpacks no more than they state."""
    size, limit = sum(entry.file_size for entry in entries), max(UNPACKED * packed, _SMALL)
    return f"expected at most {limit:,} bytes unpacked, found {size:,}" if size > limit else ""


def path_of(entry: zipfile.ZipInfo) -> PurePosixPath | None:
    """The path of an archive's entry; None if it is a link or leads out of the archive."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    link = stat.S_ISLNK(entry.external_attr >> 16)
    return None if link or path.is_absolute() or ".." in path.parts or ":" in entry.filename else path
