"""A task model that OpenVINO computes: translated once from torch, kept as files, read from them without torch.

A task model is traced with its adapter's weights in force, and OpenVINO compiles it into fewer operations than torch
runs. For `dtype="int8"` its larger products become products of bytes first (`quantization.py`). A text's answer does
not depend on the texts beside it.
"""

from __future__ import annotations

import json
import math
import mmap
import sys
import threading
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from nlptasks.errors import UnsupportedModelError
from nlptasks.runtime.compiled.normalization import fold_norms
from nlptasks.runtime.compiled.quantization import shrink, weight_of
from nlptasks.runtime.verbs.encoding import BROKEN

if TYPE_CHECKING:
    from nlptasks.runtime.compiled.ranges import Ranges

GROUPS = (192, 128, 64, 32)
"""Values of a row that share a scale; the first that divides a model's sizes is taken. Each group's scale takes time,
but from 384 on OpenVINO multiplies another way: MiniLM read 2,000 short texts in 1.65 s with 128, in 0.99 of that with
192, in 1.86 s with 384, in 5.1 s with 768."""

TOLERANCE = 1e-3
"""How far a graph in float32 may be from torch, as a share of the largest score (of 1 where all are smaller). Rounding
makes a tenth of it; a condition of Python that the trace took for fixed makes far more."""

STREAM_THREADS = 4
"""Threads that compute one batch. A lone text is quicker with several (MiniLM on two cores: 6.5 ms instead of 8.3), and
many texts are hardly slower than with one thread a batch (1.35 s instead of 1.25); each stream has activations of its
own in memory."""

_IR, _WEIGHTS, _TRAITS = "graph.xml", "graph.bin", "traits.json"


@dataclass(frozen=True)
class Traits:
    """What a graph's files do not say: its number format, the values that share a scale (0 without any), the bytes of
    the weights that it multiplies with, and where `refused` is set why there is no graph."""

    dtype: str = "float32"
    group: int = 0
    num_bytes: int = 0
    refused: str = ""


