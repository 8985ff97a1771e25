"""The process's memory: what the garbage collector visits, what stays for the next batch, what is returned."""

from __future__ import annotations

import ctypes
import functools
from gc import collect, freeze, unfreeze
from typing import Any

from nlptasks.runtime.cpu.threads import imported_torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 32 * 1024 * 1024

TRAINING_BLOCK = 1 << 29
"""The largest block that stays in training: logits over a vocabulary take a hundred megabytes a batch. Pretraining the
translator took 0.95 instead of 1.2 seconds a step with it, and 1.05 instead of 2.2 with Trainer's label smoothing."""


def settle() -> None:
    """Collect what is unreachable and exclude all that is left from later collections (`gc.freeze`).

    torch, transformers and a loaded model are 400,000 objects that stay. Each full collection would visit them all,
    which takes 0.2 seconds, once in 4,000 short texts. Reference counts still free what is frozen, as all of a model;
    a cycle that becomes unreachable later is collected by `free_memory`.
    """
    collect()
    freeze()


def free_memory() -> None:
    """Return cached memory, the device's and the host's."""
    unfreeze()
    settle()
    trim_memory()
    torch = imported_torch()
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()


@functools.cache
def keep_freed_memory(largest: int = _LARGEST_BLOCK) -> None:
    """Let glibc reuse blocks of up to `largest` bytes instead of returning each one to the system.

    A batch's activations are freed at its end and allocated again by the next; without this every batch pays
    for page faults. 32 MiB is what glibc's own adjustment may rise to (mallopt(3)); training uses more, see
    `TRAINING_BLOCK`. `trim_memory` returns everything when a model is unloaded. Other C libraries are left alone.
    """
    mallopt = _libc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, largest)
        mallopt(_M_TRIM_THRESHOLD, 2 * largest)


def trim_memory() -> None:
    """Return freed blocks to the system."""
    trim = _libc("malloc_trim")
    if trim is not None:
        trim(0)


def _libc(name: str) -> Any:
    """A function of the C library, or None where the library has none of this name."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    # Windows cannot look up the symbols of the program itself.
    except (OSError, TypeError):
        return None
