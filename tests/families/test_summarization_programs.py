"""The programs around the shipped summarization adapter: its training rows, and what its benchmark counts."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = "The harbour town voted on Tuesday to close its last pier after a long and bitter debate. " * 3
SUMMARY = "The town closes its last pier"


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def test_training_rows_are_short_documents_with_whole_sentences(tmp_path: Path) -> None:
    good = [{"document": f"{number} {DOCUMENT}", "summary": SUMMARY} for number in range(900)]
    lists = [{"document": DOCUMENT, "summary": summary} for summary in ("1. It closes\n2. It is sad", "It closes.[3]")]
    long = [{"document": DOCUMENT * 20, "summary": SUMMARY}, {"document": DOCUMENT, "summary": DOCUMENT}]
    write(tmp_path / "sets", "scitldr", good)
    for name in ("dolly_summarization", "mts_dialog", "qmsum_query"):
        write(tmp_path / "sets", name, [*lists, *long, {"document": DOCUMENT, "summary": f"{SUMMARY} ({name})."}])
    program = [sys.executable, str(ROOT / "recipes" / "summarization_data.py"), str(tmp_path / "sets")]
    for out in ("one.jsonl", "two.jsonl"):
        subprocess.run([*program, str(tmp_path / out)], check=True, capture_output=True)
    first = (tmp_path / "one.jsonl").read_text(encoding="utf-8")
    assert first == (tmp_path / "two.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in first.splitlines()]
    assert len(rows) == 800 + 3
    assert {row["summary"] for row in rows} == {
        f"{SUMMARY}.",
        *(f"{SUMMARY} ({name})." for name in ("dolly_summarization", "mts_dialog", "qmsum_query")),
    }


def test_the_benchmark_finds_faulty_summaries() -> None:
    pytest.importorskip("rouge_score")
    program = runpy.run_path(str(ROOT / "benchmarks" / "summarization.py"))
    text = "One came. Two left. Three stayed. Four slept."
    assert program["lead"](text) == "One came. Two left. Three stayed."
    summaries = ["One came.", "", "Three stayed and", f"{text} All said.", 'He said "go."']
    assert program["faults"]([text] * 5, summaries) == {"empty": 1, "cut": 2, "longer": 1}
