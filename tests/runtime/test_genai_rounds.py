"""Many at once: streams, lists, adapters and cancels together; no wrong text, no leak."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from nlptasks.errors import CancelledError
from nlptasks.model import CancelToken, Completion, Decoding
from nlptasks.runtime.fast.genai import CACHE_TOKENS
from nlptasks.runtime.resident import ResidentModel
from nlptasks.runtime.verbs.prompts import encode_prompt
from nlptasks.settings import Settings
from nlptasks.store.adapters import AdapterFolder, open_adapter
from nlptasks.store.download import find_base

pytest.importorskip("openvino_genai")

pytestmark = [pytest.mark.embedded, pytest.mark.full]

STARTS = [
    "The old lighthouse keeper",
    "A recipe for lentil soup:",
    "In the year 1912, a young engineer",
    "The cat and the crow",
    "Dear Ms Alvarez, thank you for",
    "The mountain road was closed because",
]
DECODING = Decoding(max_new_tokens=32)
TIE = 0.05
"""Nats between the two best tokens within which another batch may choose the other one."""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def fill_cache(model: ResidentModel, adapter: AdapterFolder | None) -> None:
    """Read prompts until the keys and values that are kept take all the memory that they may."""
    chance, num_tokens = random.Random(4), 0
    while num_tokens < CACHE_TOKENS:
        prompt = " ".join(str(chance.randrange(10**6)) for _ in range(300))
        [completion] = model.bind(adapter).generate([prompt], Decoding(max_new_tokens=1))
        num_tokens += completion.num_prompt_tokens


class Lone:
    """What each prompt gives alone, written once."""

    def __init__(self, model: ResidentModel) -> None:
        self._model = model
        self._texts: dict[tuple[str, str], Completion] = {}

    def of(self, prompt: str, adapter: AdapterFolder | None) -> Completion:
        key = (prompt, adapter.name if adapter else "")
        if key not in self._texts:
            self._texts[key] = self._model.bind(adapter).generate([prompt], DECODING)[0]
        return self._texts[key]


def differs_at_a_tie(plain: ResidentModel, prompt: str, adapter: AdapterFolder | None, texts: list[str]) -> bool:
    """Whether two texts part where the torch model's two best tokens are nearly equal."""

    def work(module: Any, tokenizer: Any) -> bool:
        ids, _ = encode_prompt(plain.load(), prompt, DECODING)
        first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
        place = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
        if place is None:
            return False
        scores = torch.log_softmax(module(torch.tensor([ids + first[:place]])).logits[0, -1].float(), -1)
        return float(scores[first[place]] - scores[second[place]]) <= 2 * TIE

    return bool(plain.bind(adapter).submit(work))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory of a process is read from Linux's /proc")
def test_streams_lists_adapters_and_cancels_together() -> None:
    rounds = 200
    import nlptasks_plugins

    settings = Settings.from_env()
    base = find_base("smollm2", settings)
    model, plain = ResidentModel(base, graphs=settings.graphs), ResidentModel(base, dtype="float32")
    summarizer = open_adapter(Path(nlptasks_plugins.__path__[0]) / "adapters" / "summarization")
    chance, lone = random.Random(3), Lone(model)
    compared, parted, wrong = 0, [], []
    guard = threading.Lock()

    def write(prompt: str, adapter: AdapterFolder | None, cancelled_after: int | None) -> None:
        nonlocal compared
        stream = model.bind(adapter, CancelToken()).stream(prompt, DECODING)
        pieces = []
        for piece in stream:
            pieces.append(piece)
            if cancelled_after is not None and len(pieces) >= cancelled_after:
                stream.close()
                return
        text, expected = stream.result().text, lone.of(prompt, adapter).text
        with guard:
            compared += 1
            if text != "".join(pieces):
                wrong.append((text, "".join(pieces)))
            if text != expected:
                parted.append((prompt, adapter, [expected, text]))

    for adapter in (None, summarizer):
        # Each sequence takes blocks that none had before, until all were taken once: 200 rounds would only get there.
        fill_cache(model, adapter)
        for start in STARTS:
            lone.of(start, adapter)
    before = 0
    with ThreadPoolExecutor(8) as pool:
        for number in range(rounds):
            jobs = [
                pool.submit(
                    write, chance.choice(STARTS), chance.choice([None, summarizer]), chance.choice([None, None, 1, 5])
                )
                for _ in range(8)
            ]
            for job in jobs:
                job.result()
            if number == 20:
                before = resident_bytes()
    after = resident_bytes()
    assert not wrong
    assert len(parted) <= 0.05 * compared + 1, f"{len(parted)} of {compared} differ from the lone text"
    for prompt, adapter, texts in parted:
        assert differs_at_a_tie(plain, prompt, adapter, texts), texts
    assert after <= before * 1.05
    token = CancelToken()
    token.cancel()
    with pytest.raises(CancelledError):
        model.bind(None, token).stream(STARTS[0], DECODING).result()
    for one in (model, plain):
        one.close()
