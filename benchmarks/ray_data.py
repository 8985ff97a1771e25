"""Ray with two actors of one core against `nlptasks.batch` on two cores: rows a second, start left out, and memory.

    python benchmarks/ray_data.py [--rows 50000] [--rounds 2] [--task sentiment] [--part-rows 1024]

All three take turns on this machine (A B C A B C ...). The first fifth of the rows is not counted: actors start and
load their models there. Few rows need small parts, for what an actor has under way at that moment is counted. For each
actor of the first batch: its memory, and how much of it no other process shares; for the driver: the rows that it hands
out and writes for each second of its own CPU.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import ray
from classification import sample_texts

import nlptasks.ray
from nlptasks import BatchProgress, Engine, batch
from nlptasks.ray import Cluster

ACTORS = 2
SKIPPED = 0.2


def rate(steps: list[tuple[float, int]]) -> float:
    """Rows a second from the first step that has the skipped share of all rows on."""
    last = steps[-1]
    first = next(step for step in steps if step[1] >= SKIPPED * last[1])
    return (last[1] - first[1]) / (last[0] - first[0])


def memory() -> Iterator[str]:
    """A line for each actor of a batch."""
    for process in psutil.Process().children(recursive=True):
        if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::_BatchActor"):
            used = process.memory_full_info()
            yield " ".join(f"{name} {getattr(used, name) >> 20} MiB" for name in ("rss", "pss", "uss"))


def batch_rate(
    engine: Engine, task: str, texts: list[str], size: int, cluster: Cluster | None, sizes: list[str]
) -> float:
    steps: list[tuple[float, int]] = []
    driver: list[tuple[float, int]] = []

    def note(progress: BatchProgress) -> None:
        steps.append((time.perf_counter(), progress.saved))
        driver.append((time.process_time(), progress.saved))
        if cluster and progress.saved > len(texts) / 2 and not sizes:
            sizes.extend(memory())

    with tempfile.TemporaryDirectory() as folder:
        batch(task, texts, Path(folder) / "answers.csv", engine=engine, part_rows=size, ray=cluster, progress=note)
    if cluster:
        sizes.append(f"driver {rate(driver):,.0f} rows for each second of its CPU")
    return rate(steps)


def dataset_rate(engine: Engine, task: str, texts: list[str], size: int) -> float:
    rows = ray.data.from_items([{"text": text} for text in texts], override_num_blocks=-(-len(texts) // size))
    answers = nlptasks.ray.map(rows, task, engine=engine, concurrency=ACTORS, num_cpus=1, batch_size=size)
    steps, count = [], 0
    for block in answers.iter_batches(batch_size=None, batch_format="pyarrow"):
        count += block.num_rows
        steps.append((time.perf_counter(), count))
    return rate(steps)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--task", default="sentiment")
    parser.add_argument("--part-rows", type=int, default=1024)
    arguments = parser.parse_args()
    size = arguments.part_rows
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray's processes would give way to all others, this one among them.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    # A third CPU for what Ray Data does beside the actors; the machine has no more cores for it.
    ray.init(address="local", num_cpus=ACTORS + 1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    texts = sample_texts(arguments.rows)
    sizes: list[str] = []
    rates: dict[str, list[float]] = {}
    with Engine() as engine:
        engine.run(arguments.task, texts[:64])
        works: dict[str, Callable[[], float]] = {
            "batch": lambda: batch_rate(engine, arguments.task, texts, size, None, sizes),
            "batch --ray": lambda: batch_rate(engine, arguments.task, texts, size, Cluster(actors=ACTORS), sizes),
            "ray.map": lambda: dataset_rate(engine, arguments.task, texts, size),
        }
        for _ in range(arguments.rounds):
            for name, work in works.items():
                rates.setdefault(name, []).append(work())
                print(name, round(rates[name][-1]), flush=True)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Ray {ray.__version__}, {arguments.rows} rows")
    for name, measured in rates.items():
        share = [one / base for one, base in zip(measured, rates["batch"], strict=True)]
        every = [round(one) for one in measured]
        print(f"{name:12} {statistics.median(measured):6.0f} rows/s {every}  share {statistics.median(share):.2f}")
    print(*sizes, sep="\n")
    ray.shutdown()


if __name__ == "__main__":
    main()
