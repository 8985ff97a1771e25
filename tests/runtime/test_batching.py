"""Batches keep order, stay in the budget and survive running out of memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nlptasks.runtime.verbs.batching import Batcher

LENGTHS = st.lists(st.integers(min_value=1, max_value=300), max_size=200)


@given(LENGTHS, st.integers(min_value=1, max_value=1000))
def test_every_item_is_in_one_batch_and_batches_keep_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(Batcher(budget, max_rows=16).plan(lengths))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert len(batch) <= 16


@given(LENGTHS)
def test_every_item_is_computed_once(lengths: list[int]) -> None:
    indices: list[int] = []
    Batcher(64).run(lengths, indices.extend)
    assert sorted(indices) == list(range(len(lengths)))


def test_running_out_of_memory_halves_the_batch_and_is_remembered() -> None:
    sizes: list[int] = []
    computed: list[int] = []

    def step(batch: list[int]) -> None:
        sizes.append(len(batch))
        if len(batch) > 4:
            raise torch.OutOfMemoryError("out of memory")
        computed.extend(batch)

    batcher = Batcher(budget=160)
    batcher.run([10] * 16, step)
    assert sorted(computed) == list(range(16))
    assert sizes[0] == 16
    sizes.clear()
    batcher.run([10] * 16, step)
    assert max(sizes) == 4, "the size that did not fit is not tried again"


def test_one_item_that_does_not_fit_is_an_error() -> None:
    def step(batch: list[int]) -> None:
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Batcher().run([5], step)


def test_other_errors_are_not_taken_for_memory() -> None:
    calls: list[int] = []

    def step(batch: list[int]) -> None:
        calls.append(len(batch))
        raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        Batcher().run([5, 5], step)
    assert calls == [2]
