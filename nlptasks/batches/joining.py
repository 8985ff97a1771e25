"""Parts become the output: those of a whole batch, or of all its shards."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from nlptasks import NlptasksError
from nlptasks.batches.files import output_format, write_output
from nlptasks.batches.parts import PartFolder, Shard


def join(folders: Sequence[PartFolder], output: Path) -> None:
    """Write the output of the parts in folders, which are all parts of one batch."""
    parts = {number: part for folder in folders for number, part in folder.parts.items()}
    files = [parts[number].file for number in sorted(parts)]
    write_output(files, output, folders[0].identity["columns"], folders[0].path / "joined.tmp")
    for folder in folders:
        folder.note_joined()


def finished_files(output: Path) -> list[Path]:
    """The files that hold the finished rows of a batch in JSONL, in order: its output, or the parts so far."""
    if output.exists():
        return [output]
    folder = PartFolder(Shard().folder(output))
    folder.read()
    return [part.file for part in folder.parts.values()]


def join_shards(output: str | Path) -> tuple[int, int]:
    """Make the output of a batch whose shards were all computed; returns the numbers of its rows and its errors.

    Raises:
        NlptasksError: a shard is missing, not finished, or of another batch.
    """
    path = Path(output)
    output_format(path)
    folders = [PartFolder(folder) for folder in path.parent.glob(f"{glob.escape(path.stem)}.parts-*-of-*")]
    if not folders:
        example = Shard(1, 8).folder(path).name
        raise NlptasksError(f"{path}: expected the parts of its shards beside it, such as {example}, found none.")
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(folder.locked())
            folder.read()
        _check(folders, path)
        join(folders, path)
        for folder in folders:
            folder.remove()
    parts = [part for folder in folders for part in folder.parts.values()]
    size = folders[0].size
    return size.rows if size else 0, sum(part.errors for part in parts)


def _check(folders: Sequence[PartFolder], output: Path) -> None:
    first = folders[0]
    for folder in folders:
        if differences := folder.differences(first.identity):
            raise NlptasksError(f"{folder.path} is of another batch than {first.path}: {differences}.")
        if folder.size is None:
            raise NlptasksError(f"{folder.path} is not finished: repeat the command that computes this shard.")
    count = first.identity["shards"]
    expected = [Shard(number, count) for number in range(1, count + 1)]
    missing = [shard for shard in expected if not shard.folder(output).exists()]
    if missing:
        names = ", ".join(f"{shard.number}/{shard.count}" for shard in missing)
        raise NlptasksError(f"{output}: expected {count} shards, found {len(folders)}: compute {names} as well.")
