"""The programs around the shipped summarization adapter: its training rows, and what its benchmarks count."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nlptasks import Engine, Settings
from nlptasks.families.summaries.facts import Facts
from nlptasks.testing import FakeBackend

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


@pytest.fixture(scope="module")
def everyday() -> dict[str, Any]:
    pytest.importorskip("rouge_score")
    return runpy.run_path(str(ROOT / "benchmarks" / "everyday_summaries.py"))


def test_everyday_references_keep_their_facts_and_invent_none(everyday: dict[str, Any]) -> None:
    rows = everyday["read"]()
    assert len(rows) == 40
    for row in rows:
        assert 80 <= len(row["text"].split()) <= 300, row["text"]
        for fact in row["keep"]:
            assert everyday["keeps"](row["text"], fact), (fact, row["text"])
            assert everyday["keeps"](row["summary"], fact), (fact, row["summary"])
        assert Facts(row["text"]).missing(row["summary"]) == [], row["summary"]


@pytest.mark.parametrize(
    ("text", "fact", "kept"),
    [
        ("It costs 18600 euros.", "18,600", True),
        ("It starts on May 12-14.", "12 to 14 May", True),
        ("It starts on March 8th, at 16:15.", "8 March", True),
        ("It ends at 8:30.", "30", False),
        ("It costs 1,225 euros.", "25", False),
        ("It was postponed.", "postpone", True),
        ("The overwater pipe", "water", False),
    ],
)
def test_facts_are_kept_in_any_usual_spelling(everyday: dict[str, Any], text: str, fact: str, kept: bool) -> None:
    assert everyday["keeps"](text, [fact]) is kept


def test_everyday_summaries_print_base_and_adapter_side_by_side(
    everyday: dict[str, Any], settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Ada called on Monday. The pump broke on 3 May. A new one costs 40 euros. Bo pays for it."
    rows = [{"kind": "notice", "text": text, "summary": "A new pump costs 40 euros.", "keep": [["pump"], ["40"]]}]
    wrote = {
        None: "Zoe paid 50 euros for a pump. Zoe paid 60 euros for a pump.",
        "summarization": "A pump costs 40 euros.",
    }

    class Backend(FakeBackend):
        def bind(self, base: Any, adapter: Any, **arguments: Any) -> Any:
            self._make.keywords["completions"] = lambda _: wrote[adapter and adapter.name]
            return super().bind(base, adapter, **arguments)

    with Engine(settings=settings, backend=Backend(kind="causal", max_tokens=2000)) as engine:
        written = everyday["measure"](engine, rows, [None], {"check_facts": "false"})
    assert written["bare"] == [wrote[None]]
    assert written["summarization"] == [wrote["summarization"]]
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    header, lead, bare, adapter = lines[1:5]
    assert header[2:6] == ["kept", "invented", "repeated", "copied"]
    # The base's numbers are not in the text; its second sentence has nearly the words of the first.
    assert (lead[0], lead[3:7]) == ("lead-3", ["100.0", "0.0", "0.0", "100.0"])
    assert (bare[0], bare[3:7]) == ("bare", ["50.0", "100.0", "50.0", "0.0"])
    assert (adapter[0], adapter[3:7]) == ("summarization", ["100.0", "0.0", "0.0", "0.0"])
