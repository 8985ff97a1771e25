"""The same prompts here and on a server of this machine: 64 chats, eight at once.

    python benchmarks/remote.py [--rounds 3] [--prompts 64] [--tokens 32]

The server is `nlptasks serve`, a process of its own on the same cores; only one of both writes at a time. Rates are of
tokens a second; `share` is the server's rate over the one here, eight at once in both. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2

from nlptasks import Engine, GeneratedText

AT_ONCE = 8
SUBJECTS = (
    "a lighthouse",
    "a baker",
    "two rivers",
    "an old radio",
    "the last train",
    "a quiet street",
    "snow",
    "a map",
)


@contextmanager
def server() -> Iterator[str]:
    """The address of `nlptasks serve`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "nlptasks", "serve", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            while not _ready(url):
                time.sleep(0.2)
            yield url
        finally:
            process.terminate()


def _ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/ready").status_code == 200
    except httpx2.TransportError:
        return False


def chats(count: int, number: int) -> list[Any]:
    """Prompts that no other round has: what was read before would not be read again."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"Letter {number}-{i}: tell me about {SUBJECTS[i % len(SUBJECTS)]}."}
            ]
        }
        for i in range(count)
    ]


def rate(write: Callable[[], list[GeneratedText]]) -> float:
    """Tokens a second."""
    started = time.perf_counter()
    results = write()
    return sum(result.num_generated_tokens for result in results) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32)
    arguments = parser.parse_args()
    os.environ["NLPTASKS_REMOTE_PARALLEL"] = str(AT_ONCE)
    figures: dict[str, list[float]] = {"one_call_here": [], "eight_at_once_here": [], "on_a_server": []}
    with server() as url, Engine() as engine, ThreadPoolExecutor(AT_ONCE) as threads:
        base = f"openai:smollm2@{url}/v1"

        def run(inputs: Any, **options: Any) -> Any:
            return engine.run("generation", inputs, max_new_tokens=arguments.tokens, **options)

        for number in range(-1, arguments.rounds):  # the first round loads, and is not counted
            prompts = chats(arguments.prompts, number)
            rates = {
                "on_a_server": rate(lambda prompts=prompts: run(prompts, model=base)),
                "eight_at_once_here": rate(lambda prompts=prompts: list(threads.map(run, prompts))),
            }
            fresh = chats(arguments.prompts, 1000 + number)
            rates["one_call_here"] = rate(lambda prompts=fresh: run(prompts))
            for name, value in rates.items() if number >= 0 else ():
                figures[name].append(value)
    medians = {name: round(statistics.median(values), 1) for name, values in figures.items()}
    print(json.dumps({**medians, "share": round(medians["on_a_server"] / medians["eight_at_once_here"], 3)}, indent=2))


if __name__ == "__main__":
    main()
