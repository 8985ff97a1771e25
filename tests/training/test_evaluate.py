"""`evaluate` for every family: exact spans by seqeval, SQuAD's scores, labels by any name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from nlptasks import QuestionAnswering, TokenClassification
from nlptasks.cli import cli
from nlptasks.data.entities import EntityRow, EntitySpan
from nlptasks.data.labelled_texts import DataOptions
from nlptasks.data.questions import QuestionRow
from nlptasks.errors import DataError
from nlptasks.families.spans import iob2
from nlptasks.results import Answer, AnswerSpan, Entities, Entity
from nlptasks.training.families.question_answering import QuestionAnsweringTrainer, QuestionDataset
from nlptasks.training.families.token_classification import EntityDataset, TokenClassificationTrainer
from tests.tiny_adapters import extractor_adapter, tagger_adapter
from tests.training_rows import write_csv

TEXT = "Ada Byron met Tom Moor in New York-based offices"
Span = tuple[str, int, int]


class People(TokenClassification):
    """People and places."""

    name = "people"
    labels = ("PER", "LOC")
    examples = ("Ada met Tom.",)


class Asked(QuestionAnswering):
    """Answers."""

    name = "asked"
    examples = ({"question": "Who?", "context": "Ada met Tom."},)


def entity_row(*spans: Span, text: str = TEXT) -> EntityRow:
    return EntityRow("here", text, tuple(EntitySpan(*span) for span in sorted(spans, key=lambda s: s[1])), ())


def entities(*spans: Span, text: str = TEXT, score: float = 0.9) -> Entities:
    ordered = sorted(spans, key=lambda span: span[1])
    return Entities(entities=tuple(Entity(label=n, text=text[s:e], start=s, end=e, score=score) for n, s, e in ordered))


def assess(gold: list[Span], actual: list[Span]) -> Any:
    read = EntityDataset([entity_row(*gold)], iob2(("PER", "LOC")))
    return TokenClassificationTrainer(People()).assess(read, [entities(*actual)])


ADA, TOM, YORK = ("PER", 0, 9), ("PER", 14, 22), ("LOC", 26, 34)


@pytest.mark.parametrize(
    ("actual", "precision", "recall"),
    [
        ([ADA, TOM, YORK], 1, 1),
        ([ADA, TOM], 1, 2 / 3),
        ([("PER", 0, 3), TOM, YORK], 2 / 3, 2 / 3),  # One border is wrong.
        ([("LOC", 0, 9), TOM, YORK], 2 / 3, 2 / 3),  # The type is wrong.
        ([ADA, TOM, ("LOC", 26, 40)], 2 / 3, 2 / 3),  # The whole word "York-based" is more than its span.
        ([ADA, ("PER", 10, 13), TOM, YORK], 3 / 4, 1),
        ([], 0, 0),
    ],
)
def test_only_a_span_with_its_type_and_both_borders_counts(actual: list[Span], precision: float, recall: float) -> None:
    measured = assess([ADA, TOM, YORK], actual).metrics
    assert measured["precision"] == pytest.approx(precision)
    assert measured["recall"] == pytest.approx(recall)


def test_neighbours_of_one_type_are_two_entities() -> None:
    both = [("PER", 0, 3), ("PER", 4, 9)]
    assert assess(both, both).metrics["f1"] == 1
    assert assess(both, [("PER", 0, 9)]).metrics["f1"] == 0


@pytest.mark.long
@given(st.data())
def test_the_scores_are_those_of_sets_of_spans(data: st.DataObject) -> None:
    def drawn() -> list[Span]:
        cuts = sorted(data.draw(st.sets(st.sampled_from([0, 3, 4, 9, 10, 13, 14, 22, 26, 34, 35, 40]), max_size=8)))
        pairs = [
            pair
            for pair in zip(cuts[::2], cuts[1::2], strict=False)
            if TEXT[slice(*pair)] == TEXT[slice(*pair)].strip()
        ]
        return [(data.draw(st.sampled_from(["PER", "LOC"])), start, end) for start, end in pairs]

    gold, actual = drawn(), drawn()
    right = len(set(gold) & set(actual))
    measured = assess(gold, actual)
    assert measured.metrics["precision"] == pytest.approx(right / len(actual) if actual else 0)
    assert measured.metrics["recall"] == pytest.approx(right / len(gold) if gold else 0)
    assert sum(entry["rows"] for entry in measured.table) == len(gold)


def test_a_score_is_measured_against_what_is_right() -> None:
    assert assess([ADA], [ADA]).metrics["ece"] == pytest.approx(0.1)
    assert assess([ADA], [TOM]).metrics["ece"] == pytest.approx(0.9)


def answer(text: str, null_score: float, *, answerable: bool = True, score: float = 0.8) -> Answer:
    span = AnswerSpan(text=text, start=0, end=len(text), score=score)
    printed = {"text": text, "start": 0, "end": len(text)} if answerable else {"text": "", "start": 0, "end": 0}
    return Answer(**printed, score=score, answerable=answerable, null_score=null_score, alternatives=(span,))


def test_questions_are_measured_as_served_and_at_the_best_threshold() -> None:
    rows = [
        QuestionRow("1", "1", "Who?", "Ada", (("Ada", 0),)),
        QuestionRow("2", "2", "Who?", "Ada Byron", (("Ada Byron", 0),)),
        QuestionRow("3", "3", "Why?", "Ada", ()),
    ]
    # The second is held back by the threshold; the third is answered, and should not be.
    results = [answer("Ada", -5), answer("Ada", 1.0, answerable=False), answer("Ada", 0.0)]
    actual = QuestionAnsweringTrainer(Asked()).assess(QuestionDataset(rows), results)
    assert actual.metrics["f1"] == pytest.approx(1 / 3)
    assert actual.metrics["exact_match"] == pytest.approx(1 / 3)
    assert actual.metrics["best_f1"] == pytest.approx(2 / 3)
    assert actual.metrics["best_threshold"] == pytest.approx(-2.5)
    assert actual.metrics["has_answer_f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert [(entry["label"], entry["rows"]) for entry in actual.table] == [("with answer", 2), ("without", 1)]


# From here on through the command line, on tiny models.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in (("CACHE", "cache"), ("DATA", "data")):
        monkeypatch.setenv(f"NLPTASKS_{name}", str(tmp_path / value))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("NLPTASKS_LOAD_PLUGINS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nlptasks(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.mark.long
def test_eval_ner_names_types_anew_and_says_what_it_left_out(home: Path, tiny_encoder: Path) -> None:
    tagger_adapter(tiny_encoder, home / "tags", task="ner")
    row = {"text": TEXT, "spans": [[0, 9, "person"], [14, 22, "person"], [26, 29, "town"], [41, 48, "thing"]]}
    (home / "test.jsonl").write_text(json.dumps(row) + "\n")
    names = ("--rename", "person=PER", "--rename", "town=LOC")
    result = nlptasks("eval", "ner", "test.jsonl", "-a", "./tags", *names)
    assert result.exit_code == 0, result.output
    for words in ("F1  ", "precision  ", "recall  ", "1 span of other types left out: thing (1)"):
        assert words in result.stdout
    report = json.loads(nlptasks("eval", "ner", "test.jsonl", "-a", "./tags", *names, "--json").stdout)
    assert {entry["label"]: entry["rows"] for entry in report["table"] if entry["rows"]} == {"PER": 2, "LOC": 1}
    assert report["confusion"] == []

    wrong = nlptasks("eval", "ner", "test.jsonl", "-a", "./tags")
    assert wrong.exit_code == 1
    assert "Give --rename OLD=NEW for each type that has another name." in str(wrong.exception)
    assert nlptasks("eval", "ner", "test.jsonl", "--rename", "person").exit_code == 2


@pytest.mark.full
@pytest.mark.long
def test_eval_qa_takes_the_task_s_options(home: Path, tiny_encoder: Path) -> None:
    extractor_adapter(tiny_encoder, home / "spans", task="qa")
    rows = [
        {"question": "Who met Tom?", "context": TEXT, "answers": {"text": ["Ada Byron"], "answer_start": [0]}},
        {"question": "Why?", "context": TEXT, "answers": {"text": [], "answer_start": []}},
    ]
    (home / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = nlptasks("eval", "qa", "test.jsonl", "-a", "./spans", "-o", "allow_no_answer", "false")
    assert result.exit_code == 0, result.output
    for words in ("exact match", "best null threshold", "with answer", "without"):
        assert words in result.stdout
    assert "1 of 2 questions have no answer in their context" in result.stdout
    never = json.loads(
        nlptasks("eval", "qa", "test.jsonl", "-a", "./spans", "-o", "null_threshold", "-1e9", "--json").stdout
    )
    assert never["metrics"]["f1"] == 0.5  # The question without an answer is right.
    assert never["serving"] == {"null_threshold": -1e9}
    wrong = nlptasks("eval", "qa", "test.jsonl", "-a", "./spans", "-o", "thresh", "1")
    assert wrong.exit_code == 1
    assert "thresh" in str(wrong.exception)


def test_data_check_of_entities_and_questions(home: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": TEXT, "spans": [[0, 9, "PER"], [26, 29, "LOC"]]} for _ in range(150)]
    rows[3]["spans"][0] = [1, 9, "PER"]
    (home / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = nlptasks("data", "check", "people.jsonl", "--task", "ner")
    assert result.exit_code == 0, result.output
    # Each misaligned span with its row, text and the nearest valid place.
    [line] = [line for line in result.stdout.splitlines() if line.startswith("Warning: people.jsonl:4")]
    assert "'da Byron'" in line
    assert "nearest: 0..9 'Ada Byron'" in line
    assert "PER" in result.stdout
    assert "50.0%" in result.stdout

    requests = [{"question": "Who?", "context": TEXT, "answers": {"text": ["Ada"], "answer_start": [0]}}] * 3
    (home / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in requests))
    result = nlptasks("data", "check", "asked.jsonl", "--task", "qa")
    assert result.exit_code == 0, result.output
    assert "answerable" in result.stdout
    assert "100.0%" in result.stdout


def test_labels_of_a_classification_are_renamed_too(home: Path) -> None:
    write_csv(home / "stars.csv", [("good", "5 stars"), ("bad", "1 star")] * 4)
    refused = nlptasks("data", "check", "stars.csv", "--task", "sentiment")
    assert refused.exit_code == 1
    names = ("--rename", "5 stars=positive", "--rename", "1 star=negative")
    result = nlptasks("data", "check", "stars.csv", "--task", "sentiment", *names)
    assert result.exit_code == 0, result.output
    assert "positive         4   50.0%" in result.stdout


def test_types_that_the_head_does_not_have(tmp_path: Path) -> None:
    row = {"text": TEXT, "spans": [[0, 9, "person"]]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    family = TokenClassificationTrainer(People())
    with pytest.raises(DataError, match=r"Entity types: expected PER, found person\."):
        family.read([str(tmp_path / "rows.jsonl")], DataOptions(), labels=["O", "B-PER", "I-PER"])


def test_entities_of_other_types_than_those_that_are_compared_do_not_count() -> None:
    gold = EntityDataset([entity_row(ADA)], iob2(("PER",)), only=frozenset({"per"}))
    measured = TokenClassificationTrainer(People()).assess(gold, [entities(ADA, YORK)])
    assert measured.metrics["f1"] == 1.0
