"""The server beside the engine: 64 clients, one text, chat streams beside a long list, many questions about one text.

    python benchmarks/serving.py [--dtype auto] [--seconds 15]

Needs wrk (Debian's package). The server is a process of its own on the same cores as its clients. Prints JSON.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil

from nlptasks import Engine

SUBJECTS = ("The room", "Our guide", "This lamp", "The second act", "Their support", "My train", "The soup")
WORDS = (
    "was a joy",
    "was lovely",
    "disappointed me",
    "never worked",
    "made me smile",
    "was late again",
    "is worth its price",
)
TEXTS = [
    f"{subject} {word}, and {other.lower()} {again}."
    for subject in SUBJECTS
    for word in WORDS
    for other in SUBJECTS
    for again in WORDS
][:2000]

LOAD = """
local texts = {%s}
local number = 0
request = function()
  number = number %% #texts + 1
  return wrk.format("POST", "%s", {["Content-Type"] = "application/json"}, '{"text": "' .. texts[number] .. '"}')
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('RESULT {"requests": %%d, "seconds": %%f, "p50_ms": %%f, "p95_ms": %%f, "errors": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@contextmanager
def server(*flags: str) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of `nlptasks serve`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "nlptasks", "serve", "--port", str(port), *flags]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            while not _ready(url):
                assert process.poll() is None, "the server did not start"
                time.sleep(0.2)
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready").status_code == 200
    except httpx.TransportError:
        return False


def many_clients(url: str, process: psutil.Process, clients: int, seconds: int) -> dict[str, Any]:
    """What wrk measures when so many clients send a short text each, and the server's CPU time a request."""
    script = LOAD % (", ".join(f'"{text}"' for text in TEXTS), "/v1/tasks/sentiment")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        before = process.cpu_times()
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", file.name, url]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        after = process.cpu_times()
    [line] = [line for line in printed.splitlines() if line.startswith("RESULT ")]
    facts: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    spent = after.user + after.system - before.user - before.system
    rate = facts.pop("requests") / facts.pop("seconds")
    return {"a_second": rate, **facts, "cpu_ms_a_request": 1000 * spent / (rate * seconds)}


def list_rate(engine: Engine) -> float:
    """Texts a second of one list."""
    begin = time.perf_counter()
    engine.run("sentiment", TEXTS)
    return len(TEXTS) / (time.perf_counter() - begin)


def median_ms(call: Callable[[str], Any], texts: list[str]) -> float:
    """The median time of a call, in milliseconds."""
    times = []
    for text in texts:
        begin = time.perf_counter()
        call(text)
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times)


def one_text(url: str, engine: Engine) -> dict[str, float]:
    """The median time of one text by the engine and by a connection that stays open, in turns."""
    host = httpx.URL(url)
    connection = http.client.HTTPConnection(host.host, host.port)

    def post(text: str) -> None:
        connection.request(
            "POST", "/v1/tasks/sentiment", json.dumps({"text": text}), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()

    rounds = []
    for number in range(4):
        texts = TEXTS[number * 200 : number * 200 + 200]
        rounds.append((median_ms(lambda text: engine.run("sentiment", text), texts), median_ms(post, texts)))
    by_engine, by_server = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {"engine_ms": by_engine, "server_ms": by_server, "over_ms": by_server - by_engine}


def streams_beside_a_list(url: str, count: int) -> dict[str, Any]:
    """The seconds until each chat's first word while 2,000 texts are classified, and the list's rows."""
    rows: list[int] = []
    first: list[float] = []
    spoken: set[int] = set()

    def classify() -> None:
        for begin in range(0, len(TEXTS), 1000):
            body = {"inputs": TEXTS[begin : begin + 1000], "labels": ["praise", "complaint"]}
            answer = httpx.post(f"{url}/v1/tasks/classify", json=body, timeout=600)
            rows.append(len(answer.json()))

    def chat(number: int) -> None:
        body = {
            "model": "auto",
            "stream": True,
            "max_tokens": 64,
            "messages": [{"role": "user", "content": f"Tell me {number + 2} facts about lighthouses."}],
        }
        begin = time.perf_counter()
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=600) as answer:
            for line in answer.iter_lines():
                if not line.startswith("data: {") or number in spoken:
                    continue
                if json.loads(line[6:])["choices"][0]["delta"].get("content"):
                    spoken.add(number)
                    first.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    bulk = threading.Thread(target=classify)
    bulk.start()
    time.sleep(0.5)
    chats = [threading.Thread(target=chat, args=(number,)) for number in range(count)]
    for thread in chats:
        thread.start()
    for thread in chats:
        thread.join()
    chatted = time.perf_counter() - begin
    bulk.join()
    seconds = time.perf_counter() - begin
    return {"first_word_s": sorted(first), "chats_s": chatted, "list_s": seconds, "rows": sum(rows)}


def questions(url: str, count: int) -> dict[str, float]:
    """The median time of so many questions about one text, and of one."""
    state = " ".join(TEXTS[:6])
    topics = ("billing", "delivery", "taste", "noise", "staff", "price", "comfort", "safety", "colour", "speed")
    named = {
        f"q{number}": {
            "type": "choice",
            "instructions": f"What does the text say of {topics[number % 10]}?",
            "criteria": {"praise": None, "complaint": None, f"nothing about {topics[number // 2]}": None},
        }
        for number in range(count)
    }

    def ask(some: dict[str, Any], word: str) -> None:
        # A word of its own each time: answers and vectors of the state are not from a cache.
        body = {"model": "auto", "state": f"{state} {word}", "questions": some}
        assert httpx.post(f"{url}/v1/systemone", json=body, timeout=60).status_code == 200

    one = dict(list(named.items())[:1])
    ask(named, "first")
    words = [f"Number {number}." for number in range(15)]
    times = [(median_ms(lambda word: ask(one, word), words), median_ms(lambda word: ask(named, word), words))]
    times += [(median_ms(lambda word: ask(one, word), words), median_ms(lambda word: ask(named, word), words))]
    single, many = (statistics.median(column) for column in zip(*times, strict=True))
    return {"one_ms": single, f"of_{count}_ms": many, "ratio": many / single}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--seconds", type=int, default=15)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"cores": psutil.cpu_count(logical=False), "dtype": arguments.dtype}
    flags = ("--preload", "sentiment", "--dtype", arguments.dtype)
    with Engine(dtype=arguments.dtype) as engine, server(*flags) as (url, process):
        list_rate(engine)
        many_clients(url, process, 64, 3)
        rates, loads = [], []
        for _ in range(2):
            rates.append(list_rate(engine))
            loads.append(many_clients(url, process, 64, arguments.seconds))
        load = {name: statistics.mean(one[name] for one in loads) for name in loads[0]}
        figures["list_a_second"] = rates
        figures["64_clients"] = {**load, "of_list": load["a_second"] / statistics.mean(rates)}
        figures["one_text"] = one_text(url, engine)
    with server("--preload", "classify", "--preload", "generation") as (url, _):
        # Graphs are made, pipelines loaded, and each size of a step was met, before anything is measured.
        streams_beside_a_list(url, 1)
        streams_beside_a_list(url, 8)
        figures["8_chats_beside_2000_texts"] = streams_beside_a_list(url, 8)
        figures["20_questions"] = questions(url, 20)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
