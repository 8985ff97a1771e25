"""Batches side by side: every item answered in its place, failures raised, thread numbers left as they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nlptasks.errors import CancelledError
from nlptasks.model import CancelToken
from nlptasks.runtime.cpu import lanes as lanes_module
from nlptasks.runtime.cpu.lanes import Lanes, lanes_of_this_machine
from nlptasks.runtime.resident import ResidentModel
from nlptasks.runtime.verbs.batching import Batcher
from nlptasks.store.adapters import open_adapter
from nlptasks.store.download import BaseFolder
from tests.tiny_adapters import classifier_adapter


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes(3)
    yield made
    made.close()


def test_every_item_is_done_by_several_threads_of_one_torch_thread_each(lanes: Lanes) -> None:
    before = torch.get_num_threads()
    meeting = threading.Barrier(3)
    seen: dict[int, tuple[str, int]] = {}

    def work(item: int) -> None:
        if item < 3:
            meeting.wait(timeout=30)  # Passes only if three are at work at the same time.
        seen[item] = (threading.current_thread().name, torch.get_num_threads())

    lanes.run(work, range(20))
    assert sorted(seen) == list(range(20))
    assert len({name for name, _ in seen.values()}) == 3
    assert {count for _, count in seen.values()} == {1}
    assert torch.get_num_threads() == before
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [before]


def test_the_first_failure_is_raised_and_the_rest_is_dropped(lanes: Lanes) -> None:
    done: list[int] = []
    release = threading.Event()

    def work(item: int) -> None:
        if item == 0:
            raise ValueError("the first")
        release.wait(timeout=0.2)
        done.append(item)

    with pytest.raises(ValueError, match="the first"):
        lanes.run(work, range(200))
    assert len(done) < 20
    lanes.run(done.append, [1000])  # The lanes can be used again.
    assert done[-1] == 1000


def test_lanes_start_anew_after_they_were_closed(lanes: Lanes) -> None:
    found: list[int] = []
    lanes.run(found.append, [1])
    lanes.close()
    lanes.run(found.append, [2])
    assert found == [1, 2]


def test_one_thread_needs_no_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert lanes_of_this_machine() is None
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    found = lanes_of_this_machine()
    assert found is not None
    assert found.count == lanes_module.MOST


def test_batches_keep_their_order_and_are_halved_when_memory_runs_out(lanes: Lanes) -> None:
    batcher = Batcher(budget=40)
    batcher.lanes = lanes
    threads: set[str] = set()

    def step(items: list[int]) -> list[int]:
        threads.add(threading.current_thread().name)
        if len(items) > 2:
            raise MemoryError
        return [item * 2 for item in items]

    lengths = [10 + item % 3 for item in range(60)]
    assert batcher.run(list(range(60)), lengths, step) == [item * 2 for item in range(60)]
    assert all(name.startswith("nlptasks-lane") for name in threads)
    assert batcher.budget <= 2 * 12


def test_few_batches_stay_on_the_caller_s_thread(lanes: Lanes) -> None:
    batcher = Batcher(budget=40)
    batcher.lanes = lanes
    threads: set[threading.Thread] = set()

    def step(items: list[int]) -> list[int]:
        threads.add(threading.current_thread())
        return items

    batcher.run(list(range(8)), [10] * 8, step)
    assert threads == {threading.current_thread()}


def test_answers_and_progress_are_those_of_one_lane(tmp_path: Path, tiny_encoder: Path) -> None:
    path, _ = classifier_adapter(tiny_encoder, tmp_path / "one")
    folder = BaseFolder(id=str(tiny_encoder), revision=None, path=tiny_encoder, source="test")
    texts = [f"{'word ' * (number % 17)}{number}" for number in range(300)]
    found = []
    for count in (1, 3):
        resident = ResidentModel(folder, "cpu", "float32")
        resident.load()
        resident.reading.budget = 128
        resident.reading.lanes = Lanes(count) if count > 1 else None
        told: list[int] = []
        answers = resident.bind(open_adapter(path), on_done=told.append).classify(texts)
        assert sum(told) == 300
        found.append(torch.tensor([answer.values for answer in answers]))
        resident.close()
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)


def test_a_cancelled_call_ends_in_all_lanes(tmp_path: Path, tiny_encoder: Path) -> None:
    path, _ = classifier_adapter(tiny_encoder, tmp_path / "one")
    folder = BaseFolder(id=str(tiny_encoder), revision=None, path=tiny_encoder, source="test")
    resident = ResidentModel(folder, "cpu", "float32")
    resident.load()
    resident.reading.budget = 64
    resident.reading.lanes = Lanes(2)
    token = CancelToken()
    told: list[int] = []

    def on_done(count: int) -> None:
        told.append(count)
        token.cancel()

    with pytest.raises(CancelledError):
        resident.bind(open_adapter(path), token, on_done).classify(["a text of some words"] * 400)
    assert len(told) < 50
    resident.close()
