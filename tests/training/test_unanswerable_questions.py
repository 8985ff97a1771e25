"""The program that turns English questions so that their context does not answer them."""

from __future__ import annotations

import json
import random
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nlptasks.data.questions import read_questions
from nlptasks.data.tables import read_tables

PROGRAM = Path(__file__).parents[2] / "recipes" / "unanswerable_questions.py"
PROGRAM_NAMES = runpy.run_path(str(PROGRAM))
NEGATED: float = PROGRAM_NAMES["NEGATED"]


def turns(question: str, context: str = "Some gold.", tries: int = 200) -> list[str | None]:
    return [PROGRAM_NAMES["turned"](question, context, random.Random(seed)) for seed in range(tries)]


def test_a_word_is_turned_into_its_opposite() -> None:
    assert set(turns("Who ruled Kern before the war?")) == {"Who ruled Kern after the war?"}
    assert set(turns("Who won the largest prize?")) == {"Who lost the largest prize?", "Who won the smallest prize?"}
    assert set(turns("How old is the oldest mill?")) == {"How old is the youngest mill?"}, "how new it is asks the same"
    assert set(turns("Which year saw East Kern rise?")) == {"Which year saw East Kern fall?"}, "a name stays"


def test_an_opposite_that_the_passage_holds_is_not_asked_for() -> None:
    context = "The largest mill has gold, the smallest has none. It stood before the flood and After the fire."
    assert set(turns("Which is the largest mill?", context)) == {None, "Which isn't the largest mill?"}
    both = "Which was the largest mill before the flood in the old town?"
    assert set(turns(both, context)) == {"Which was the largest mill before the flood in the new town?"}


@pytest.mark.parametrize(
    ("question", "negated"),
    [
        ("Where did the mill burn?", "Where didn't the mill burn?"),
        ("Who can see what they have?", "Who can't see what they have?"),
        ("What will the miller do?", "What won't the miller do?"),
        ("What might the miller have?", None),
        ("What has the miller to do?", "What hasn't the miller to do?"),
        ("What shall we do?", None),
        ("The miller's name?", None),
    ],
)
def test_some_of_the_other_questions_are_negated(question: str, negated: str | None) -> None:
    made = turns(question, tries=2000)
    assert set(made) == {None, negated}
    if negated:
        assert made.count(negated) / len(made) == pytest.approx(NEGATED, abs=0.04)


@pytest.mark.parametrize(
    "question",
    [
        "Why did the miller not sleep?",
        "Why didn't the miller sleep?",
        "Why didn’t the miller sleep, as he could?",
        "Who has no mill?",
        "What is a day without bread?",
        "What could nobody say and none do?",
        "What did they see that cannot be?",
    ],
)
def test_a_negated_question_is_not_negated_again(question: str) -> None:
    assert set(turns(question)) == {None}


def test_rows_in_rows_out(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": str(year),
            "title": "Gold",
            "question": f"Who sold it before {year}?",
            "context": f"In {year} Ada sold her gold.",
            "answers": {"text": ["Ada"], "answer_start": [8]},
        }
        for year in range(1900, 1960)
    ]
    rows.append({"question": "Why?", "context": "In 1850 it rained.", "answers": {"text": [], "answer_start": []}})
    rows.append({"question": "Who sings?", "context": "Bo sings.", "answer": "Bo", "answer_start": 0})
    source, one, other = (tmp_path / name for name in ("rows.jsonl", "one.jsonl", "other.jsonl"))
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for out, seed in ((one, "1"), (other, "2")):
        command = [sys.executable, str(PROGRAM), str(source), str(out), "--share", "0.3333", "--seed", seed]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        assert result.stdout == "62 rows, and 29 made ones without an answer\n"
    assert one.read_text(encoding="utf-8") != other.read_text(encoding="utf-8")
    written = [json.loads(line) for line in one.read_text(encoding="utf-8").splitlines()]
    assert written[:62] == rows
    questions = {row["context"]: row["question"] for row in rows}
    turned = [row for row in written[62:] if "after" in row["question"] or "bought" in row["question"]]
    exchanged = [row for row in written[62:] if row not in turned]
    assert abs(len(turned) - len(exchanged)) == 1, "the ways take turns"
    assert {row["question"] in questions.values() for row in exchanged} == {True}, "another context's year"
    assert all(row["question"] != questions[row["context"]] for row in written[62:])
    # Training reads them as questions without an answer.
    read = read_questions(read_tables([str(one)]))
    assert [bool(row.answers) for row in read.rows] == [*[True] * 60, False, True, *[False] * 29]
