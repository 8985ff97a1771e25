"""Bases that are computed without torch: what was kept of them in the cache of graphs."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from nlptasks.errors import UnsupportedModelError
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.loading.devices import Placement
from nlptasks.runtime.loading.kept import keep, read_kept
from nlptasks.store.graphs import graph_folder
from nlptasks.store.weights import fingerprint

FORMAT = "2"
"""Changes when the files of a kept base or of a graph change their meaning."""

_VERSIONS = ("nlptasks", "openvino", "tokenizers", "torch", "transformers")

_log = logging.getLogger(__name__)


def kept_base(cache: Path, base: Path, placement: Placement, load: Callable[[], LoadedBase]) -> LoadedBase | None:
    """A base as it was kept, or None where it cannot be.

    Args:
        cache: the folder of all graphs.
        base: the base's folder.
        placement: where it is computed.
        load: loads it with transformers; called if it was not kept yet, or if what was kept is damaged.
    """
    small = (file for file in sorted(base.iterdir()) if file.is_file() and file.suffix not in _WEIGHTS)
    parts = {**versions(), "base": fingerprint(base), **hashes(small)}
    try:
        folder = graph_folder(cache, f"{base.name}-base", parts, lambda new: keep(load(), new))
    except UnsupportedModelError as error:
        _log.debug("%s is not kept: %s", base, error)
        return None
    except OSError as error:
        _log.warning("What is needed of %s beside its graphs cannot be kept in %s: %s", base, cache, error)
        return None
    try:
        return read_kept(folder, base, placement)
    # The library that reads the tokenizer raises no narrower class.
    except Exception as error:
        _log.warning("%s is damaged and will be made again: %s", folder, error)
        shutil.rmtree(folder, ignore_errors=True)
        return None


_WEIGHTS = frozenset({".bin", ".gguf", ".h5", ".onnx", ".pt", ".safetensors"})
"""Files of weights: the fingerprint tells the ones that are loaded."""


def versions() -> dict[str, str]:
    """The versions of all that has a part in a graph."""
    return {"format": FORMAT, **{name: version(name) for name in _VERSIONS}}


def hashes(files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of the files that are there, by their names."""
    digests = {}
    for file in files:
        if file.is_file():
            with file.open("rb") as stream:
                digests[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digests
