"""The compiled task models of one base: each made once and kept in the cache of graphs, few at a time in memory."""

from __future__ import annotations

import logging
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nlptasks.errors import UnsupportedModelError
from nlptasks.runtime.compiled.bases import hashes, versions
from nlptasks.runtime.compiled.graph import CompiledHead, Graph, refuse
from nlptasks.runtime.cpu.memory import trim_memory
from nlptasks.store.adapters import CONFIG, MANIFEST, PEFT_CONFIG, PEFT_WEIGHTS, AdapterFolder
from nlptasks.store.graphs import graph_folder
from nlptasks.store.weights import RANGES, fingerprint

MAX_COMPILED = 8
"""Compiled models of one base in memory; the least recently used goes first. One of MiniLM takes 100 MB in float32,
43 of them weights, and 40 in int8, 11 of them weights; the first one of a process takes 130 more, OpenVINO itself
included."""

_log = logging.getLogger(__name__)


class CompiledHeads:
    """The compiled task models of one base, by verb and adapter. Only the base's worker thread may ask for one."""

    def __init__(self, base: Path, threads: int, cache: Path | None) -> None:
        """`base` is the base's folder and `cache` the folder of all graphs; without one they live in memory only."""
        self._base = base
        self._threads = threads
        self._cache = cache
        self._heads: OrderedDict[tuple[Any, ...], CompiledHead | None] = OrderedDict()

    def get(
        self, verb: str, adapter: AdapterFolder | None, dtype: str, translate: Callable[[], Graph]
    ) -> CompiledHead | None:
        """The compiled model of a verb and an adapter; None where OpenVINO cannot compute it, which torch then does.

        Args:
            verb: which of the base's answers.
            adapter: whose weights are in force, None for the base's.
            dtype: float32 or int8.
            translate: makes the graph of the task model with these weights.

        Raises:
            UnsupportedModelError: OpenVINO cannot compute it, and torch has no int8.
        """
        key = (verb, adapter.key if adapter else None)
        if key not in self._heads:
            # A retrained adapter has the same path and a new key: the old weights are of no use any more.
            for stale in [(v, k) for v, k in self._heads if k and adapter and k[0] == adapter.key[0] and k != key[1]]:
                del self._heads[stale]
            while len(self._heads) >= MAX_COMPILED:
                self._heads.popitem(last=False)
            try:
                self._heads[key] = self._graph(verb, adapter, dtype, translate).compile(self._threads)
            except UnsupportedModelError as error:
                if dtype == "int8":
                    raise
                _log.warning("%s: torch computes %s, because %s", self._base, verb, error)
                self._heads[key] = None
            # Compiling leaves 20 MB that are free and not given back.
            trim_memory()
        self._heads.move_to_end(key)
        return self._heads[key]

    @property
    def num_bytes(self) -> int:
        """Memory of the weights that are multiplied with; OpenVINO does not report what else it takes for them."""
        return sum(head.num_bytes for head in self._heads.values() if head)

    def _graph(self, verb: str, adapter: AdapterFolder | None, dtype: str, translate: Callable[[], Graph]) -> Graph:
        if self._cache is None:
            return translate()
        made: list[Graph] = []

        def make(folder: Path) -> None:
            try:
                graph = translate()
            except UnsupportedModelError as error:
                refuse(folder, error)
            else:
                made.append(graph)
                graph.save(folder)

        parts = {"dtype": dtype, "verb": verb, **self._parts(adapter)}
        try:
            for _ in range(2):
                folder = graph_folder(self._cache, f"{self._base.name}-{verb}", parts, make)
                try:
                    return Graph.read(folder)
                except (RuntimeError, ValueError, TypeError, OSError) as error:
                    _log.warning("%s is damaged and is made again: %s", folder, error)
                    shutil.rmtree(folder)
        except OSError as error:
            _log.warning("The graph of %s cannot be kept in %s: %s", verb, self._cache, error)
        return made[-1] if made else translate()

    def _parts(self, adapter: AdapterFolder | None) -> dict[str, str]:
        """The weights, settings and libraries that a graph is made from."""
        folder = adapter.path if adapter else self._base
        files = [self._base / CONFIG, *(folder / name for name in (PEFT_WEIGHTS, PEFT_CONFIG, MANIFEST, RANGES))]
        return {**versions(), "base": fingerprint(self._base), **hashes(files)}