class Graph:
    """OpenVINO's form of a task model, not yet compiled."""

    def __init__(self, model: Any, traits: Traits, memory: mmap.mmap | None = None) -> None:
        self._model = model
        self._memory = memory
        self.traits = traits

    @classmethod
    def translate(cls, head: Any, example: dict[str, Any], dtype: str, ranges: Ranges | None = None) -> Graph:
        """Trace a task model, whose weights may change afterwards.

        Args:
            head: called with tensors by name, as transformers' own.
            example: a batch of the kind that it will read.
            dtype: float32, or int8 for products of bytes.
            ranges: those of its linear layers' inputs for int8, as far as they are known, by the layers' names.

        Raises:
            UnsupportedModelError: OpenVINO cannot translate the architecture, computes something else, or a weight is
                no number, which bytes would hide.
        """
        if not all(weight.isfinite().all() for weight in head.parameters()):
            raise UnsupportedModelError(f"{head.config.model_type} answers NaN: {BROKEN}")
        model = _translate(head, example, dtype)
        if dtype == "int8":
            return cls(model, Traits(dtype, _group(head.config), shrink(model, fold_norms(model, ranges or {}))))
        weights = [weight.nbytes for product in model.get_ops() if (weight := weight_of(product)) is not None]
        graph = cls(model, Traits(dtype, num_bytes=sum(weights)))
        _compare(head, graph.compile(1), example)
        return graph

    @classmethod
    def read(cls, folder: Path) -> Graph:
        """The graph in a folder; its weights are mapped, not read.

        Raises:
            UnsupportedModelError: it was refused when it was to be made.
            RuntimeError: the files are damaged.
        """
        traits = Traits(**json.loads((folder / _TRAITS).read_text(encoding="utf-8")))
        if traits.refused:
            raise UnsupportedModelError(traits.refused)
        openvino = import_openvino()
        with (folder / _WEIGHTS).open("rb") as file:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        weights = openvino.Tensor(np.frombuffer(memory, np.uint8), shared_memory=True)
        return cls(openvino.Core().read_model((folder / _IR).read_bytes(), weights), traits, memory)

    def save(self, folder: Path) -> None:
        """Write the graph into a folder.

        Raises:
            OSError: the disk is full, or the folder cannot be written to.
        """
        try:
            import_openvino().save_model(self._model, folder / _IR, compress_to_fp16=False)
        except RuntimeError as error:
            raise OSError(f"OpenVINO could not write it; the disk may be full ({error})") from error
        _write_traits(folder, self.traits)

    def compile(self, threads: int) -> CompiledHead:
        """Make the graph ready for batches; `threads` compute at a time in all."""
        streams = threads if self.traits.dtype == "int8" else max(1, threads // STREAM_THREADS)
        compiled = _compile(self._model, self.traits.group, threads, streams)
        if self._memory and hasattr(self._memory, "madvise"):
            # What is multiplied was copied into the layout that the CPU reads; what is looked up comes back by itself.
            self._memory.madvise(mmap.MADV_DONTNEED)
        return CompiledHead(compiled, self.traits.num_bytes, streams, self._memory)


def refuse(folder: Path, error: UnsupportedModelError) -> None:
    """Write into a folder that there is no such graph, and why."""
    _write_traits(folder, Traits(refused=str(error)))


def _write_traits(folder: Path, traits: Traits) -> None:
    (folder / _TRAITS).write_text(json.dumps(asdict(traits)) + "\n", encoding="utf-8")


class CompiledHead:
    """A task model that OpenVINO computes: numpy arrays by name in, an answer with numpy arrays out.

    Any number of threads may call it; `streams` of the calls are computed at a time.
    """

    def __init__(self, compiled: Any, num_bytes: int, streams: int, memory: mmap.mmap | None = None) -> None:
        """`memory` holds constants that are looked up; OpenVINO does not keep it."""
        self.num_bytes = num_bytes
        self.streams = streams
        self._memory = memory
        self._compiled = compiled
        self._names = [_name(output) for output in compiled.outputs]
        self._inputs = {_name(port) for port in compiled.inputs}
        self._thread = threading.local()

    def __call__(self, **batch: Any) -> SimpleNamespace:
        request = getattr(self._thread, "request", None)
        if request is None:
            request = self._thread.request = self._compiled.create_infer_request()
        request.infer({name: array for name, array in batch.items() if name in self._inputs}, True)
        # The request's own memory is written again by the next batch.
        outputs = [request.get_output_tensor(i).data.copy() for i in range(len(self._names))]
        return SimpleNamespace(**dict(zip(self._names, outputs, strict=True)))


def _name(port: Any) -> str:
    return str(min(port.get_names(), key=len))


def _translate(head: Any, example: dict[str, Any], dtype: str) -> Any:
    """OpenVINO's form of a task model, its weights still in float32."""
    import torch

    from nlptasks.runtime.loading.base import quiet_transformers

    openvino = import_openvino()
    try:
        with torch.inference_mode(False), torch.no_grad(), quiet_transformers(), warnings.catch_warnings():
            # Tracing warns of every Python condition; rows and tokens are the only sizes that vary.
            warnings.simplefilter("ignore")
            from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

            # torch would trace twice more to compare, which takes most of the time; `_compare` sees more.
            traced = TorchScriptPythonDecoder(head, example_input=example, trace_kwargs={"check_trace": False})
            return openvino.convert_model(traced, example_input=example, verbose=False)
    except Exception as error:
        name = type(head).__name__
        if dtype == "float32":
            raise UnsupportedModelError(f"OpenVINO cannot translate {name}.") from error
        raise UnsupportedModelError(
            f"dtype {dtype!r} is computed by OpenVINO, which cannot translate {name}: use dtype='auto'."
        ) from error
    finally:
        _forget_traces()


def _forget_traces() -> None:
    """Let go of what torch keeps of every trace for the life of the process: 18 MB for MiniLM."""
    import torch

    torch._C._jit_clear_class_registry()
    torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
    torch.jit._state._clear_class_state()


def _compare(head: Any, compiled: CompiledHead, example: dict[str, Any]) -> None:
    """Refuse a graph that answers otherwise than torch for a batch of another shape than the traced one."""
    import torch

    ids = example["input_ids"]
    rows = ids[-1:].repeat(3, 4)
    mask = torch.ones_like(rows)
    mask[1, rows.shape[1] // 2 :] = 0
    others = {name: torch.zeros_like(rows) for name in example}
    batch = {**others, "input_ids": rows, "attention_mask": mask}
    with torch.inference_mode():
        expected = head(**batch)
    answer = compiled(**{name: tensor.numpy() for name, tensor in batch.items()})
    for name, values in vars(answer).items():
        true = expected[name].float().numpy()
        # What stands at padding is nobody's answer.
        read = mask.bool().numpy() if true.shape[:2] == tuple(mask.shape) else ...
        far = np.abs(values[read] - true[read]).max() if values.shape == true.shape else math.inf
        if not far <= TOLERANCE * max(1.0, float(np.abs(true[read]).max())):
            raise UnsupportedModelError(
                f"OpenVINO's answers for {type(head).__name__} differ from torch's by {far:.2g}."
            )


def _group(config: Any) -> int:
    """How many of a row's values share a scale; 0, which leaves them in float32, where no group divides the sizes."""
    sizes = [size for name in ("hidden_size", "intermediate_size") if (size := getattr(config, name, None))]
    return next((group for group in GROUPS if math.gcd(*sizes) % group == 0), 0)


def _compile(model: Any, group: int, threads: int, streams: int) -> Any:
    openvino = import_openvino()
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "THROUGHPUT" if streams > 1 else "LATENCY",
        "NUM_STREAMS": streams,
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
