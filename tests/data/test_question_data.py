"""Reading questions: SQuAD files, flat rows, answers looked for, moved or refused."""

from __future__ import annotations

import gzip
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from nlptasks.data import Table
from nlptasks.data.questions import QuestionRow, read_questions
from nlptasks.data.tables import Findings, read_tables
from nlptasks.errors import DataError

CONTEXT = "The mill stood in Kern. The mill burned in 1912."
ASKED = {"id": "q1", "question": "Where did it stand?", "context": CONTEXT}
EXPECTED = [("q1", "Where did it stand?", CONTEXT, (("Kern", 18),))]


def read(*sources: Path, **options: Any) -> Findings[QuestionRow]:
    return read_questions(read_tables([str(source) for source in sources]), **options)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def write_rows(path: Path, *rows: Any) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def found(examples: Findings[QuestionRow]) -> list[tuple[Any, ...]]:
    return [(row.id, row.question, row.context, row.answers) for row in examples.rows]


def problems(caught: pytest.ExceptionInfo[DataError], folder: Path) -> list[str]:
    return [problem.removeprefix(f"{folder}/") for problem in caught.value.problems]


@pytest.mark.parametrize(
    "answers",
    [
        {"answers": {"text": ["Kern"], "answer_start": [18]}},
        {"answers": {"text": ["Kern"], "answer_start": [18]}, "is_impossible": False},
        {"answers": {"text": ["Kern"]}},
        {"answers": [{"text": "Kern", "answer_start": 18}]},
        {"answer": "Kern", "answer_start": 18},
        {"answer": "Kern"},
    ],
)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.jsonl.gz"])
def test_flat_rows(tmp_path: Path, answers: dict[str, Any], name: str) -> None:
    row = json.dumps({**ASKED, **answers})
    content = (f"[{row}]" if name.endswith(".json") else row).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    examples = read(tmp_path / name)
    assert found(examples) == EXPECTED
    assert (examples.problems, examples.notes) == ([], [])


def squad(*questions: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "v2.0",
        "data": [{"title": "Mill", "paragraphs": [{"context": CONTEXT, "qas": list(questions)}]}],
    }


def test_squad(tmp_path: Path) -> None:
    answered = {"id": "q1", "question": "Where did it stand?", "answers": [{"text": "Kern", "answer_start": 18}]}
    impossible = {
        "id": "q2",
        "question": "Who built it?",
        "answers": [],
        "plausible_answers": [{"text": "Kern", "answer_start": 18}],
        "is_impossible": True,
    }
    file = write(tmp_path / "squad.json", json.dumps(squad(answered, impossible)))
    examples = read(file)
    assert found(examples) == [*EXPECTED, ("q2", "Who built it?", CONTEXT, ())]
    assert examples.rows[1].place == f"{file}: item 1, paragraph 1, question 2"
    assert examples.notes == ["1 of 2 questions have no answer in their context"]


def test_csv_looks_for_answers(tmp_path: Path) -> None:
    lines = [
        "question,context,answer,answer_start,is_impossible",
        "What burned?,the mill and the mill,the mill,,",
        "What burned?,the mill and the mill,the mill,13,false",
        "Who?,the mill,,,true",
    ]
    file = write(tmp_path / "rows.csv", "\n".join(lines))
    examples = read(file)
    assert [row.answers for row in examples.rows] == [(("the mill", 0),), (("the mill", 13),), ()]
    assert (
        [row.id for row in examples.rows] == [row.place for row in examples.rows] == [f"{file}:{n}" for n in (2, 3, 4)]
    )


MISALIGNED = [
    ("The mill", 20, "answer 'The mill' at 20, where the context has 'rn. The '; nearest: 24 'The mill'"),
    ("kern", 17, "answer 'kern' at 17, where the context has ' Ker'; nearest: 18 'Kern'"),
    ("in  1912", 99, "answer 'in  1912' at 99, where the context has ''; nearest: 40 'in 1912'"),
    ("Kern", -1, "answer 'Kern' at -1, where the context has 'The'; nearest: 18 'Kern'"),
]


@pytest.mark.parametrize(("text", "start", "line"), MISALIGNED)
def test_misaligned_answers_are_shown_with_the_nearest(tmp_path: Path, text: str, start: int, line: str) -> None:
    file = write_rows(tmp_path / "rows.jsonl", {**ASKED, "answers": {"text": [text], "answer_start": [start]}})
    with pytest.raises(DataError, match=r"1 of 1 answers are misaligned \(100.0%\), at most 1% may be") as caught:
        read(file)
    assert problems(caught, tmp_path) == [f"rows.jsonl:1: {line}"]
    moved = read(file, allow_misaligned=True)
    ((there, place),) = moved.rows[0].answers
    assert line.endswith(f"nearest: {place} {there!r}")
    assert CONTEXT[place:].startswith(there)
    assert moved.notes == ["1 of 1 answers are misaligned and were moved to the nearest valid place"]


