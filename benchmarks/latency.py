"""What people wait for who ask for one text at a time: alone, many at once, beside a list, with mixed adapters.

    python benchmarks/latency.py [--dtype auto] [--rounds 3] [--only threads]

Prints JSON; times in milliseconds. `one_text` sets a call's time against the bare work on the same weights: the
tokenizer and the task model in this process. `threads` sets 64 threads that ask for a text a call against one list of
their texts. `adapters` sets requests for two adapters in random order against the same requests sorted by adapter.
`beside_a_list` is the time of short calls while a list is computed. Compared works take turns (A B A B).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import made_up

from nlptasks import Engine

TASK = "sentiment"


def sentences(count: int, chance: random.Random) -> list[str]:
    """Texts of the lengths of SST-2's sentences: 2 to 45 words, 19 on average."""
    return made_up([min(45, max(2, round(chance.gauss(19, 9)))) for _ in range(count)], chance)


def quantile(times: Sequence[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def milliseconds(times: Sequence[float]) -> dict[str, float]:
    shares = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    return {name: round(1000 * quantile(times, share), 2) for name, share in shares.items()}


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def one_text(engine: Engine, texts: Sequence[str], rounds: int) -> dict[str, Any]:
    """A call's time against tokenizer and task model alone."""
    with engine.bind(engine.plugins.task(TASK)) as bound:
        model: Any = bound
        resident = model._resident
        base, reader, _ = resident.worker.call(lambda: resident.reader("classify", model._adapter))

    def bare(text: str) -> None:
        encoded = base.tokenizer([text], truncation=False, verbose=False)
        reader(**{name: np.array(encoded[name], np.int64) for name in encoded}).logits.tolist()

    times: dict[str, list[float]] = {"bare": [], "call": []}
    for _ in range(rounds):
        for text in texts:
            times["bare"].append(timed(lambda text=text: bare(text)))
            times["call"].append(timed(lambda text=text: engine.run(TASK, text)))
    pairs = zip(times["bare"], times["call"], strict=True)
    return {
        **{name: milliseconds(measured) for name, measured in times.items()},
        "times_as_long": round(quantile(times["call"], 0.5) / quantile(times["bare"], 0.5), 2),
        "overhead_p50": round(1000 * statistics.median(call - bare for bare, call in pairs), 2),
    }


def at_once(requests: Sequence[Callable[[], object]], threads: int) -> tuple[float, list[float]]:
    """Requests a second, and each one's time, from threads that each ask for the next one when they have an answer."""
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        times = list(pool.map(timed, requests))
        return len(requests) / (time.perf_counter() - started), times


def many_threads(engine: Engine, texts: Sequence[str], rounds: int, threads: int = 64) -> dict[str, Any]:
    rates: dict[str, list[float]] = {"list": [], "threads": []}
    times: list[float] = []
    for _ in range(rounds):
        rates["list"].append(len(texts) / timed(lambda: engine.run(TASK, texts)))
        rate, measured = at_once([lambda text=text: engine.run(TASK, text) for text in texts], threads)
        rates["threads"].append(rate)
        times += measured
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        **{f"{name}_a_second": round(value) for name, value in medians.items()},
        "share": round(medians["threads"] / medians["list"], 2),
        **milliseconds(times),
        "p95_in_p50s": round(quantile(times, 0.95) / quantile(times, 0.5), 1),
    }


def mixed_adapters(engine: Engine, texts: Sequence[str], rounds: int, threads: int, spare: Path) -> dict[str, Any]:
    """Two adapters with weights of their own, one text a call."""
    other = spare / "other"
    if not other.exists():
        adapter, _ = engine.choose(engine.plugins.task(TASK), None, None)
        assert adapter
        shutil.copytree(adapter.path, other)
    requests = [(text, None if place % 2 else str(other)) for place, text in enumerate(texts)]
    orders = {"sorted": sorted(requests, key=lambda pair: pair[1] or ""), "mixed": requests[:]}
    random.Random(5).shuffle(orders["mixed"])
    rates: dict[str, list[float]] = {name: [] for name in orders}
    for _ in range(rounds):
        for name, order in orders.items():
            calls = [lambda pair=pair: engine.run(TASK, pair[0], adapter=pair[1]) for pair in order]
            rates[name].append(at_once(calls, threads)[0])
    medians = {name: statistics.median(values) for name, values in rates.items()}
    share = round(medians["mixed"] / medians["sorted"], 2)
    return {**{f"{name}_a_second": round(value) for name, value in medians.items()}, "share": share}


def beside_a_list(engine: Engine, texts: Sequence[str], calls: int = 20) -> dict[str, Any]:
    """Short calls while lists are computed one after the other."""
    alone = [timed(lambda text=text: engine.run(TASK, text)) for text in texts[:calls]]
    ended = threading.Event()

    def keep_busy() -> None:
        while not ended.is_set():
            engine.run(TASK, texts)

    thread = threading.Thread(target=keep_busy)
    thread.start()
    beside = []
    for text in texts[:calls]:
        time.sleep(0.05)
        beside.append(timed(lambda text=text: engine.run(TASK, text)))
    ended.set()
    thread.join()
    return {"alone": milliseconds(alone), "beside": milliseconds(beside)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("one_text", "threads", "adapters", "beside_a_list"))
    parser.add_argument("--texts", type=int, default=1000)
    arguments = parser.parse_args()
    texts = sentences(arguments.texts, random.Random(3))
    with Engine(dtype=arguments.dtype) as engine, tempfile.TemporaryDirectory() as folder:
        engine.run(TASK, texts[:64])
        works: dict[str, Callable[[], dict[str, Any]]] = {
            "one_text": lambda: one_text(engine, texts[:100], arguments.rounds),
            "threads": lambda: many_threads(engine, texts, arguments.rounds),
            "adapters": lambda: {
                f"{threads}_threads": mixed_adapters(engine, texts[:400], arguments.rounds, threads, Path(folder))
                for threads in (1, 32)
            },
            "beside_a_list": lambda: beside_a_list(engine, texts),
        }
        figures = {name: work() for name, work in works.items() if arguments.only in (None, name)}
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    print(json.dumps({**machine, "dtype": arguments.dtype, **figures}, indent=2))


if __name__ == "__main__":
    main()
