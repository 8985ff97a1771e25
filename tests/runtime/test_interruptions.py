"""A short call between two steps of a long one: on real models both have the answers that they have alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nlptasks.model import Decoding, Logits
from nlptasks.progress import Counter
from nlptasks.runtime.bound import WRITING_SIZE
from nlptasks.runtime.cpu.threads import BatchThreads
from nlptasks.runtime.resident import ResidentModel
from nlptasks.runtime.verbs import generation
from nlptasks.runtime.worker import BatchRequest, Job
from nlptasks.store.adapters import open_adapter
from nlptasks.store.download import BaseFolder
from tests.tiny_adapters import classifier_adapter


class Visit:
    """A call from another thread, which is in the worker's queue when `begin` returns."""

    def __init__(self, resident: ResidentModel, call: Callable[[], Any]) -> None:
        self._resident = resident
        self._thread = threading.Thread(target=self._run, args=(call,))
        self.answer: Any = None

    def _run(self, call: Callable[[], Any]) -> None:
        self.answer = call()

    def begin(self) -> None:
        self._thread.start()
        while not self._resident.worker.waiting:
            time.sleep(0.001)

    def end(self) -> Any:
        self._thread.join(30)
        return self.answer


@pytest.fixture
def encoder(tiny_encoder: Path) -> Iterator[ResidentModel]:
    resident = ResidentModel(BaseFolder(str(tiny_encoder), None, tiny_encoder, "test"), "cpu", "float32")
    resident.load()
    resident.reading.budget = 128
    yield resident
    resident.close()


def values(answers: list[Logits]) -> torch.Tensor:
    return torch.tensor([answer.values for answer in answers])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_text_with_another_adapter_is_answered_amid_a_list(
    tmp_path: Path, tiny_encoder: Path, encoder: ResidentModel, threads: int
) -> None:
    one, two = (open_adapter(classifier_adapter(tiny_encoder, tmp_path / str(seed), seed=seed)[0]) for seed in (1, 2))
    encoder.reading.threads = BatchThreads(threads) if threads > 1 else None
    texts = [f"{'word ' * (number % 17)}{number}" for number in range(300)]
    right = values(encoder.bind(one).classify(texts)), values(encoder.bind(two).classify(["a short text"]))
    assert not torch.allclose(right[1], values(encoder.bind(one).classify(["a short text"])), atol=1e-3)

    steps: list[int] = []
    at: list[int] = []
    visit = Visit(
        encoder,
        lambda: encoder.bind(two, counter=Counter(lambda *_: at.append(len(steps)), 1)).classify(["a short text"]),
    )

    def report(count: int, total: int) -> None:
        steps.append(count)
        if count == 20:
            visit.begin()

    answers = encoder.bind(one, counter=Counter(report, len(texts))).classify(texts)
    torch.testing.assert_close(values(visit.end()), right[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(values(answers), right[0], atol=1e-5, rtol=1e-5)
    # The batch under way and one of each other thread, of at most 64 texts of two tokens.
    assert 20 <= at[0] <= 20 + threads * 64
    assert steps == list(range(1, 301))


@pytest.mark.parametrize("decoding", [Decoding(max_new_tokens=60), Decoding(max_new_tokens=60, do_sample=True, seed=3)])
def test_choices_are_scored_amid_a_text_that_goes_on_as_if_alone(tiny_causal: Path, decoding: Decoding) -> None:
    resident = ResidentModel(BaseFolder(str(tiny_causal), None, tiny_causal, "test"), "cpu", "float32")
    model = resident.bind()
    right = model.generate(["Once upon"], decoding)[0].text, model.choose(["It is"], ["good", "bad"])
    events: list[str] = []
    visit = Visit(resident, lambda: model.choose(["It is"], ["good", "bad"]))

    def on_piece(piece: str) -> None:
        events.append(piece)
        if len(events) == 1:
            visit.begin()

    def handle(request: BatchRequest) -> None:
        base, _ = resident.activate(None)
        generation.generate(base, resident.writers.batcher, request, decoding, on_piece)
        events.append("the end")

    def resume() -> None:
        events.append("resumed")
        resident.activate(None)

    job = Job(None, ["Once upon"], handle, model._cancel, WRITING_SIZE, resume)
    assert resident.worker.submit(job).result(30)[0].text == right[0]
    assert visit.end() == right[1]
    assert events.count("resumed") == 1
    assert events.index("resumed") < len(events) - 2, "pieces follow"
    resident.close()