def test_one_answer_in_a_hundred_may_be_moved(tmp_path: Path) -> None:
    rows = [{**ASKED, "id": n, "answers": {"text": ["Kern"], "answer_start": [18 + (n < 2)]}} for n in range(200)]
    examples = read(write_rows(tmp_path / "rows.jsonl", *rows))
    assert {row.answers for row in examples.rows} == {(("Kern", 18),)}
    assert len(examples.problems) == 2
    with pytest.raises(DataError, match="2 of 199 answers"):
        read(write_rows(tmp_path / "rows.jsonl", *rows[:-1]))


def test_an_answer_that_may_stand_in_several_places_is_noted(tmp_path: Path) -> None:
    rows = "question,context,answer,answer_start\nWhen?,Begun in 1901 and ended in 1901.,1901,{}\n"
    [note] = read(write(tmp_path / "rows.csv", rows.format(""))).notes
    assert note == "the context has 1 answer without answer_start several times, and the first place is learnt"
    stated = read(write(tmp_path / "rows.csv", rows.format(27)))
    assert (stated.notes, stated.rows[0].answers) == ([], (("1901", 27),))


def test_repeated_ids_are_kept_and_noted(tmp_path: Path) -> None:
    row = {**ASKED, "answer": "Kern"}
    examples = read(write_rows(tmp_path / "rows.jsonl", row, row))
    assert found(examples) == EXPECTED * 2
    assert examples.notes == ["1 ids occur more than once: q1; all their rows are used"]


def test_every_bad_row_is_listed(tmp_path: Path) -> None:
    answers: list[dict[str, Any]] = [
        {"answer": "Lund"},
        {"answer": "Lund", "answer_start": 3},
        {"answer": "Kern", "answer_start": "x"},
        {"answer": "Kern", "is_impossible": True},
        {"answers": {"text": [], "answer_start": []}, "is_impossible": False},
        {"answers": {"text": ["Kern"], "answer_start": [1, 2]}},
        {"answers": {"text": [5]}},
        {"answers": 7},
        {"answer": "Kern", "is_impossible": "perhaps"},
        {},
        {"answer": "Kern", "context": " "},
        {"paragraphs": 5},
        {"qas": [5]},
    ]
    file = write_rows(tmp_path / "rows.jsonl", *({**ASKED, **row} for row in answers), {"text": "a"})
    with pytest.raises(DataError, match="14 bad rows; nothing was loaded") as caught:
        read(file)
    assert problems(caught, tmp_path) == [
        "rows.jsonl:1: answer 'Lund': expected a text of the context, found no place that has it.",
        "rows.jsonl:2: answer 'Lund' at 3: expected a text of the context, found no place that has it.",
        "rows.jsonl:3: answer_start: expected a whole number, found 'x' (str).",
        "rows.jsonl:4: is_impossible: expected no answer beside true, found 'Kern'.",
        "rows.jsonl:5: answers: expected an answer, because is_impossible is false, found none.",
        "rows.jsonl:6: answer_start: expected 1 numbers, one for each answer, found [1, 2] (list).",
        "rows.jsonl:7: answers: expected a text, found 5 (int).",
        'rows.jsonl:8: answers: expected {"text": [...], "answer_start": [...]}, found 7 (int).',
        "rows.jsonl:9: is_impossible: expected true or false, found 'perhaps' (str).",
        "rows.jsonl:10: expected the field answers or answer, found id, question, context.",
        "rows.jsonl:11: context: expected a text, found ' ' (str).",
        "rows.jsonl:12: paragraphs: expected a list, found 5 (int).",
        "rows.jsonl:13, question 1: expected an object, found 5 (int).",
        "rows.jsonl:14: expected the fields question, context and answers, found text.",
    ]
    with pytest.raises(DataError, match="rows, found none"):
        read_questions([Table("empty.json")])


@pytest.mark.parametrize(("form", "other"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize(("answer", "start"), [("Zoé 김", 4), ("Zoé 김", None)])
def test_an_answer_is_found_in_another_normal_form(
    tmp_path: Path, form: str, other: str, answer: str, start: int | None
) -> None:
    context = unicodedata.normalize(form, "By: Zoé 김, 1912.")
    row = {**ASKED, "context": context, "answer": unicodedata.normalize(other, answer), "answer_start": start}
    examples = read(write_rows(tmp_path / "rows.jsonl", row))
    assert [answers for *_, answers in found(examples)] == [((unicodedata.normalize(form, answer), 4),)]
    assert examples.problems == []
    moved = read(write_rows(tmp_path / "rows.jsonl", {**row, "answer_start": 2}), allow_misaligned=True)
    assert [answers for *_, answers in found(moved)] == [((unicodedata.normalize(form, answer), 4),)]
    assert len(moved.problems) == 1
