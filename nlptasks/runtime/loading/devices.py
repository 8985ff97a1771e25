"""Which device and which number format, each with its reason as text."""

from __future__ import annotations

import functools
import importlib.util
import platform
import re
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from nlptasks.errors import NlptasksError
from nlptasks.process import import_alone

if TYPE_CHECKING:
    import torch

NO_FP16 = frozenset({"t5", "mt5", "umt5", "longt5", "switch_transformers", "byt5"})
"""Model types whose activations overflow float16 (transformers#4938, #23918)."""

_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})
_BYTE_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
WORTH_IT = 1.2
"""How many times as fast as float32 a CPU must multiply bfloat16 matrices for `auto` to choose them."""

NO_GPU = "no GPU was found"

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")


@dataclass(frozen=True)
class Placement:
    """Where a model runs and in which numbers, and why."""

    device: str
    device_reason: str
    dtype: str
    dtype_reason: str

    @property
    def torch_dtype(self) -> torch.dtype:
        """What the weights are loaded in: float32 for int8, in which only products are computed."""
        import torch

        if self.dtype == "int8":
            return torch.float32
        return getattr(torch, self.dtype)  # type: ignore[no-any-return]

    @property
    def num_threads(self) -> int:
        """Threads that torch computes one batch with on a CPU."""
        import torch

        return torch.get_num_threads()

    def reading_engine(self, graphs: Path | None) -> tuple[str, str]:
        """What computes encoders there, "openvino" or "torch", and why; torch also has what OpenVINO cannot translate.

        `graphs` is the folder of compiled graphs, None to leave to torch what it can compute.
        """
        if self.dtype == "int8":
            return "openvino", "dtype int8 is computed by it"
        engine, why = self.writing_engine("openvino", graphs)
        if engine != "torch" and self.dtype != "float32":
            return "torch", f"graphs are in float32, and the dtype is {self.dtype}"
        return engine, why

    def writing_engine(self, engine: str, graphs: Path | None) -> tuple[str, str]:
        """What writes there with dtype auto, the engine of this name or "torch", and why; torch also has what the
        engine cannot do. `graphs` is as in `reading_engine`."""
        if graphs is None:
            return "torch", "NLPTASKS_BACKEND or backend=... says so"
        if self.device != "cpu":
            return "torch", f"graphs are for CPUs, and the device is {self.device}"
        if importlib.util.find_spec(engine.replace("-", "_")) is None:
            return "torch", f"{engine} is not installed (pip install 'nlptasks[fast]')"
        return engine, "a compiled graph is quicker than torch on a CPU"


@functools.cache
def int8_obstacle() -> str | None:
    """Why int8 cannot be computed on this machine, or None if it can."""
    flags = cpu_flags()
    if flags and not flags & _BYTE_PRODUCTS:
        return "this CPU has no products of bytes (AVX512-VNNI, AVX-VNNI or AMX)"
    if importlib.util.find_spec("openvino") is None:
        return "openvino is not installed (pip install 'nlptasks[fast]')"
    return None


def choose_placement(
    device: str = "auto", dtype: str = "auto", model_type: str = "", *, writes: bool = False
) -> Placement:
    """Decide device and dtype; `writes` is for a language model, which writes token by token.

    Raises:
        NlptasksError: a device that is not there, a dtype that is unknown or unsafe for `model_type`.
    """
    check_words(device, dtype)
    name, why = _choose_device(device)
    if dtype == "float16" and model_type in NO_FP16:
        raise NlptasksError(f"{model_type} overflows in float16 and answers NaN: use dtype='bfloat16' or 'float32'.")
    if dtype == "int8":
        _check_int8(name)
    if dtype != "auto":
        return Placement(name, why, dtype, "asked for")
    chosen, reason = _choose_dtype(name, writes)
    return Placement(name, why, chosen, reason)


def check_words(device: str, dtype: str) -> None:
    """Raise NlptasksError for a misspelled device or dtype; does not import torch."""
    if not _DEVICE.fullmatch(device):
        raise NlptasksError(f"device: expected auto, cpu, cuda, cuda:N or mps, found {device!r}.")
    if dtype not in DTYPES:
        raise NlptasksError(f"dtype: expected one of {', '.join(DTYPES)}, found {dtype!r}.")


