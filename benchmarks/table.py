"""The table of docs/performance.md: every benchmark of speed, what each figure was to reach, and whether it did.

    python benchmarks/table.py [--quick] [--only writing,latency] [--output bench.json]

Runs the scripts beside it one after the other, prints a line for each figure and keeps all of them as JSON, with the
machine and the versions. A figure whose peer is not installed (`make bench-peers`) is "not measured".
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

SCRIPTS: dict[str, tuple[list[str], list[str]]] = {
    "remote": (["--rounds", "3"], ["--rounds", "1", "--prompts", "8", "--tokens", "4"]),
    "writing": (["--rounds", "3", "--list", "100"], ["--rounds", "1", "--list", "24"]),
    "reading": (["--rounds", "3"], ["--rounds", "1", "--texts", "400"]),
    "latency": (["--rounds", "3"], ["--rounds", "1", "--texts", "200"]),
    "six_tasks": ([], []),
}
"""Each script's arguments, and those of --quick."""

PACKAGES = ("nlptasks", "torch", "transformers", "openvino", "openvino-genai", "ctranslate2", "onnxruntime")
PEERS = ("llama-cpp-python",)

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Goal:
    """A figure computed from a script's JSON, and what it is to reach: at least, or at most, `reach`."""

    work: str
    script: str
    value: Callable[[Figures], float]
    reach: float
    most: bool = False

    def line(self, figures: Mapping[str, Figures]) -> str:
        """The figure, its goal, and whether it is reached."""
        try:
            value = self.value(figures[self.script])
        except KeyError:
            return f"{self.work:78} not measured"
        reached = value <= self.reach if self.most else value >= self.reach
        sign = "at most" if self.most else "at least"
        return f"{self.work:78} {value:8.2f}  {sign} {self.reach:<6g} {'reached' if reached else 'NOT REACHED'}"


def _of(who: str, what: str, peer: str, of_peer: str = "") -> Callable[[Figures], float]:
    return lambda figures: figures[who][what] / figures[peer][of_peer or what]


GOALS = (
    Goal("1 stream of 128 tokens, times llama.cpp's pace", "writing", _of("nlptasks", "one_stream", "llama_cpp"), 0.85),
    Goal("the same, times torch's pace", "writing", _of("nlptasks", "one_stream", "torch"), 1.0),
    Goal(
        "8 streams at once, times llama.cpp's one stream",
        "writing",
        _of("nlptasks", "eight_streams", "llama_cpp", "one_stream"),
        3.0,
    ),
    Goal(
        "8 streams at once, times one stream",
        "writing",
        _of("nlptasks", "eight_streams", "nlptasks", "one_stream"),
        3.0,
    ),
    Goal(
        "8 streams that begin together, seconds to the last one's first word",
        "writing",
        lambda figures: figures["nlptasks"]["last_first_word_seconds"],
        1.0,
        most=True,
    ),
    Goal(
        "the same beside a list, seconds",
        "writing",
        lambda figures: figures["nlptasks"]["last_first_word_beside_a_list_seconds"],
        1.5,
        most=True,
    ),
    Goal(
        "a prompt of 1,000 tokens, times llama.cpp's pace",
        "writing",
        _of("nlptasks", "prompt_of_1000", "llama_cpp"),
        4.5,
    ),
    Goal("the same, times torch's pace", "writing", _of("nlptasks", "prompt_of_1000", "torch"), 1.0),
    Goal(
        "second turn after 1,000 tokens, time to the first word, share of the first turn's",
        "writing",
        _of("nlptasks", "second_turn_seconds", "nlptasks", "first_turn_seconds"),
        0.15,
        most=True,
    ),
    Goal(
        "translation of 500 sentences (--translations), times CTranslate2 by hand",
        "translation_speed",
        lambda figures: figures["of CTranslate2 by hand"],
        0.85,
    ),
    Goal(
        "classify 2,000 texts, times ONNX Runtime in 8 bits",
        "reading",
        lambda figures: figures["texts_a_second"]["nlptasks"] / figures["texts_a_second"]["onnx_int8"],
        1.5,
    ),
    Goal(
        "the same, times the pipeline of transformers",
        "reading",
        lambda figures: figures["texts_a_second"]["nlptasks"] / figures["texts_a_second"]["pipeline"],
        10,
    ),
    Goal(
        "one short text a call, p50, times tokenizer and bare model",
        "latency",
        lambda figures: figures["one_text"]["times_as_long"],
        1.5,
        most=True,
    ),
    Goal(
        "64 threads, one text a call, share of one list's pace",
        "latency",
        lambda figures: figures["threads"]["share"],
        0.7,
    ),
    Goal("the same, p95 in p50s", "latency", lambda figures: figures["threads"]["p95_in_p50s"], 3, most=True),
    Goal(
        "two adapters mixed at random, share of the pace when sorted",
        "latency",
        lambda figures: min(row["share"] for row in figures["adapters"].values()),
        0.6,
    ),
    Goal(
        "64 chats on nlptasks serve, eight at once, times the rate here",
        "remote",
        lambda figures: figures["share"],
        0.85,
    ),
    Goal(
        "six tasks resident, peak in MB",
        "six_tasks",
        lambda figures: max(figures["peak_mb"].values()),
        1300,
        most=True,
    ),
)


def run(script: str, arguments: list[str]) -> Figures:
    """The JSON that a script prints."""
    path = Path(__file__).with_name(f"{script}.py")
    process = subprocess.run([sys.executable, str(path), *arguments], stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(process.stdout[process.stdout.index("{") :])
    return figures


def processor() -> str:
    """The CPU's name, and what its instructions offer to 8-bit and bfloat16 products."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    known = [
        flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8") if flag in flags
    ]
    return f"{name}, {os.cpu_count()} CPUs, {' '.join(known)}"


def versions() -> dict[str, str]:
    """Versions of the engines and peers that are installed."""
    installed = {}
    for package in (*PACKAGES, *PEERS):
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few texts and one round: whether it runs, no figures")
    parser.add_argument("--only", default=",".join(SCRIPTS), help="scripts, separated by commas")
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    parser.add_argument("--translations", type=Path, help="the FILE of translation_speed.py; without it, left out")
    arguments = parser.parse_args()
    figures = {}
    if arguments.translations:
        figures["translation_speed"] = run("translation_speed", [str(arguments.translations)])
    for script in arguments.only.split(","):
        print(f"{script} ...", file=sys.stderr, flush=True)
        figures[script] = run(script, SCRIPTS[script][arguments.quick])
    report = {"machine": processor(), "versions": versions(), **figures}
    arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"{report['machine']}; {', '.join(f'{name} {value}' for name, value in versions().items())}")
    for goal in GOALS:
        if goal.script in figures or goal.script == "translation_speed":
            print(goal.line(figures))


if __name__ == "__main__":
    main()
