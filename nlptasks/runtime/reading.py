"""What reads with a resident base: compiled graphs where there are any, torch elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nlptasks.process import import_alone
from nlptasks.runtime.cpu.threads import BatchThreads, num_threads
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.loading.devices import Placement, choose_placement
from nlptasks.runtime.verbs.batching import Batcher

if TYPE_CHECKING:
    from nlptasks.runtime.compiled.graph import Graph
    from nlptasks.runtime.compiled.heads import CompiledHeads
    from nlptasks.runtime.verbs.encoding import Reader
    from nlptasks.store.adapters import AdapterFolder
    from nlptasks.store.download import BaseFolder


class TorchModel(Protocol):
    """What readers and writers need of a resident model; see `ResidentModel`."""

    folder: BaseFolder
    device: str
    dtype: str
    trust_remote_code: bool
    reading: Batcher
    readers: Readers

    @property
    def loaded(self) -> LoadedBase | None: ...
    def base(self) -> LoadedBase: ...
    def activate(self, adapter: AdapterFolder | None) -> tuple[LoadedBase, Any]: ...
    def unload_torch(self) -> None: ...


class Readers:
    """The readers of one resident base, by verb and adapter. Only the base's worker thread may use them.

    A compiled graph needs no weights in torch, and what was kept of its base needs no torch at all.
    """

    def __init__(self, model: TorchModel, graphs: Path | None) -> None:
        """`graphs` is the folder of compiled graphs; None leaves to torch what torch can compute."""
        self.stored: LoadedBase | None = None
        self._model = model
        self._graphs = graphs
        self._batcher = Batcher()
        self._compiled: CompiledHeads | None = None

    @property
    def num_bytes(self) -> int:
        """Memory of compiled weights."""
        return self._compiled.num_bytes if self._compiled else 0

    def close(self) -> None:
        """Free the graphs and end the threads."""
        if self._batcher.threads:
            self._batcher.threads.close()
        self.stored = self._compiled = None

    def base(self) -> LoadedBase:
        """The base without its weights, where what was kept of it is enough, or else loaded."""
        model = self._model
        if model.loaded is None and self.stored is None and self._graphs and not model.trust_remote_code:
            placement = choose_placement(model.device, model.dtype)
            # A language model is written with by an engine even where torch would read.
            if self._compiles(placement) or placement.writing_engine("openvino-genai", self._graphs)[0] != "torch":
                from nlptasks.runtime.compiled.bases import kept_base

                self.stored = kept_base(self._graphs, model.folder.path, placement, model.base)
        return model.loaded or self.stored or model.base()

    def get(self, verb: str, adapter: AdapterFolder | None) -> tuple[LoadedBase, Reader, Batcher]:
        """The base, what answers a verb with an adapter's weights in force, and what cuts its batches."""
        base = self.base()
        # Vectors are compared with vectors of other days, and stay in float32.
        dtype = "float32" if verb == "embed" else base.placement.dtype
        if base.kind == "encoder" and self._compiles(base.placement) and (dtype == "int8" or self._graphs):
            if self._compiled is None:
                from nlptasks.runtime.compiled.heads import CompiledHeads

                self._compiled = CompiledHeads(self._model.folder.path, num_threads(), self._graphs)
            compiled = self._compiled.get(verb, adapter, dtype, lambda: self._translate(verb, adapter, dtype))
            if compiled:
                if compiled.streams > 1 and not self._batcher.threads:
                    self._batcher.threads = BatchThreads(compiled.streams, with_torch=False)
                return base, compiled, self._batcher
        import_alone("nlptasks.runtime.verbs.readers")
        from nlptasks.runtime.verbs.readers import TorchReader

        head = self._head(verb, adapter)
        return base, TorchReader(head, base.placement.device), self._model.reading

    def _compiles(self, placement: Placement) -> bool:
        return placement.reading_engine(self._graphs)[0] != "torch"

    def _head(self, verb: str, adapter: AdapterFolder | None) -> Any:
        """The task model in torch that answers a verb, an adapter's weights in force."""
        import_alone("nlptasks.runtime.verbs.readers")
        from nlptasks.runtime.verbs.readers import MeanPooling

        base, head = self._model.activate(adapter)
        return MeanPooling(base.backbone) if verb == "embed" else head

    def _translate(self, verb: str, adapter: AdapterFolder | None, dtype: str) -> Graph:
        """The graph of a task model. Weights that torch loads for it alone leave the memory again."""
        from nlptasks.runtime.compiled.graph import Graph
        from nlptasks.runtime.compiled.ranges import read_ranges, rename

        base = self._model.base()
        was_loaded = base.num_bytes > 0
        example = base.tokenizer(["one", "and two"], padding=True, return_tensors="pt")
        try:
            head = self._head(verb, adapter)
            ranges = None
            if dtype == "int8":
                folder = adapter.path if adapter else self._model.folder.path
                ranges = rename(read_ranges(folder), base.backbone, head)
            return Graph.translate(head, dict(example), dtype, ranges)
        finally:
            if not was_loaded:
                self._model.unload_torch()
