"""Token-budget batches: sorted by length, restored in order, halved when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nlptasks.runtime.cpu.memory import free_memory
from nlptasks.runtime.cpu.threads import BatchThreads, Pause

CPU_BUDGET = 1024
GPU_BUDGET = 16 * 1024
"""Padded tokens in one batch. On two CPU cores MiniLM reads 800 short texts a second with 1024 and 700 with 4096,
whose activations no longer fit the caches; a GPU needs more to be busy."""

SMALL_BUDGET = 128
"""The least tokens in a batch for which a thread of its own is worth while."""

MAX_ROWS = 256


class Batcher:
    """Cuts work into batches and remembers the largest that memory allowed."""

    def __init__(self, budget: int = CPU_BUDGET, max_rows: int = MAX_ROWS) -> None:
        self.budget = budget
        self.max_rows = max_rows
        self.threads: BatchThreads | None = None

    def plan(self, lengths: Sequence[int], budget: int | None = None) -> Iterator[list[int]]:
        """Indices of each batch, longest first, so that running out of memory shows at once.

        `rows * longest length` stays within the budget; a single item above it makes a batch of its own.
        """
        budget = budget or self.budget
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        start = 0
        while start < len(order):
            rows = max(1, min(self.max_rows, budget // max(1, lengths[order[start]])))
            yield order[start : start + rows]
            start += rows

    def run(self, lengths: Sequence[int], step: Callable[[list[int]], None], pause: Pause | None = None) -> None:
        """Call `step` with the indices of each batch of items of these lengths.

        With `threads`, several batches may be computed at the same time, on threads of their own; `pause` says when
        they are to wait for the caller's.
        """

        def run(batch: list[int]) -> None:
            try:
                step(batch)
                return
            except Exception as error:
                if len(batch) == 1 or not is_out_of_memory(error):
                    raise
            # Outside the except block: the traceback would keep the failed batch's tensors alive.
            free_memory()
            half = len(batch) // 2
            self.budget = max(1, min(self.budget, half * max(lengths[i] for i in batch)))
            run(batch[:half])
            run(batch[half:])

        batches = list(self.plan(lengths))
        # Fewer batches than twice the threads would leave some of the threads idle at the end.
        least = 2 * self.threads.count if self.threads else 0
        share = min(self.budget, sum(lengths) // max(1, least))
        if self.threads and len(batches) >= least:
            self.threads.run(run, tapered(batches, self.threads.count), pause)
        elif self.threads and share >= SMALL_BUDGET:
            self.threads.run(run, self.plan(lengths, share), pause)
        else:
            for batch in batches:
                run(batch)


def tapered(batches: Sequence[list[int]], threads: int) -> Iterator[list[int]]:
    """The batches, the last one of each thread in four parts, so that no thread ends a whole batch after the others."""
    yield from batches[:-threads]
    for batch in batches[-threads:]:
        size = -(-len(batch) // 4)
        yield from (batch[start : start + size] for start in range(0, len(batch), size))


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device or the host ran out of memory."""
    # By its name: torch need not be there.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # The CPU allocator raises a plain RuntimeError; only its wording identifies it.
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
