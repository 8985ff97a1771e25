"""Token-budget batches: sorted by length, restored in order, halved when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from nlptasks.runtime.cpu.lanes import Lanes
from nlptasks.runtime.cpu.memory import free_memory

Item = TypeVar("Item")
Answer = TypeVar("Answer")

CPU_BUDGET = 1024
GPU_BUDGET = 16 * 1024
"""Padded tokens in one batch. On two CPU cores MiniLM reads 800 short texts a second with 1024 and 700 with 4096,
whose activations no longer fit the caches; a GPU needs more to be busy."""

MAX_ROWS = 256


class Batcher:
    """Cuts work into batches and remembers the largest that memory allowed."""

    def __init__(self, budget: int = CPU_BUDGET, max_rows: int = MAX_ROWS) -> None:
        self.budget = budget
        self.max_rows = max_rows
        self.lanes: Lanes | None = None

    def plan(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices of each batch, longest first, so that running out of memory shows at once.

        `rows * longest length` stays within the budget; a single item above it makes a batch of its own.
        """
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        start = 0
        while start < len(order):
            rows = max(1, min(self.max_rows, self.budget // max(1, lengths[order[start]])))
            yield order[start : start + rows]
            start += rows

    def run(
        self,
        items: Sequence[Item],
        lengths: Sequence[int],
        step: Callable[[list[Item]], list[Answer]],
        before: Callable[[], None] = lambda: None,
    ) -> list[Answer]:
        """Answer all items in their own order; `before` runs before each batch and may raise to stop.

        With `lanes`, several batches may be computed at the same time, on threads of their own.
        """
        answers: dict[int, Answer] = {}

        def one(batch: list[int]) -> None:
            self._run_batch(batch, items, lengths, step, before, answers)

        batches = list(self.plan(lengths))
        # Fewer batches than twice the lanes would leave some of the lanes idle at the end.
        if self.lanes and len(batches) >= 2 * self.lanes.count:
            self.lanes.run(one, tapered(batches, self.lanes.count))
        else:
            for batch in batches:
                one(batch)
        return [answers[i] for i in range(len(items))]

    def _run_batch(
        self,
        batch: list[int],
        items: Sequence[Item],
        lengths: Sequence[int],
        step: Callable[[list[Item]], list[Answer]],
        before: Callable[[], None],
        answers: dict[int, Answer],
    ) -> None:
        before()
        try:
            answers.update(zip(batch, step([items[i] for i in batch]), strict=True))
            return
        except Exception as error:
            if len(batch) == 1 or not is_out_of_memory(error):
                raise
        # Outside the except block: the traceback would keep the failed batch's tensors alive.
        free_memory()
        half = len(batch) // 2
        self.budget = max(1, min(self.budget, half * max(lengths[i] for i in batch)))
        for part in (batch[:half], batch[half:]):
            self._run_batch(part, items, lengths, step, before, answers)


def tapered(batches: Sequence[list[int]], lanes: int) -> Iterator[list[int]]:
    """The batches, the last one of each lane in four parts: no lane works on a whole one while the others are done."""
    yield from batches[:-lanes]
    for batch in batches[-lanes:]:
        size = -(-len(batch) // 4)
        yield from (batch[start : start + size] for start in range(0, len(batch), size))


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch says that a device or the host ran out of memory."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU allocator raises a plain RuntimeError; its wording is all there is to know it by.
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
