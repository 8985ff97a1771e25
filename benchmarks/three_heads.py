"""What three tasks on one resident base cost: memory against one task and three models, time of a mixed load.

    python benchmarks/three_heads.py [--dtype auto] [--requests 300] [--threads 12] [--rounds 3]

Memory is the highest resident memory of a fresh process, libraries included. All read the same texts: with one task,
with all three on one base, and with three separate models, each adapter merged into a base of its own by plain PEFT.
Time is that of requests of all three tasks in random order, from many threads, against the same requests sorted by
task. A task that ships no adapter gets one with random weights of its recipe's shape.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import adapter_of, in_turns, made_up, merged_checkpoint, print_times, ratio

from nlptasks import Engine
from nlptasks.plugins import default_plugins
from nlptasks.runtime.loading.base import HEAD_CLASSES
from nlptasks.store.adapters import AdapterFolder

TASKS = ("sentiment", "ner", "qa")
READ = 64
"""Texts of each task that are read to see the memory that it takes."""

BATCH = 8
"""Texts in a batch of plain transformers: few, so that activations do not decide."""


def texts_of(task: str, count: int) -> list[str]:
    """Texts as a task gets them: of 3 to 90 words, half of them below 18; for questions contexts of 40 to 200 words."""
    chance = random.Random(task)
    if task == "qa":
        return made_up([chance.randint(40, 200) for _ in range(count)], chance)
    return made_up([max(3, min(90, round(chance.lognormvariate(2.9, 0.7)))) for _ in range(count)], chance)


def input_of(task: str, text: str) -> Any:
    """What a task is given to read a text."""
    return {"question": "Who wrote the music?", "context": text} if task == "qa" else text


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=300, help="of each task")
    parser.add_argument("--threads", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="auto", help="numbers of the resident base; separate models have float32")
    parser.add_argument("--reader", choices=sorted(READERS), help=argparse.SUPPRESS)
    parser.add_argument("--places", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reader:
        READERS[arguments.reader](arguments.places, arguments.dtype)
        print(peak_memory())
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        adapters = {task: adapter_of(task, folder / task) for task in TASKS}
        compare_memory(adapters, folder, arguments.dtype)
        compare_time(adapters, arguments)


# Memory


def compare_memory(adapters: dict[str, AdapterFolder], folder: Path, dtype: str) -> None:
    """Print what each way of reading the same texts takes at most."""
    places = {task: str(adapter.path) for task, adapter in adapters.items()}
    merged = {task: str(merged_checkpoint(adapters[task], folder / f"merged-{task}")) for task in TASKS}
    alone = {task: in_a_process("resident", {task: places[task]}, dtype) for task in TASKS}
    together = in_a_process("resident", places, dtype)
    separate = in_a_process("separate", merged, dtype)
    for task, taken in alone.items():
        print(f"{task + ' alone':24} {taken / 2**20:5.0f} MiB")
    print(
        f"{'three heads on one base':24} {together / 2**20:5.0f} MiB  {together / alone[TASKS[0]]:.2f} times {TASKS[0]}"
    )
    print(
        f"{'three separate models':24} {separate / 2**20:5.0f} MiB  {separate / alone[TASKS[0]]:.2f} times {TASKS[0]}"
    )


def in_a_process(reader: str, places: dict[str, str], dtype: str) -> int:
    """Bytes that a fresh process took at most."""
    command = [sys.executable, __file__, "--reader", reader, "--places", json.dumps(places), "--dtype", dtype]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def peak_memory() -> int:
    """The highest resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux's getrusage also counts what the process that started this one had.
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def read_resident(adapters: dict[str, str], dtype: str) -> None:
    """Read the texts of all tasks twice on one resident base, each with its own task, or all with the only one."""
    tasks = list(adapters)
    with Engine(dtype=dtype) as engine:
        for place, kind in enumerate([*TASKS, *TASKS]):
            task = tasks[place % len(tasks)]
            engine.run(task, [input_of(task, text) for text in texts_of(kind, READ)], adapter=adapters[task])


def read_separate(checkpoints: dict[str, str], _: str) -> None:
    """Read the texts of all tasks twice, each task with a model of its own, in plain transformers."""
    import torch
    import transformers

    loaded = {}
    for task, place in checkpoints.items():
        model_class = getattr(transformers, HEAD_CLASSES[default_plugins().task(task).verb])
        loaded[task] = transformers.AutoTokenizer.from_pretrained(place), model_class.from_pretrained(place).eval()
    for task in [*TASKS, *TASKS]:
        tokenizer, model = loaded[task]
        inputs = [input_of(task, text) for text in texts_of(task, READ)]
        rows = [tuple(fields.values()) if isinstance(fields, dict) else (fields,) for fields in inputs]
        for start in range(0, READ, BATCH):
            columns = map(list, zip(*rows[start : start + BATCH], strict=True))
            with torch.inference_mode():
                model(**tokenizer(*columns, padding=True, truncation=True, return_tensors="pt"))


READERS = {"resident": read_resident, "separate": read_separate}


# Time


def compare_time(adapters: dict[str, AdapterFolder], arguments: argparse.Namespace) -> None:
    """Time requests of one text each, in random order and sorted by task, and print both and their ratio."""
    ordered = [(task, input_of(task, text)) for task in TASKS for text in texts_of(task, arguments.requests)]
    mixed = random.Random(0).sample(ordered, len(ordered))
    with Engine(dtype=arguments.dtype) as engine, ThreadPoolExecutor(arguments.threads) as pool:

        def answer(request: tuple[str, Any]) -> Any:
            task, fields = request
            return engine.run(task, fields, adapter=str(adapters[task].path))

        works = {
            "sorted by task": lambda: list(pool.map(answer, ordered)),
            "mixed": lambda: list(pool.map(answer, mixed)),
        }
        # Loading is not what is compared.
        for task in TASKS:
            answer((task, input_of(task, "Any text.")))
        times = in_turns(works, arguments.rounds)
    print_times(times, len(ordered), "requests")
    print(f"mixed takes {ratio(times, 'mixed', 'sorted by task'):.2f} times as long; {arguments.threads} threads ask")


if __name__ == "__main__":
    main()
