"""Graphs that an engine made of a base or an adapter: kept in the user's cache, each made once, safe to delete."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from nlptasks.store import folders

MARKER = "nlptasks-graph.json"
UNUSED_DAYS = 60
"""A graph unused for so long is removed when another one is made; an upgrade leaves those of old versions behind."""

_log = logging.getLogger(__name__)


def graph_folder(cache: Path, name: str, parts: Mapping[str, str], make: Callable[[Path], None]) -> Path:
    """The folder of a graph, made now if it is not there whole.

    One process makes it while others wait for it. A process that is killed leaves nothing that is taken for a graph.

    Args:
        cache: the folder of all graphs, `Settings.graphs`.
        name: how the folder's name begins.
        parts: what the graph is made from, by name: hashes of weights, versions of libraries, settings. A graph with
            other parts is another one.
        make: writes the graph's files into a new, empty folder.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    from filelock import FileLock

    digest = hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()[:16]
    target = cache / f"{name}-{digest}"
    if _use(target):
        return target
    locks, staging = cache / ".locks", cache / ".staging" / target.name
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"{target.name}.lock"):
        if _use(target):
            return target
        started = time.monotonic()
        for leftover in (staging, target):
            shutil.rmtree(leftover, ignore_errors=True)
        staging.mkdir(parents=True)
        try:
            make(staging)
            folders.write_marker(staging, {"parts": dict(parts)}, MARKER)
            staging.rename(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        _log.info("Made the graph %s in %.1f s.", target, time.monotonic() - started)
    _remove_unused(cache)
    return target


def _use(folder: Path) -> bool:
    """Whether a graph is there whole; it counts as used now."""
    if folders.read_marker(folder, MARKER) is None:
        return False
    with contextlib.suppress(OSError):  # a cache that only others may write to
        (folder / MARKER).touch()
    return True


def _remove_unused(cache: Path) -> None:
    limit = time.time() - UNUSED_DAYS * 24 * 3600
    for marker in cache.glob(f"[!.]*/{MARKER}"):
        with contextlib.suppress(OSError):
            if marker.stat().st_mtime < limit:
                # The marker goes first: without it the rest is no graph.
                marker.unlink()
                shutil.rmtree(marker.parent)
