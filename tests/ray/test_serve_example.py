"""examples/ray_serve.py on a real Ray: replicas, their number, and the adapters' hint."""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.batches.test_batch_command import home

pytest.importorskip("ray.serve")

pytestmark = pytest.mark.full

__all__ = ["home"]
EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = {"Authorization": "Bearer secret"}


@pytest.fixture(scope="module")
def server(home: dict[str, str]) -> Iterator[httpx2.Client]:
    import ray
    from ray import serve

    with pytest.MonkeyPatch.context() as patch, socket.socket() as probe:
        for name in ("NLPTASKS_CACHE", "NLPTASKS_DATA", "NLPTASKS_BACKEND", "HF_HUB_OFFLINE"):
            patch.setenv(name, home[name])
        patch.setenv("NLPTASKS_API_KEY", "secret")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.syspath_prepend(str(EXAMPLES))
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        try:
            import ray_serve

            quick = {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 2, "upscale_delay_s": 1}
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            serve.run(ray_serve.Replica.options(autoscaling_config=quick).bind())
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=KEY, timeout=120) as client:
                yield client
        finally:
            serve.shutdown()
            ray.shutdown()
            sys.modules.pop("ray_serve", None)


def ask(client: httpx2.Client, text: str, **headers: str) -> Any:
    body = {"text": text, "adapter": "tiny"}
    return client.post("/v1/tasks/sentiment", json=body, headers=headers)


def replicas() -> int:
    from ray import serve

    [application] = serve.status().applications.values()
    [deployment] = application.deployments.values()
    return deployment.replica_states.get("RUNNING", 0)


def answered(client: httpx2.Client, **headers: str) -> int:
    """The tasks' answers of the replica that answers here."""
    page = client.get("/metrics", headers=headers).text
    counts = re.findall(r'nlptasks_requests_total\{.*tasks.*status="200"\} (\d+)', page)
    return sum(map(int, counts))


def test_answers_keys_and_replicas(server: httpx2.Client) -> None:
    answer = ask(server, "A fine day.")
    assert answer.status_code == 200, answer.text
    assert answer.json()["label"] in ("negative", "positive")
    assert server.post("/v1/tasks/sentiment", json={"text": "a"}, headers={"Authorization": ""}).status_code == 401
    assert ask(server, "").status_code == 422
    assert replicas() == 1
    end = time.monotonic() + 180
    with ThreadPoolExecutor(16) as pool:
        while replicas() < 2:
            assert time.monotonic() < end, "expected two replicas, found one"
            answers = pool.map(lambda number: ask(server, f"Day {number} was fine. " * 200), range(64))
            assert {answer.status_code for answer in answers} == {200}


def test_an_adapter_has_its_replica(server: httpx2.Client) -> None:
    hint = {"serve_multiplexed_model_id": "sentiment@tiny"}
    assert ask(server, "A fine day.", **hint).status_code == 200
    time.sleep(2)  # replicas report what they have ten times a second
    before = answered(server, **hint)
    for number in range(20):
        assert ask(server, f"Day {number} was fine.", **hint).status_code == 200
    assert answered(server, **hint) == before + 20
