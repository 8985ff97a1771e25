"""`nlptasks.batch` against `Engine.run` on the same rows: rows per second, and peak memory by the number of rows.

    python benchmarks/batch.py [--rows 20000] [--rounds 3] [--dtype auto] [--memory 2000 200000]

Both run in this process, one after the other (A B A B ...); the batch reads a CSV file and writes a CSV file. With
--memory, a process for each number of rows prints its peak instead.
"""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from classification import sample_texts
from common import in_turns, print_times, ratio

from nlptasks import Engine, batch


def write_rows(path: Path, count: int) -> None:
    """Rows with an id and a text of SST-2's lengths; the texts repeat after 20,000."""
    texts = sample_texts(min(count, 20_000))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "text"])
        writer.writerows([number, texts[number % len(texts)]] for number in range(count))


def compare(count: int, rounds: int, dtype: str) -> None:
    """Time both, taking turns, and print medians and their ratio."""
    with tempfile.TemporaryDirectory() as folder, Engine(dtype=dtype) as engine:
        source, output = Path(folder) / "rows.csv", Path(folder) / "answers.csv"
        write_rows(source, count)
        texts = sample_texts(count)
        engine.run("sentiment", texts[:64])
        works = {
            "batch": lambda: batch("sentiment", str(source), output, engine=engine, restart=True),
            "run": lambda: engine.run("sentiment", texts),
        }
        times = in_turns(works, rounds)
    print_times(times, count)
    print(f"ratio    {ratio(times, 'run', 'batch'):.2f} of the rows/s of Engine.run")


def peak(count: int, dtype: str) -> None:
    """Print the peak memory of a batch in this process."""
    with tempfile.TemporaryDirectory() as folder, Engine(dtype=dtype) as engine:
        source = Path(folder) / "rows.csv"
        write_rows(source, count)
        batch("sentiment", str(source), Path(folder) / "answers.csv", engine=engine)
    print(f"{count:>9,} rows: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB at most", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--memory", type=int, nargs="*", help="numbers of rows")
    arguments = parser.parse_args()
    counts = arguments.memory or []
    if len(counts) == 1:
        peak(counts[0], arguments.dtype)
    for count in counts if len(counts) > 1 else []:
        command = [sys.executable, __file__, "--dtype", arguments.dtype, "--memory", str(count)]
        subprocess.run(command, check=True)
    if not counts:
        compare(arguments.rows, arguments.rounds, arguments.dtype)


if __name__ == "__main__":
    main()
