"""Reading entities: every format, tags repaired, misaligned spans listed, moved or refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlptasks.data import Row, Table
from nlptasks.data.entities import (
    EntityRow,
    EntitySpan,
    read_entities,
    spans_of_tags,
    tags_of_spans,
    words,
)
from nlptasks.data.tables import Findings, read_tables
from nlptasks.errors import DataError

TEXT = "Ada Byron met Tom in Oslo"
SPANS = [(0, 9, "PER"), (14, 17, "PER"), (21, 25, "LOC")]
TAGS = ["B-PER", "I-PER", "O", "B-PER", "O", "B-LOC"]


def read(*sources: Path, **options: Any) -> Findings[EntityRow]:
    return read_entities(read_tables([str(source) for source in sources]), **options)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def write_rows(path: Path, *rows: Any) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def found(examples: Findings[EntityRow]) -> list[tuple[str, list[tuple[int, int, str]]]]:
    return [(row.text, [(span.start, span.end, span.label) for span in row.spans]) for row in examples.rows]


def problems(caught: pytest.ExceptionInfo[DataError], folder: Path) -> list[str]:
    return [problem.removeprefix(f"{folder}/") for problem in caught.value.problems]


def label_studio(*results: dict[str, Any], **annotation: Any) -> dict[str, Any]:
    return {"data": {"text": TEXT}, "annotations": [{"result": list(results), **annotation}]}


SHAPES = {
    "tokens": {"tokens": TEXT.split(), "tags": TAGS},
    "hub": {"id": "1", "words": TEXT.split(), "ner_tags": TAGS},
    "doccano": {"text": TEXT, "label": [list(span) for span in SPANS]},
    "doccano_objects": {
        "text": TEXT,
        "entities": [{"id": 1, "start_offset": s, "end_offset": e, "label": name} for s, e, name in SPANS],
        "relations": [],
    },
    "prodigy": {
        "text": TEXT,
        "tokens": [{"text": "Ada", "start": 0, "end": 3, "id": 0}],
        "spans": [{"start": s, "end": e, "label": name, "token_start": 0} for s, e, name in SPANS],
        "answer": "accept",
    },
    "spacy": [TEXT, {"entities": SPANS}],
    "spacy_object": {"text": TEXT, "entities": SPANS},
    "label_studio_min": {
        "id": 7,
        "text": TEXT,
        "label": [{"start": s, "end": e, "text": TEXT[s:e], "labels": [name]} for s, e, name in SPANS],
        "annotator": 1,
    },
    "label_studio": label_studio(
        *(
            {"type": "labels", "value": {"start": s, "end": e, "text": TEXT[s:e], "labels": [name]}}
            for s, e, name in reversed(SPANS)
        ),
        {"type": "relation", "from_id": "a", "to_id": "b"},
        {"type": "choices", "value": {"choices": ["news"]}},
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.jsonl.gz"])
def test_every_shape_gives_the_same_row(tmp_path: Path, shape: str, name: str) -> None:
    row = json.dumps(SHAPES[shape])
    content = (f"[{row}]" if name.endswith(".json") else row).encode()
    file = tmp_path / name
    file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    examples = read(file)
    assert found(examples) == [(TEXT, SPANS)]
    assert examples.rows[0].tokens == tuple(words(TEXT))
    assert (examples.problems, examples.notes) == ([], [])


GLINER = {"tokenized_text": TEXT.split(), "ner": [[0, 1, "PER"], [3, 3, "PER"], [5, 5, "LOC"]]}


def test_spans_of_tokens(tmp_path: Path) -> None:
    spaced = {"tokenized_text": ["New  York", "", "!"], "ner": [[0, 2, "LOC"], [0, 0, "LOC"]]}
    examples = read(write_rows(tmp_path / "rows.jsonl", GLINER, spaced, {"tokenized_text": ["a"], "ner": []}))
    assert found(examples) == [(TEXT, SPANS), ("New York  !", [(0, 11, "LOC")]), ("a", [])]
    assert examples.rows[1].tokens == ((0, 8), (10, 11))
    assert "overlaps 0..11" in examples.notes[1]
    rows = [{**GLINER, "ner": ner} for ner in ([[0, 6, "X"]], [[2, 1, "X"]], [[0, 1]], [[-1, 0, "X"]], "X")]
    with pytest.raises(DataError) as caught:
        read(write_rows(tmp_path / "rows.jsonl", *rows, {"tokenized_text": [" "], "ner": []}))
    assert problems(caught, tmp_path) == [
        f"rows.jsonl:{line}: {fault}"
        for line, fault in enumerate(
            [
                *(
                    f"ner: expected spans [first token, last token, label], found {span}."
                    for span in ("[0, 6, 'X'] (list)", "[2, 1, 'X'] (list)", "[0, 1] (list)", "[-1, 0, 'X'] (list)")
                ),
                "ner: expected spans [first token, last token, label], found 'X' (str).",
                "tokenized_text: expected a text, found none.",
            ],
            start=1,
        )
    ]


@pytest.mark.parametrize(
    ("head", "numbers"),
    [
        ("sentence_id,words,labels", "000000"),
        ("Sentence #,Word,Tag", "1     "),
        ("sentence_id,token,ner_tags", "aaaaaa"),
    ],
)
def test_a_token_a_row(tmp_path: Path, head: str, numbers: str) -> None:
    lines = [f"{number.strip()},{token},{tag}" for number, token, tag in zip(numbers, TEXT.split(), TAGS, strict=True)]
    file = write(tmp_path / "rows.csv", "\n".join([head, *lines, "9,Rome,B-LOC", "9,!,O", ""]))
    examples = read(file)
    assert found(examples) == [(TEXT, SPANS), ("Rome !", [(0, 4, "LOC")])]
    assert [row.place for row in examples.rows] == [f"{file}:2", f"{file}:8"]
    with pytest.raises(DataError, match=r"rows\.csv:2: tag of 'Ada': expected O, or B-"):
        read(write(file, f"{head}\n0,Ada,PERSON\n"))


@pytest.mark.parametrize("name", ["rows.conll", "rows.bio", "rows.iob", "rows.txt", "rows.txt.gz"])
@pytest.mark.parametrize("gap", ["\t", " ", " _ X "])
def test_columns(tmp_path: Path, name: str, gap: str) -> None:
    lines = [f"{token}{gap}{tag}" for token, tag in zip(TEXT.split(), TAGS, strict=True)]
    head = ["-DOCSTART- -X- O", "", "# id = 1"]
    content = "\r\n".join([*head, *lines, "", "", "# id = 2", f"#{gap}O", f"Rome{gap}B-LOC"]).encode()
    file = tmp_path / name
    file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    examples = read(file)
    assert found(examples) == [(TEXT, SPANS), ("# Rome", [(2, 6, "LOC")])]
    assert [row.place for row in examples.rows] == [f"{file}:4", f"{file}:13"]


def test_bad_columns_are_listed_and_prose_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.conll"
    file.write_bytes(b"Ada B-PER\nsang\nin x O\n\nRome LOC\n\ncaf\xe9 O\n")
    with pytest.raises(DataError) as caught:
        read(file)
    assert problems(caught, tmp_path) == [
        "rows.conll:2: expected a token and a tag in columns, found one column ('sang').",
        "rows.conll:3: expected 2 columns as in the first line, found 3.",
        "rows.conll:5: tag of 'Rome': expected O, or B-, I-, E-, S-, L- or U- and a type, found 'LOC'.",
        "rows.conll:7: expected UTF-8, found other bytes; "
        "save the file as UTF-8, or give --encoding cp1252, which reads 'café O'.",
    ]
    with pytest.raises(DataError, match="expected a token and a tag"):
        read(write(tmp_path / "prose.txt", "Ada sang.\n"))


@pytest.mark.parametrize(
    ("tags", "meant"),
    [
        ("I-PER I-PER O I-LOC", "B-PER I-PER O B-LOC"),
        ("I-PER B-PER I-PER I-LOC", "B-PER B-PER I-PER B-LOC"),
        ("B-PER E-PER O S-LOC", "B-PER I-PER O B-LOC"),
        ("B-PER I-PER L-PER U-LOC", "B-PER I-PER I-PER B-LOC"),
        ("S-PER I-PER E-PER I-PER", "B-PER B-PER I-PER B-PER"),
        ("O E-PER L-LOC B-LOC", "O B-PER B-LOC B-LOC"),
        ("B-creative-work I-creative-work O O", "B-creative-work I-creative-work O O"),
    ],
)
def test_every_scheme_is_read_and_repaired(tags: str, meant: str) -> None:
    tokens = words("one two three four")
    assert tags_of_spans(tokens, spans_of_tags(tokens, tags.split())) == meant.split()


def test_repairs_and_blank_tokens_are_noted(tmp_path: Path) -> None:
    row = {"tokens": ["in", " ", "New York", "e\u0301te"], "tags": ["O", "O", "I-LOC", "O"]}
    examples = read(write_rows(tmp_path / "rows.jsonl", row, {"tokens": [""], "tags": ["O"]}))
    assert found(examples) == [("in New York e\u0301te", [(3, 11, "LOC")])]
    assert examples.notes == [
        "1 span without a beginning tag (B-) begin at their first token",
        "2 blank tokens left out",
        "1 row without any token left out",
    ]


def test_numbers_as_tags_need_names(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", {"tokens": ["Rome"], "ner_tags": [1]})
    with pytest.raises(DataError, match=r"rows\.jsonl:1: ner_tags: expected names such as B-PER, found the number 1"):
        read(file)
    tables = read_tables([str(file)])
    tables[0].class_names["ner_tags"] = ("O", "B-LOC")
    assert found(read_entities(tables)) == [("Rome", [(0, 4, "LOC")])]


MISALIGNED = [
    ((4, 7, "PER"), "span 4..7 'mmy' of PER begins inside a word; nearest: 2..7 'Jimmy'"),
    ((2, 9, "PER"), "span 2..9 'Jimmy P' of PER ends inside a word; nearest: 2..7 'Jimmy'"),
    ((1, 8, "PER"), "span 1..8 ' Jimmy ' of PER begins in white space and ends in white space; nearest: 2..7 'Jimmy'"),
    ((15, 99, "X"), "span 15..99 '' of X is out of range (the text has 15 characters); nearest: 14..15 '.'"),
    ((-3, 1, "X"), "span -3..1 'O' of X is out of range (the text has 15 characters); nearest: 0..1 'O'"),
    ((7, 2, "PER"), "span 7..2 '' of PER is reversed; nearest: 2..7 'Jimmy'"),
    ((14, 14, "X"), "span 14..14 '' of X is empty; nearest: 14..15 '.'"),
]


@pytest.mark.parametrize(("span", "line"), MISALIGNED)
def test_misaligned_spans_are_shown_with_the_nearest(tmp_path: Path, span: tuple[int, int, str], line: str) -> None:
    text = "O Jimmy Parker."
    file = write_rows(tmp_path / "rows.jsonl", {"text": text, "label": []}, {"text": text, "label": [span]})
    with pytest.raises(DataError, match="1 of 1 spans are misaligned") as caught:
        read(file)
    assert problems(caught, tmp_path) == [f"rows.jsonl:2: {line}"]
    moved = read(file, allow_misaligned=True)
    assert moved.problems == [f"{file}:2: {line}"]
    (only,) = moved.rows[1].spans
    assert line.endswith(f"nearest: {only.start}..{only.end} {text[only.start : only.end]!r}")


def test_a_span_goes_where_its_stated_text_is(tmp_path: Path) -> None:
    text = "🙂 Tom saw Tomas and Tom."
    row = {"text": text, "spans": [{"start": 20, "end": 23, "label": "PER", "text": "Tom"}]}
    moved = read(write_rows(tmp_path / "rows.jsonl", row), allow_misaligned=True)
    assert found(moved) == [(text, [(20, 23, "PER")])]
    row["spans"] = [{"start": 18, "end": 21, "label": "PER", "text": "Tom"}]
    moved = read(write_rows(tmp_path / "rows.jsonl", row), allow_misaligned=True)
    assert found(moved) == [(text, [(20, 23, "PER")])]
    assert moved.problems[0].endswith("span 18..21 'd T' of PER is stated as 'Tom'; nearest: 20..23 'Tom'")


@pytest.mark.parametrize(("bad", "refused"), [(1, False), (2, True), (30, True)])
def test_one_span_in_a_hundred_may_be_moved(tmp_path: Path, bad: int, refused: bool) -> None:
    rows = [{"text": "Rome", "label": [[1 if index < bad else 0, 4, "LOC"]]} for index in range(100)]
    file = write_rows(tmp_path / "rows.jsonl", *rows)
    note = f"{bad} of 100 spans are misaligned"
    if refused:
        with pytest.raises(DataError, match=rf"{note} \({bad}.0%\), at most 1% may be") as caught:
            read(file)
        assert len(caught.value.problems) == bad
        assert str(caught.value).count("begins inside a word") == min(bad, 20)
    examples = read(file, allow_misaligned=refused)
    assert examples.notes == [f"{note} and were moved to the nearest valid place"]
    assert len(examples.problems) == bad
    assert found(examples) == [("Rome", [(0, 4, "LOC")])] * 100


def test_of_overlapping_spans_the_longest_is_kept(tmp_path: Path) -> None:
    spans = [(0, 3, "PER"), (0, 9, "ORG"), (21, 25, "LOC"), (21, 25, "LOC"), (21, 25, "GPE")]
    file = write_rows(tmp_path / "rows.jsonl", {"text": TEXT, "label": spans})
    examples = read(file)
    assert found(examples) == [(TEXT, [(0, 9, "ORG"), (21, 25, "LOC")])]
    assert examples.notes == [
        "3 spans left out; of overlapping spans the longest is kept",
        f"{file}:1: span 21..25 'Oslo' of LOC repeats 21..25 'Oslo' of LOC",
        f"{file}:1: span 21..25 'Oslo' of GPE overlaps 21..25 'Oslo' of LOC",
        f"{file}:1: span 0..3 'Ada' of PER overlaps 0..9 'Ada Byron' of ORG",
    ]


def test_refused_annotations_are_not_learnt(tmp_path: Path) -> None:
    refused = {**SHAPES["prodigy"], "answer": "reject"}  # type: ignore[dict-item]
    result = {"value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}}
    unread = {"data": {"text": TEXT}, "annotations": []}
    rows = [refused, {"text": TEXT, "answer": "accept"}, label_studio(result, was_cancelled=True), unread]
    examples = read(write_rows(tmp_path / "rows.jsonl", *rows))
    assert found(examples) == [(TEXT, [])]
    assert examples.notes == ["3 rows left out that the annotator rejected, ignored or did not reach"]


def test_a_cancelled_annotation_beside_another_is_noted(tmp_path: Path) -> None:
    first, other = (
        {"value": {"start": start, "end": end, "text": TEXT[start:end], "labels": ["PER"]}}
        for start, end in ((0, 9), (14, 17))
    )
    task = label_studio(first)
    task["annotations"] += [{"result": [other], "was_cancelled": True}, {"result": [], "was_cancelled": True}]
    examples = read(write_rows(tmp_path / "rows.jsonl", task, label_studio(other)))
    assert found(examples) == [(TEXT, [(0, 9, "PER")]), (TEXT, [(14, 17, "PER")])]
    assert examples.notes == ["2 cancelled annotations left out of rows that have another"]


def test_repeated_rows_are_kept(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", SHAPES["tokens"], SHAPES["tokens"])
    assert found(read(file, file)) == [(TEXT, SPANS)] * 4


def test_every_bad_row_is_listed(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"tokens": ["a"], "tags": ["O", "O"]},
        {"tokens": ["a"], "tags": "O"},
        {"tokens": ["a"], "tags": [None]},
        {"sentence": "a"},
        {"text": " ", "label": []},
        {"text": 5, "label": []},
        {"text": "a", "label": "PER"},
        {"text": "a", "label": [[0, 1]]},
        {"text": "a", "label": [[0, "1", "X"]]},
        {"text": "a", "label": [[0, 1, ""]]},
        {"data": {"a": "x", "b": "y"}, "annotations": [{"result": []}]},
        {"data": {"text": "a"}, "annotations": [{"result": None}]},
        [1],
        {"words": "['a']", "labels": "['O']"},
    ]
    with pytest.raises(DataError, match="14 bad rows; nothing was loaded") as caught:
        read(write_rows(tmp_path / "rows.jsonl", *rows))
    assert problems(caught, tmp_path) == [
        f"rows.jsonl:{line}: {text}"
        for line, text in enumerate(
            [
                "expected as many tags as tokens, found 2 tags and 1 tokens.",
                "tags: expected a list of tags, found 'O' (str).",
                "tags: expected a tag such as O or B-PER, found none.",
                "expected tokens with tags, or a text with one of spans, entities, label; found the fields sentence.",
                "text: expected a text, found none.",
                "text: expected a text, found 5 (int).",
                "label: expected a list of spans, found 'PER' (str).",
                "label: expected spans with start, end and label, found [0, 1] (list).",
                "label: expected whole numbers as start and end, found [0, '1', 'X'] (list).",
                "label: expected a span's label, found '' (str).",
                "data.text: expected a text, found {'a': 'x', 'b': 'y'} (dict).",
                "result: expected a list of objects, found none.",
                "expected a JSON object, found list.",
                """words: expected a list of texts, found "['a']" (str).""",
            ],
            start=1,
        )
    ]
    with pytest.raises(DataError, match="rows, found none"):
        read_entities([Table("empty.jsonl")])


def test_words() -> None:
    text = "Ünï-co\u0301de, it's 🙂!"
    assert [text[start:end] for start, end in words(text)] == ["Ünï", "-", "códe", ",", "it", "'", "s", "🙂", "!"]


TEXTS = st.text(alphabet="aé\u0301\u200d1_.-' \n\xa0🙂", max_size=30)


@given(TEXTS, st.data())
def test_spans_of_words_survive_tags(text: str, data: st.DataObject) -> None:
    tokens = words(text)
    assert all(text[start:end].strip() == text[start:end] != "" for start, end in tokens)
    spans, index = [], 0
    while index < len(tokens):
        last = data.draw(st.integers(index, len(tokens) - 1))
        if data.draw(st.booleans()):
            spans.append(EntitySpan(data.draw(st.sampled_from("XY")), tokens[index][0], tokens[last][1]))
        index = last + 1
    assert spans_of_tags(tokens, tags_of_spans(tokens, spans)) == spans


@given(TEXTS.filter(words), st.integers(-5, 40), st.integers(-5, 40))
def test_any_span_is_moved_to_words(text: str, start: int, end: int) -> None:
    table = Table("t", ("text", "label"), [Row("t:1", {"text": text, "label": [[start, end, "X"]]})])
    examples = read_entities([table], allow_misaligned=True)
    (span,) = examples.rows[0].spans
    assert span.start in {first for first, _ in words(text)}
    assert span.end in {last for _, last in words(text)}
    assert span.start < span.end
    assert bool(examples.problems) == ((span.start, span.end) != (start, end))


def test_a_stated_text_may_have_another_normal_form(tmp_path: Path) -> None:
    text = "With Zoe\u0301 K."
    row = {"text": text, "spans": [{"start": 5, "end": 9, "label": "PER", "text": "Zoé"}]}
    examples = read(write_rows(tmp_path / "rows.jsonl", row))
    assert (found(examples), examples.problems) == ([(text, [(5, 9, "PER")])], [])
