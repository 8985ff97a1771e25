"""The model's one thread: merging, fairness, isolation of failures, cancellation, closing."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    # The one that kept it busy, and this one.
    assert (worker.batches, worker.items) == (2, 1 + 8)
    worker.close()


def test_huge_calls_get_a_portion_each_in_turn() -> None:
    model, worker = Answers(sizes=[MAX_ITEMS]), Worker("test")
    gate = block(worker)
    futures = [worker.submit(model.job(key, range(3 * MAX_ITEMS))) for key in ("one", "two")]
    gate.set()
    assert [len(future.result(5)) for future in futures] == [3 * MAX_ITEMS] * 2
    assert [key for key, _ in model.steps] == ["one", "two"] * 3
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


class Answers:
    """A model whose state must fit the call: it answers each item with the state and the item, some in each step."""

    def __init__(self, sizes: Sequence[int] = (3,)) -> None:
        self.state: Any = None
        self.steps: list[tuple[Any, int]] = []
        self.before_step: Callable[[int], None] = lambda step: None
        self._sizes = itertools.cycle(sizes)

    def job(self, key: Any, items: Sequence[Any], cancel: CancelToken | None = None, size: int = 0) -> Job:
        def resume() -> None:
            self.state = key

        def handle(request: BatchRequest) -> None:
            resume()
            left = deque(enumerate(request.items))
            while left:
                request.check()
                self.before_step(len(self.steps))
                step = [left.popleft() for _ in range(min(next(self._sizes), len(left)))]
                self.steps.append((key, len(step)))
                for i, item in step:
                    request.answer(i, (self.state, item))

        return Job(key, items, handle, cancel or CancelToken(), size, resume)


@pytest.mark.parametrize("first", ["long", "short"])
def test_a_short_call_beside_a_long_list_waits_for_one_step_at_most(first: str) -> None:
    model, worker = Answers(sizes=[40]), Worker("test")
    long, short = model.job("long", range(20_000)), model.job("short", ["a"])
    gate = block(worker)
    for each in (long, short) if first == "long" else (short, long):
        worker.submit(each)
    gate.set()
    assert short.future.result(5) == [("short", "a")]
    assert long.future.result(5) == [("long", n) for n in range(20_000)]
    assert model.steps[0][0] == "short"
    assert {count for key, count in model.steps if key == "long"} <= {40, MAX_ITEMS % 40, 20_000 % MAX_ITEMS % 40}
    worker.close()


def test_a_call_that_comes_amid_a_long_list_is_next_and_the_list_goes_on_with_its_state() -> None:
    model, worker = Answers(sizes=[40]), Worker("test")
    short = [model.job(f"short {n}", [n]) for n in range(3)]
    middle = model.job("middle", range(100))

    def come(step: int) -> None:
        for n, job in enumerate(short):
            if step == 10 + 2 * n:
                worker.submit(job)
        if step == 10:
            worker.submit(middle)

    model.before_step = come
    long = model.job("long", range(2_000))
    assert worker.submit(long).result(5) == [("long", n) for n in range(2_000)]
    assert middle.future.result(5) == [("middle", n) for n in range(100)]
    keys = [key for key, _ in model.steps]
    # The middle one has more work than a short one, which comes before its next step too.
    assert keys[10:18] == ["long", "short 0", "middle", "short 1", "middle", "short 2", "middle", "long"]
    worker.close()


def test_a_long_list_does_a_step_after_each_round_of_short_calls_that_never_end() -> None:
    model, worker = Answers(sizes=[40]), Worker("test")

    def come(step: int) -> None:
        # Until the last step of the long list: after it, short calls alone would go on for as long as they come.
        if [key for key, _ in model.steps].count("long") < 10:
            worker.submit(model.job("short", [step]))

    model.before_step = come
    long = worker.submit(model.job("long", range(400)))
    assert len(long.result(5)) == 400
    steps = [key for key, _ in model.steps]
    assert [key for key, group in itertools.groupby(steps) if key == "long" and len(list(group)) > 1] == []
    assert steps.count("long") == 10
    assert max(len(list(group)) for key, group in itertools.groupby(steps) if key == "short") <= 2
    worker.close()


def test_writing_calls_are_longer_than_reading_ones() -> None:
    ranks = [Answers().job("x", [0], size=size).rank for size in (0, 7, 8, 16, 127, 128, 20_000)]
    assert ranks == [0, 0, 1, 1, 1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_mix_of_calls_has_every_answer_right_and_in_order(data: st.DataObject) -> None:
    model, worker = Answers(data.draw(st.lists(st.integers(1, 50), min_size=1, max_size=4))), Worker("test")
    sizes = st.sampled_from([1, 2, 7, 8, 30, 200, 1_500])
    calls = data.draw(st.lists(st.tuples(st.sampled_from("abc"), sizes, st.integers(0, 30)), min_size=1, max_size=12))
    cancels = data.draw(st.dictionaries(st.integers(0, len(calls) - 1), st.integers(0, 30), max_size=4))
    jobs = [model.job(key, [(n, i) for i in range(size)]) for n, (key, size, _) in enumerate(calls)]
    early = {n for n, (_, _, step) in enumerate(calls) if step == 0} or {0}

    def come(step: int) -> None:
        for n, (_, _, start) in enumerate(calls):
            if start == step and n not in early:
                early.add(n)
                worker.submit(jobs[n])
        for n, when in cancels.items():
            if when == step:
                jobs[n].cancel.cancel()

    model.before_step = come
    gate = block(worker)
    for n in list(early):
        worker.submit(jobs[n])
    gate.set()
    for n in range(len(calls)):
        if n in early:
            wait([jobs[n].future], 10)
    # What was to come after the last step comes now.
    model.before_step = lambda step: None
    for n in range(len(calls)):
        if n not in early:
            worker.submit(jobs[n])
    for n, (key, size, _) in enumerate(calls):
        try:
            assert jobs[n].future.result(10) == [(key, (n, i)) for i in range(size)]
        except CancelledError:
            assert n in cancels
    worker.close()
    assert worker.idle
