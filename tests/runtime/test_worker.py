"""The model's one thread: merging, fairness, isolation of failures, cancellation, closing."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from nlptasks.errors import CancelledError, NlptasksError
from nlptasks.model import CancelToken
from nlptasks.runtime.worker import MAX_ITEMS, BatchRequest, Job, Worker


def job(items: Sequence[Any], handle: Any, key: Any = "same", cancel: CancelToken | None = None) -> Job:
    return Job(key=key, items=items, handle=handle, cancel=cancel or CancelToken())


def block(worker: Worker) -> threading.Event:
    """Keep the worker busy until the event is set, so that calls pile up."""
    gate = threading.Event()
    worker.submit(job([None], lambda request: (gate.wait(5), request.answer(0, None)), key=None))
    return gate


def test_calls_with_one_key_share_a_turn_and_get_their_own_answers() -> None:
    batches: list[list[int]] = []

    def handle(request: BatchRequest) -> None:
        batches.append(list(request.items))
        for i, item in enumerate(request.items):
            request.answer(i, item * 10)

    worker = Worker("test")
    gate = block(worker)
    futures = [worker.submit(job([n, n + 100], handle)) for n in range(4)]
    gate.set()
    assert [future.result(5) for future in futures] == [[n * 10, (n + 100) * 10] for n in range(4)]
    assert batches == [[0, 100, 1, 101, 2, 102, 3, 103]]
    worker.close()


def test_a_huge_call_lets_others_in_between() -> None:
    order: list[str] = []

    def handle(request: BatchRequest) -> None:
        order.append("huge" if len(request.items) > 1 else "small")
        for i in range(len(request.items)):
            request.answer(i, i)

    worker = Worker("test")
    gate = block(worker)
    huge = worker.submit(job(list(range(3 * MAX_ITEMS)), handle, key="huge"))
    small = worker.submit(job([1], handle, key="small"))
    gate.set()
    assert len(huge.result(5)) == 3 * MAX_ITEMS
    assert small.result(5) == [0]
    assert order.index("small") == 1
    worker.close()


def test_a_bad_item_fails_its_own_call_only() -> None:
    def handle(request: BatchRequest) -> None:
        for i, item in enumerate(request.items):
            request.answer(i, 1 / item)

    worker = Worker("test")
    gate = block(worker)
    good, bad = worker.submit(job([2], handle)), worker.submit(job([0], handle))
    gate.set()
    assert good.result(5) == [0.5]
    with pytest.raises(ZeroDivisionError):
        bad.result(5)
    worker.close()


def test_a_cancelled_call_never_starts_and_a_running_one_ends_between_steps() -> None:
    token, steps = CancelToken(), []

    def handle(request: BatchRequest) -> None:
        for i in range(len(request.items)):
            request.check()
            steps.append(i)
            token.cancel()
            request.answer(i, i)

    worker = Worker("test")
    with pytest.raises(CancelledError):
        worker.submit(job(list(range(100)), handle, cancel=token)).result(5)
    assert steps == [0]
    with pytest.raises(CancelledError):
        worker.submit(job([1], handle, cancel=token)).result(5)
    assert steps == [0]
    worker.close()


def test_close_cancels_what_waits_and_refuses_what_comes() -> None:
    worker = Worker("base")
    gate = block(worker)
    waiting = worker.submit(job([1], lambda request: request.answer(0, 1)))
    worker.close(wait=False)
    gate.set()
    with pytest.raises(CancelledError):
        waiting.result(5)
    with pytest.raises(NlptasksError, match="base is closed: make a new Engine"):
        worker.submit(job([1], lambda request: None))
