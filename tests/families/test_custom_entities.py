"""examples/custom-entities: its data is sound, and its commands do what its page says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nlptasks.families.spans import words
from nlptasks.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "custom-entities"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("name", "count"), [("orders.jsonl", 50), ("test.jsonl", 10)])
def test_every_span_is_made_of_whole_words(name: str, count: int) -> None:
    assert len(rows(name)) == count
    for row in rows(name):
        bounds = words(row["text"])
        for span in row["spans"]:
            assert span["label"] in {"PRODUCT", "QUANTITY", "DATE"}
            assert span["start"] in {start for start, _ in bounds}, row
            assert span["end"] in {end for _, end in bounds}, row


def test_no_held_out_sentence_is_among_the_training_sentences() -> None:
    assert not {row["text"] for row in rows("orders.jsonl")} & {row["text"] for row in rows("test.jsonl")}


def test_the_page_shows_a_line_of_the_data() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    [line] = re.findall(r"^```json\n(.*)\n```$", page, flags=re.MULTILINE)
    assert line in (FOLDER / "orders.jsonl").read_text(encoding="utf-8").splitlines()


@pytest.mark.full
@pytest.mark.long
@pytest.mark.embedded
def test_the_commands_of_the_page(embedded_settings: Settings) -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```console\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, flags=re.MULTILINE):
        pattern = ".*".join(re.escape(part) for part in expected.rstrip().split("..."))
        printed = shell(command, embedded_settings)
        assert re.fullmatch(pattern, printed.rstrip(), flags=re.DOTALL), printed
    # Words that stand in no training sentence, in an order that none has.
    unseen = "Before next Wednesday, could you send three rolls of copper tape?"
    result = json.loads(shell(f'nlptasks run ner -a orders "{unseen}" --json', embedded_settings))
    assert [(one["label"], one["text"]) for one in result["entities"]] == [
        ("DATE", "next Wednesday"),
        ("QUANTITY", "three rolls"),
        ("PRODUCT", "copper tape"),
    ]
    measure = "nlptasks eval ner examples/custom-entities/test.jsonl -a orders --json"
    # The lowest of seven measured runs was 0.86.
    assert json.loads(shell(measure, embedded_settings))["metrics"]["f1"] > 0.75


def shell(command: str, settings: Settings) -> str:
    env = {**os.environ, "NLPTASKS_DATA": str(settings.data), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    process = subprocess.run(["bash", "-c", command], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout
