"""The program that makes the shipped qa adapter's rows: questions that their context does not answer."""

from __future__ import annotations

import json
import random
import runpy
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

RECIPES = Path(__file__).parents[2] / "recipes"

TOWN = (
    "The mill of Kern was built by Ada Holm beside the river Orr. "
    "In winter the miller, Bo Lind, sold flour to the villages of Upper Kern. "
    "The wheel was carried off by a flood and found again in a field near Sund."
)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(RECIPES))
    return runpy.run_path(str(RECIPES / "qa_data.py"))


def row(question: str, answer: str, context: str = TOWN, **fields: str) -> dict[str, Any]:
    answers = {"text": [answer], "answer_start": [context.index(answer)]}
    return {"id": question, "title": "", "question": question, "context": context, "answers": answers, **fields}


def test_a_passage_without_the_sentence_of_the_answer(program: dict[str, Any]) -> None:
    rest = program["without"](row("Who built the mill of Kern?", "Ada Holm"))
    assert rest == TOWN.partition("Orr. ")[2]
    assert program["without"](row("Which mill was built?", "Kern")) is None, "two of three sentences have it: too short"


def test_a_name_is_exchanged_for_one_of_a_sentence_without_the_answer(program: dict[str, Any]) -> None:
    asked = row("Who built the mill of Kern?", "Ada Holm")
    questions = {program["exchanged"](asked, random.Random(seed)) for seed in range(50)}
    assert questions == {f"Who built the mill of {name}?" for name in ("Bo Lind", "Upper Kern", "Sund")}
    assert program["exchanged"](row("Who built it?", "Ada Holm"), random.Random(0)) is None


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("What villages did the miller serve?", "How many villages did the miller serve?"),
        ("Which kinds of old mills are near Kern?", "How many old mills are near Kern?"),
        ("Where did the flood carry the wheel?", "When did the flood carry the wheel?"),
        ("Who built the mill?", None),
        ("What does the river do?", None),
    ],
)
def test_a_number_or_time_that_the_passage_does_not_state(
    program: dict[str, Any], question: str, asked: str | None
) -> None:
    timeless = TOWN.replace("In winter the", "The")
    assert program["counted"](row(question, "Kern", timeless)) == asked
    assert program["counted"](row(question, "Kern", f"{timeless} It had two doors in 1801.")) is None


def test_the_most_similar_other_passage_without_the_answer(program: dict[str, Any]) -> None:
    contexts = [TOWN, "Ada Holm also built a bridge.", "A bridge spans the Orr.", "Bees make honey."]
    rows = [row("Who built the mill?", "Ada Holm"), *(row("What?", text, text) for text in contexts[1:])]
    vectors = {text: [1.0 - place / 10, place / 10] for place, text in enumerate([*contexts])}

    def embed(texts: list[str]) -> Any:
        return np.asarray([vectors.get(text, [1.0, 0.0]) for text in texts])

    [(asked, passage)] = program["most_similar"](rows, embed, 1)
    assert (asked["question"], passage) == ("Who built the mill?", contexts[2])


def test_both_files_hold_every_kind_on_different_contexts(
    program: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(name: str, rows: list[dict[str, Any]], file: str = "train") -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{file}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    places = [f"{TOWN} It stands at place{number}." for number in range(150)]
    for name in program["MOST"]:
        rows = [row(f"Who built the mill of Kern in {name}?", "Ada Holm", f"{place} {name}.") for place in places]
        none = {"text": [], "answer_start": []}
        mislead = [{**one, "question": "Who burnt the mill of Kern?", "answers": none} for one in rows]
        write(name, [*rows, *(mislead if name == "squad_v2.0_train_sample" else [])])
    write("boolq", [{"question": "is it old", "passage": f"{place} Old.", "answer": True} for place in places * 4])
    write("dolly", [{"instruction": "Is it?", "context": f"{place} New.", "response": "No."} for place in places])
    sentences = [{"text": f"{text}.", "label": int("Ada" in text)} for text in TOWN.split(". ")]
    write("selqa_rerank", [{"query": f"Who {n}?", "candidates": sentences} for n in range(20)], "validation")
    main = program["main"]
    monkeypatch.setitem(main.__globals__, "embedder", lambda: lambda texts: np.eye(1, 4).repeat(len(texts), 0))
    files = [tmp_path / "train.jsonl", tmp_path / "validation.jsonl"]
    monkeypatch.setattr(sys, "argv", ["qa_data.py", str(tmp_path), *map(str, files)])
    main()
    train, held = ([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in files)
    kinds = Counter(one["kind"] for one in train)
    assert set(kinds) >= {"answered", "written", "article", "yes_or_no", "exchanged", "without"}
    assert all((one["kind"] == "answered") == bool(one["answers"]["text"]) for one in [*train, *held])
    assert 0 < kinds["exchanged"] <= program["TRAINED"]["exchanged"]
    written = [one["context"] for one in train if one["kind"] == "written"]
    assert set(Counter(written).values()) == {program["WRITTEN"]}
    plain = {"answered", "written", "yes_or_no", "exchanged"}
    assert not {one["context"] for one in train if one["kind"] in plain} & {
        one["context"] for one in held if one["kind"] in plain
    }
    assert "train.jsonl" in capsys.readouterr().out
