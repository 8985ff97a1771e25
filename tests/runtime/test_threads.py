"""Batches side by side: every item answered in its place, failures raised, thread numbers left as they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nlptasks.errors import CancelledError
from nlptasks.model import CancelToken
from nlptasks.progress import Counter
from nlptasks.runtime.cpu import threads as threads_module
from nlptasks.runtime.cpu.threads import BatchThreads, batch_threads
from nlptasks.runtime.resident import ResidentModel
from nlptasks.runtime.verbs.batching import Batcher
from nlptasks.store.adapters import open_adapter
from nlptasks.store.download import BaseFolder
from tests.tiny_adapters import classifier_adapter


@pytest.fixture
def threads() -> Iterator[BatchThreads]:
    made = BatchThreads(3)
    yield made
    made.close()


def test_items_are_computed_by_several_threads_of_one_torch_thread_each(threads: BatchThreads) -> None:
    before = torch.get_num_threads()
    meeting = threading.Barrier(3)
    seen: dict[int, tuple[str, int]] = {}

    def work(item: int) -> None:
        if item < 3:
            meeting.wait(timeout=30)  # Passes only if three are at work at the same time.
        seen[item] = (threading.current_thread().name, torch.get_num_threads())

    threads.run(work, range(20))
    assert sorted(seen) == list(range(20))
    assert len({name for name, _ in seen.values()}) == 3
    assert {count for _, count in seen.values()} == {1}
    assert torch.get_num_threads() == before
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert counts == [before]


def test_the_first_failure_is_raised_and_the_rest_is_dropped(threads: BatchThreads) -> None:
    computed: list[int] = []
    release = threading.Event()

    def work(item: int) -> None:
        if item == 0:
            raise ValueError("the first")
        release.wait(timeout=0.2)
        computed.append(item)

    with pytest.raises(ValueError, match="the first"):
        threads.run(work, range(200))
    assert len(computed) < 20
    threads.run(computed.append, [1000])  # The threads can be used again.
    assert computed[-1] == 1000


def test_threads_start_anew_after_they_were_closed(threads: BatchThreads) -> None:
    computed: list[int] = []
    threads.run(computed.append, [1])
    threads.close()
    threads.run(computed.append, [2])
    assert computed == [1, 2]


def test_a_machine_with_one_thread_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert batch_threads() is None
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    most = batch_threads()
    assert most is not None
    assert most.count == threads_module.MAX_THREADS


def test_batches_are_all_computed_and_halved_when_memory_runs_out(threads: BatchThreads) -> None:
    batcher = Batcher(budget=40)
    batcher.threads = threads
    names: set[str] = set()
    computed: list[int] = []

    def step(batch: list[int]) -> None:
        names.add(threading.current_thread().name)
        if len(batch) > 2:
            raise MemoryError
        computed.extend(batch)

    lengths = [10 + item % 3 for item in range(60)]
    batcher.run(lengths, step)
    assert sorted(computed) == list(range(60))
    assert all(name.startswith("nlptasks-batch") for name in names)
    assert batcher.budget <= 2 * 12


def test_few_batches_stay_on_the_caller_s_thread(threads: BatchThreads) -> None:
    batcher = Batcher(budget=40)
    batcher.threads = threads
    used: set[threading.Thread] = set()
    batcher.run([10] * 8, lambda _: used.add(threading.current_thread()))
    assert used == {threading.current_thread()}


@pytest.mark.long
def test_answers_and_progress_are_those_of_one_thread(tmp_path: Path, tiny_encoder: Path) -> None:
    path, _ = classifier_adapter(tiny_encoder, tmp_path / "one")
    folder = BaseFolder(id=str(tiny_encoder), revision=None, path=tiny_encoder, source="test")
    texts = [f"{'word ' * (number % 17)}{number}" for number in range(300)]
    logits = []
    steps: list[tuple[int, int]] = []
    for count in (1, 3):
        resident = ResidentModel(folder, "cpu", "float32")
        resident.load()
        resident.reading.budget = 128
        resident.reading.threads = BatchThreads(count) if count > 1 else None
        steps.clear()
        counter = Counter(lambda *step: steps.append(step), len(texts))
        answers = resident.bind(open_adapter(path), counter=counter).classify(texts)
        assert steps == [(number, 300) for number in range(1, 301)]
        logits.append(torch.tensor([answer.values for answer in answers]))
        resident.close()
    torch.testing.assert_close(logits[0], logits[1], atol=1e-5, rtol=1e-5)


def test_a_cancelled_call_ends_in_all_threads(tmp_path: Path, tiny_encoder: Path) -> None:
    path, _ = classifier_adapter(tiny_encoder, tmp_path / "one")
    folder = BaseFolder(id=str(tiny_encoder), revision=None, path=tiny_encoder, source="test")
    resident = ResidentModel(folder, "cpu", "float32")
    resident.load()
    resident.reading.budget = 64
    resident.reading.threads = BatchThreads(2)
    token = CancelToken()
    counts: list[int] = []

    def report(count: int, total: int) -> None:
        counts.append(count)
        token.cancel()

    with pytest.raises(CancelledError):
        resident.bind(open_adapter(path), token, Counter(report, 400)).classify(["a text of some words"] * 400)
    assert len(counts) < 50
    resident.close()