def _choose_device(device: str) -> tuple[str, str]:
    if device == "cpu":
        return device, "asked for"
    if device == "auto" and "torch" not in sys.modules and not may_have_gpu():
        # torch takes seconds to import, and would find none.
        return "cpu", NO_GPU
    import_alone("torch")
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        if cuda:
            return "cuda", f"CUDA sees {torch.cuda.get_device_name(0)}"
        return ("mps", "Apple's GPU is available") if mps else ("cpu", NO_GPU)
    there = {"cpu": True, "cuda": cuda, "mps": mps}
    if not there[device.split(":", maxsplit=1)[0]]:
        raise NlptasksError(f"device {device!r} was asked for, but torch sees none here: use device='auto' or 'cpu'.")
    return device, "asked for"


def may_have_gpu() -> bool:
    """Whether torch might find a GPU here; does not import it. On Linux the drivers' devices tell, and a build of
    torch for CPUs finds none."""
    if version("torch").endswith("+cpu"):
        return False
    if sys.platform != "linux":
        return True
    # NVIDIA's, that of WSL, AMD's.
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists() or Path("/dev/kfd").exists()


def _choose_dtype(device: str, writes: bool) -> tuple[str, str]:
    if device.startswith("cuda"):
        import torch

        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "the GPU computes bfloat16 natively"
        return "float32", "the GPU has no native bfloat16"
    if device.startswith("mps"):
        return "float32", "bfloat16 is uneven across Apple GPUs"
    flag = native_bf16_flag()
    if not flag:
        return "float32", "the CPU has no native bfloat16"
    if "amx" in flag:
        return "bfloat16", f"the CPU computes bfloat16 natively ({flag})"
    if writes:
        # Measured with SmolLM2-135M on a CPU that multiplies bfloat16 half as fast: 40 tokens took 1.03 times as
        # long as in float32, reading a prompt of 121 tokens 1.45 times, with half the memory.
        return "bfloat16", f"the CPU has {flag}, and a text costs the reading of all weights for each token"
    gain = bf16_gain()
    measured = f"the CPU has {flag} and multiplies bfloat16 {gain:.1f} times as fast as float32"
    return ("bfloat16" if gain >= WORTH_IT else "float32"), measured


def _check_int8(device: str) -> None:
    if device != "cpu":
        raise NlptasksError(
            f"dtype 'int8' is computed on the CPU, found device {device!r}: use device='cpu' or dtype='auto'."
        )
    if reason := int8_obstacle():
        raise NlptasksError(f"dtype 'int8' cannot be computed here, because {reason}: use dtype='auto'.")


def native_bf16_flag() -> str | None:
    """The CPU feature that gives fast bfloat16 (AVX512-BF16, AMX, Arm BF16), or None."""
    # macOS lists no features: the M2 and later have it, the M1 does not.
    flags = sorted(cpu_flags() & _BF16_FLAGS)
    if flags and platform.machine() in {"aarch64", "arm64"}:
        return flags[0]
    return next((flag for flag in flags if flag.startswith(("amx", "avx"))), None)


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The CPU's features by Linux's names; empty where the system does not list them."""
    try:
        return frozenset(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return frozenset()


@functools.cache
def bf16_gain() -> float:
    """How many times as fast as float32 this CPU multiplies bfloat16 matrices of an encoder's size, measured once.

    The flag alone is not enough: Intel's AVX512-BF16 ran at 0.6 of float32's speed where the machine hides AMX.
    The best of several short alternating runs, on one thread and in its own CPU time, so that other work on the
    machine has no influence; 0.1 s.
    """
    import_alone("torch")
    import torch

    from nlptasks.runtime.cpu.threads import BatchThreads

    pairs = {
        dtype: (torch.randn(256, 384, dtype=dtype), torch.randn(1536, 384, dtype=dtype))
        for dtype in (torch.float32, torch.bfloat16)
    }
    best = dict.fromkeys(pairs, float("inf"))

    def measure(dtype: torch.dtype) -> None:
        rows, weight = pairs[dtype]
        with torch.inference_mode():
            started = time.thread_time()
            torch.nn.functional.linear(rows, weight)
            best[dtype] = min(best[dtype], time.thread_time() - started)

    one = BatchThreads(1)
    one.run(measure, [dtype for _ in range(8) for dtype in pairs])
    one.close()
    return best[torch.float32] / best[torch.bfloat16]
