"""Encoders compiled by OpenVINO with products in 8 bits: what `dtype="int8"` is computed with.

A task model is traced with its adapter's weights in force, its larger products become products of bytes
(`quantization.py`), and OpenVINO compiles all of it into fewer operations than torch runs. A text's answer does not
depend on the texts beside it.
"""

from __future__ import annotations

import math
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from nlptasks.errors import UnsupportedModelError
from nlptasks.runtime.cpu.memory import trim_memory
from nlptasks.runtime.int8.normalization import fold_norms
from nlptasks.runtime.int8.quantization import shrink
from nlptasks.runtime.int8.ranges import Ranges, read_ranges, rename
from nlptasks.runtime.loading.base import quiet_transformers
from nlptasks.runtime.verbs.encoding import BROKEN

if TYPE_CHECKING:
    from nlptasks.runtime.loading.base import LoadedBase

GROUPS = (192, 128, 64, 32)
"""Values of a row that share a scale; the first that divides a model's sizes is taken. Each group's scale takes time,
but from 384 on OpenVINO multiplies another way: MiniLM read 2,000 short texts in 1.65 s with 128, in 0.99 of that with
192, in 1.86 s with 384, in 5.1 s with 768."""

MAX_COMPILED = 8
"""Compiled models of one base in memory; the least recently used goes first. One of MiniLM takes 40 MB, of
which 11 are weights in 8 bits; the first one of a process takes 170, OpenVINO itself included."""


class CompiledHeads:
    """The compiled task models of one base, by adapter. Only the base's worker thread may ask for one."""

    def __init__(self, base: LoadedBase, threads: int) -> None:
        self._base = base
        self._threads = threads
        self._heads: OrderedDict[tuple[str, int] | None, CompiledHead] = OrderedDict()

    def get(self, key: tuple[str, int] | None, folder: Path, head: Callable[[], Any]) -> CompiledHead:
        """The compiled model for an adapter's key; `head` gives the task model with the adapter's weights in force.

        `folder` is that of the adapter, or of the base without one: where ranges are, if they were measured.
        """
        if key not in self._heads:
            # A retrained adapter has the same path and a new key: the old weights are of no use any more.
            for stale in [other for other in self._heads if key and other and other[0] == key[0]]:
                del self._heads[stale]
            while len(self._heads) >= MAX_COMPILED:
                self._heads.popitem(last=False)
            example = self._base.tokenizer(["one", "and two"], padding=True, return_tensors="pt")
            model = head()
            ranges = rename(read_ranges(folder), self._base.backbone, model)
            self._heads[key] = CompiledHead(model, dict(example), self._threads, ranges)
            # Compiling leaves 20 MB that are free and not given back.
            trim_memory()
        self._heads.move_to_end(key)
        return self._heads[key]

    @property
    def num_bytes(self) -> int:
        """Memory of the weights in 8 bits; OpenVINO does not report what else it takes for them."""
        return sum(head.num_bytes for head in self._heads.values())


class CompiledHead:
    """A task model that OpenVINO computes, called as transformers' own: tensors by name, an answer with tensors.

    Any number of threads may call it; each computes with one thread, as many at a time as `threads`.
    """

    def __init__(self, head: Any, example: dict[str, Any], threads: int, ranges: Ranges | None = None) -> None:
        """Compile `head`, whose weights may change afterwards. `example` is a batch of the kind that it will read.

        `ranges` are those of its linear layers' inputs, as far as they are known, by the layers' names.

        Raises:
            UnsupportedModelError: OpenVINO cannot translate the architecture, or a weight is no number, which bytes
                would hide.
        """
        if not all(weight.isfinite().all() for weight in head.parameters()):
            raise UnsupportedModelError(f"{head.config.model_type} answers NaN: {BROKEN}")
        self.config = head.config
        model = _translate(head, example)
        self.num_bytes = shrink(model, fold_norms(model, ranges or {}))
        self._compiled = _compile(model, _group(head.config), threads)
        self._names = [_name(output) for output in self._compiled.outputs]
        self._inputs = {_name(port) for port in self._compiled.inputs}
        self._thread = threading.local()

    def __call__(self, **batch: torch.Tensor) -> SimpleNamespace:
        request = getattr(self._thread, "request", None)
        if request is None:
            request = self._thread.request = self._compiled.create_infer_request()
        request.infer({name: tensor.numpy() for name, tensor in batch.items() if name in self._inputs}, True)
        # The request's own memory is written again by the next batch.
        outputs = [torch.from_numpy(request.get_output_tensor(i).data.copy()) for i in range(len(self._names))]
        return SimpleNamespace(**dict(zip(self._names, outputs, strict=True)))


def _name(port: Any) -> str:
    return str(min(port.get_names(), key=len))


def _translate(head: Any, example: dict[str, Any]) -> Any:
    """OpenVINO's form of a task model, its weights still in float32."""
    openvino = import_openvino()
    try:
        with torch.inference_mode(False), torch.no_grad(), quiet_transformers(), warnings.catch_warnings():
            # Tracing warns of every Python condition; rows and tokens are the only sizes that vary.
            warnings.simplefilter("ignore")
            return openvino.convert_model(head, example_input=example, verbose=False)
    except Exception as error:
        raise UnsupportedModelError(
            f"dtype 'int8' is computed by OpenVINO, which cannot translate {type(head).__name__}: use dtype='auto'."
        ) from error
    finally:
        _forget_traces()


def _forget_traces() -> None:
    """Let go of what torch keeps of every trace for the life of the process: 18 MB for MiniLM."""
    torch._C._jit_clear_class_registry()
    torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
    torch.jit._state._clear_class_state()


def _group(config: Any) -> int:
    """How many of a row's values share a scale; 0, which leaves them in float32, where no group divides the sizes."""
    sizes = [size for name in ("hidden_size", "intermediate_size") if (size := getattr(config, name, None))]
    return next((group for group in GROUPS if math.gcd(*sizes) % group == 0), 0)


def _compile(model: Any, group: int, threads: int) -> Any:
    openvino = import_openvino()
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": group,
        # Another process's streams would be tied to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    core = openvino.Core()
    try:
        # Attention on short rows is quicker as plain products than in one generated kernel for each head: 1.36 s
        # instead of 1.43 for 2,000 short texts. The setting is not in OpenVINO's documentation and may go.
        return core.compile_model(model, "CPU", {**settings, "SNIPPETS_MODE": "DISABLE"})
    except RuntimeError:
        return core.compile_model(model, "CPU", settings)


def import_openvino() -> Any:
    """The module openvino, without its reports of use.

    Importing and converting would send events to its makers. It does without where the module that sends them is
    not installed, and that is what it is told.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
