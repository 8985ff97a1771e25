"""Minutes of mixed load on a real server: right and wrong requests, clients that leave, more than it takes at once."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from nlptasks import Engine

pytestmark = [pytest.mark.embedded, pytest.mark.full]

SECONDS = float(os.environ.get("NLPTASKS_TEST_SOAK_SECONDS", "180"))

WORDS = ("warm", "dull", "clever", "broken", "late", "quiet", "honest", "grim", "bright", "tired")
TEXTS = [f"The {a} film had a {b} end and a {c} middle." for a in WORDS for b in WORDS for c in WORDS]
CHAT = {"model": "auto", "max_tokens": 12, "messages": [{"role": "user", "content": "Name a colour."}], "stream": True}
QUESTIONS = {"topic": {"type": "choice", "criteria": {"cinema": None, "travel": None}}}

BAD: list[tuple[str, Any]] = [
    ("/v1/tasks/sentiment", b"{"),
    ("/v1/tasks/sentiment", b'{"text": NaN}'),
    ("/v1/tasks/sentiment", b'{"text": ""}'),
    ("/v1/tasks/nothing", b'{"text": "a"}'),
    ("/v1/tasks/..%2f..%2fetc", b"{}"),
    ("/v1/chat/completions", b'{"model": "auto", "messages": []}'),
    ("/v1/decisions", b'{"model": "auto", "input": "a", "questions": [' + b"{}," * 500 + b"{}]}"),
    ("/v1/systemone", b"[" * 50_000),
    ("/v1/embeddings", b'{"model": "../../etc", "input": "a"}'),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = ("--port", str(port), "--preload", "sentiment", "--preload", "classify", "--preload", "generation")
    env = {**os.environ, "NLPTASKS_SERVE_MAX_RUNNING": "12", "NLPTASKS_SERVE_MAX_WAITING": "8"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "nlptasks", "serve", *flags], env=env, stderr=log)
        try:
            while True:
                with suppress(httpx.TransportError):
                    if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                        break
                assert process.poll() is None
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        finally:
            process.terminate()
            assert process.wait(60) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


class Client(threading.Thread):
    """A client that sends what chance says until the end."""

    def __init__(self, url: str, labels: dict[str, str], seed: int, end: float) -> None:
        super().__init__()
        self._url, self._labels, self._chance, self._end = url, labels, random.Random(seed), end
        self.statuses: Counter[int | str] = Counter()
        self.faults: list[str] = []

    def run(self) -> None:
        """Send requests."""
        with httpx.Client(base_url=self._url, timeout=120) as client:
            while time.monotonic() < self._end and not self.faults:
                step = self._chance.choices((self._right, self._many, self._ask, self._chat, self._leave, self._wrong),
                                            (40, 5, 10, 5, 5, 15))[0]  # fmt: skip
                try:
                    step(client)
                except Exception as error:
                    self.faults.append(repr(error))

    def _right(self, client: httpx.Client) -> None:
        text = self._chance.choice(TEXTS)
        self._compare(client.post("/v1/tasks/sentiment", json={"text": text}), [text])

    def _many(self, client: httpx.Client) -> None:
        texts = self._chance.choices(TEXTS, k=40)
        self._compare(client.post("/v1/tasks/sentiment", json={"inputs": texts}), texts)

    def _compare(self, answer: httpx.Response, texts: list[str]) -> None:
        self.statuses[answer.status_code] += 1
        if answer.status_code == 200:
            results = answer.json() if isinstance(answer.json(), list) else [answer.json()]
            assert [one["label"] for one in results] == [self._labels[text] for text in texts]
        else:
            assert answer.status_code == 429, answer.text

    def _ask(self, client: httpx.Client) -> None:
        body = {"model": "auto", "state": self._chance.choice(TEXTS), "questions": QUESTIONS}
        answer = client.post("/v1/systemone", json=body)
        self.statuses[answer.status_code] += 1
        assert answer.status_code in (200, 429), answer.text

    def _chat(self, client: httpx.Client) -> None:
        with client.stream("POST", "/v1/chat/completions", json=CHAT) as answer:
            self.statuses[answer.status_code] += 1
            assert answer.status_code in (200, 429)
            lines = [line for line in answer.iter_lines() if line]
        assert answer.status_code == 429 or lines[-1] == "data: [DONE]"

    def _leave(self, client: httpx.Client) -> None:
        self.statuses["left"] += 1
        body = {"inputs": self._chance.choices(TEXTS, k=500)}
        with suppress(httpx.ReadTimeout):
            client.post("/v1/tasks/sentiment", json=body, timeout=0.02 + self._chance.random() / 5)

    def _wrong(self, client: httpx.Client) -> None:
        path, content = self._chance.choice(BAD)
        answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
        self.statuses[answer.status_code] += 1
        assert 400 <= answer.status_code < 500, (path, answer.text)


def test_minutes_of_mixed_load_leave_no_trace(server: tuple[str, psutil.Process]) -> None:
    url, process = server
    with Engine() as engine:
        results = engine.run("sentiment", TEXTS)
    labels = {text: result.label for text, result in zip(TEXTS, results, strict=True)}

    def load(seconds: float) -> Counter[int | str]:
        clients = [Client(url, labels, seed, time.monotonic() + seconds) for seed in range(32)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert [fault for client in clients for fault in client.faults] == []
        return sum((client.statuses for client in clients), Counter())

    # Pools and caches fill first.
    load(max(20, SECONDS / 4))
    before = process.memory_info().rss
    statuses = load(SECONDS)
    growth = process.memory_info().rss / before - 1
    print(f"{dict(statuses)}; {before / 2**20:.0f} MB, growth {growth:.1%}")
    assert {200, 422, 429, "left"} <= statuses.keys()
    assert growth < 0.05
    page = httpx.get(f"{url}/metrics").text
    assert 'status="500"' not in page
    assert "\nnlptasks_running 0.0\n" in page
    assert "\nnlptasks_waiting 0.0\n" in page
