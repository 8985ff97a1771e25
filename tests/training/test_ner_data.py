"""The program that makes the shipped ner adapter's rows: three types, and other names in known rows."""

from __future__ import annotations

import json
import random
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"
PLACE = "country, city or region"


@pytest.fixture(scope="module")
def program() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPES))
        return runpy.run_path(str(RECIPES / "ner_data.py"))


def row(program: dict[str, Any], marked: str, *labels: str) -> Any:
    """A row of a text with [names] in brackets and their labels."""
    text, mentions = "", []
    for index, piece in enumerate(marked.replace("]", "[").split("[")):
        if index % 2:
            mentions.append(program["Mention"](len(text), len(text) + len(piece), labels[index // 2]))
        text += piece
    return program["Row"](text, mentions)


def names(made: Any) -> list[tuple[str, str]]:
    return [(made.text[mention.start : mention.end], mention.label) for mention in made.mentions]


@pytest.mark.parametrize(
    ("marked", "whole"),
    [
        ("The mayor of [Kern] resigned .", True),
        ("The mayor of Kern resigned . Nobody minded , I think .", False),
        ("They left . Nobody minded , I think .", True),
        ('He said : " Go home " .', True),
        ("The [Kern] Mill is old .", False),
    ],
)
def test_a_row_with_an_unmarked_capital_is_not_marked_whole(program: dict[str, Any], marked: str, whole: bool) -> None:
    assert program["marked_whole"](row(program, marked, PLACE)) is whole


def test_types_become_three_and_an_adjective_is_no_place(program: dict[str, Any]) -> None:
    types = program["TYPES"]["few_nerd_inter"]
    made = program["mapped"](
        row(
            program,
            "[Danish] and [Romans] saw [Ada Holm] of [Kern Ltd] in [Oman] and [Sudan] on [Mars]",
            *(PLACE, PLACE, "politician", "company", PLACE, PLACE, "astronomical object"),
        ),
        types,
    )
    assert names(made) == [("Ada Holm", "PER"), ("Kern Ltd", "ORG"), ("Oman", "LOC"), ("Sudan", "LOC")]
    assert program["mapped"](row(program, "[Kern Inn] in [Kern]", "hotel", PLACE), types) is None, "firm or place?"


def test_a_sign_before_a_name_is_part_of_it(program: dict[str, Any]) -> None:
    made = program["with_signs"](row(program, "RT @ [ada] : @[bo] met [Cy] @ noon", "PER", "ORG", "PER"))
    assert names(made) == [("@ ada", "PER"), ("@bo", "ORG"), ("Cy", "PER")]
    assert names(program["with_signs"](made)) == names(made)


def test_persons_names_have_titles_initials_and_hyphens(program: dict[str, Any]) -> None:
    known = [row(program, "[Ada Holm] met [Bea Lind] in [Kern]", "PER", "PER", "LOC")]
    make = program["Names"](known, random.Random(1))
    forms = {make.person() for _ in range(2000)}
    wanted = {("Dr. ", "Holm"), ("Mrs. ", "Ada Lind"), ("", "A. B. Holm"), ("", "Ada-Bea Lind"), ("", "Bea Lind-Holm")}
    assert wanted <= forms
    assert not any(title in name.split() for title in program["TITLES"] for _, name in forms), "no part of a name"


def test_names_are_exchanged_for_others_of_their_type(program: dict[str, Any]) -> None:
    known = [row(program, "[Ada Holm] of [Kern Ltd] and [Orr] , [@ada] , [99]", "PER", "ORG", "LOC", "PER", "ORG")]
    make = program["Names"](known, random.Random(1))
    assert {make("Ham", "LOC") for _ in range(50)} == {("", "Ham"), ("", "Orr")}
    assert {make("Pub", "ORG") for _ in range(50)} == {("", "Pub"), ("", "Kern Ltd")}
    assert {make("@bo", "PER") for _ in range(50)} == {("", "@bo")}, "handles stay"


def test_a_row_has_other_names_at_their_places(program: dict[str, Any]) -> None:
    met = row(program, "[Ada Holm] met Ms. [Bea Lind] in [Kern]", "PER", "PER", "LOC")
    others = iter([("Dr. ", "Holm-Lind"), ("Dr. ", "A. Holm"), ("", "Sund")])
    made = program["rewritten"](met, lambda name, label: next(others))
    assert made.text == "Dr. Holm-Lind met Ms. A. Holm in Sund", "one title is enough"
    assert names(made) == [("Holm-Lind", "PER"), ("A. Holm", "PER"), ("Sund", "LOC")]


def write(folder: Path, split: str, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows), encoding="utf-8")


def test_files_share_no_text_with_each_other_and_the_tests(
    program: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tagged(number: int, **fields: str) -> dict[str, Any]:
        return {"tokens": ["Ada", "Holm", "saw", f"hill{number}"], "tags": ["B-PER", "I-PER", "O", "O"], **fields}

    sets = tmp_path / "sets"
    sets.mkdir()
    source = {"source": "wikigold"}
    write(sets / program["MIXTURE"], "train", [tagged(number, **source) for number in range(200)])
    write(sets / program["MIXTURE"], "test", [tagged(number, **source) for number in range(20)])
    write(sets / program["TWEETS"], "test", [tagged(301)])
    write(sets / program["TWEETS"], "validation", [tagged(302), tagged(303)])
    for name, types in program["TYPES"].items():
        label = next(label for label, kind in types.items() if kind == "PER" or name == "snips_slots")
        lines = [tagged(number) for number in range(300, 340)]
        for line in lines:
            line["tags"] = [tag.replace("PER", label) for tag in line["tags"]]
        write(sets / name, "train", lines)
    files = [tmp_path / "train.jsonl", tmp_path / "validation.jsonl"]
    written = []
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["ner_data.py", *map(str, (sets, *files))])
        program["main"]()
        written.append([path.read_text(encoding="utf-8") for path in files])
    assert written[0] == written[1]
    training, held_out = ([json.loads(line) for line in text.splitlines()] for text in written[0])
    texts = [{line["text"] for line in part} for part in (training, held_out)]
    assert not texts[0] & texts[1]
    tests = {f"Ada Holm saw hill{number}" for number in (*range(20), 301)}
    assert not tests & (texts[0] | texts[1])
    assert {"Ada Holm saw hill302", "Ada Holm saw hill303"} <= texts[1]
    assert len(held_out) == round(0.06 * 180) + 2 + 5 * 2, "of the mixture, the tweets, and the other sets"
    assert {entity["label"] for line in training for entity in line["entities"]} <= {"PER", "ORG", "LOC"}
    assert any("Ada Holm" not in line["text"] for line in training), "copies with other names"
