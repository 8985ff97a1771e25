"""Which columns are read, and which flag mends data that does not fit the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nlptasks.data import DataOptions
from nlptasks.errors import DataError
from nlptasks.plugins import default_plugins
from nlptasks.training import check_data, family_trainer


def check(task: str, path: Path, content: str, **options: Any) -> Any:
    path.write_text(content, encoding="utf-8")
    return check_data(family_trainer(default_plugins().task(task)), [str(path)], DataOptions(**options))


def pairs(path: Path, content: str) -> list[tuple[str, Any, str, str]]:
    path.write_text(content, encoding="utf-8")
    rows = family_trainer(default_plugins().task("translation")).read([str(path)], DataOptions()).rows
    return [
        (e.inputs.text, e.inputs.source_language, e.target, e.inputs.target_language) for e in (r.example for r in rows)
    ]


@pytest.mark.parametrize(
    ("header", "row", "languages"),
    [
        ("id,en,fr", "1,Hello.,Bonjour.", ("en", "fr")),
        ("id,en,fr", "a1,Hello.,Bonjour.", ("en", "fr")),
        ("no,en,german", "7,Hello.,Hallo.", ("en", "de")),
        ("EN,FR", "Hello.,Bonjour.", ("en", "fr")),
        ("en,pt-BR", "Hello.,Olá.", ("en", "pt-BR")),
        ("en,pt_BR", "Hello.,Olá.", ("en", "pt-BR")),
        ("id,en", "Halo.,Hello.", ("id", "en")),
    ],
)
def test_languages_in_column_names(tmp_path: Path, header: str, row: str, languages: tuple[str, str]) -> None:
    first, second = row.split(",")[-2:]
    one, other = languages
    expected = [(first, one, second, other), (second, other, first, one)]
    assert pairs(tmp_path / "pairs.csv", f"{header}\n{row}\n") == expected


@pytest.mark.parametrize("header", ["id,en,target", "no,en,score"])
def test_a_row_number_is_no_language(tmp_path: Path, header: str) -> None:
    with pytest.raises(DataError, match=r"with the languages en\. Rename a column to its language"):
        check("translation", tmp_path / "pairs.csv", f"{header}\n1,Hello.,Bonjour.\n")


def test_three_languages_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"with the languages en, fr, de\..*leave out a third"):
        check("translation", tmp_path / "pairs.csv", "en,fr,de\nHello.,Bonjour.,Hallo.\n")


def test_the_check_says_which_columns_are_read(tmp_path: Path) -> None:
    report = check("translation", tmp_path / "pairs.csv", "id,en,fr,score\n1,Hello.,Bonjour.,0.9\n")
    assert report.notes == [f"{tmp_path / 'pairs.csv'}: columns read: en, fr; not read: id, score"]
    report = check("sentiment", tmp_path / "x.csv", "id,text,label\n1,Good food,1\n2,Bad food,0\n")
    assert any(note.endswith("text in 'text', label in 'label'; not read: id") for note in report.notes)
    row = {"instruction": "And now?", "output": "Later.", "system": "Be terse.", "tools": "none"}
    report = check("generation", tmp_path / "chats.jsonl", json.dumps(row))
    assert report.notes == [f"{tmp_path / 'chats.jsonl'}: columns read: instruction, output, system; not read: tools"]


def test_entities_and_questions_say_which_columns_are_not_read(tmp_path: Path) -> None:
    row = {"text": "Ada is here.", "entities": [[0, 3, "PER"]], "labels": ["x"], "tokens": [{"id": 0}], "meta": 1}
    report = check("ner", tmp_path / "a.jsonl", json.dumps(row))
    assert report.notes[0] == f"{tmp_path / 'a.jsonl'}: columns read: text, entities; not read: labels, tokens, meta"
    words = "Sentence #,Word,POS,Tag\nSentence: 1,Ada,NNP,B-PER\n,waits,VBZ,O\n"
    report = check("ner", tmp_path / "words.csv", words)
    assert report.notes[0] == f"{tmp_path / 'words.csv'}: columns read: Sentence #, Word, Tag; not read: POS"
    row = {"question": "Who?", "context": "Ada is here.", "answer": "Ada", "label": "person", "answer_end": 3}
    report = check("qa", tmp_path / "b.jsonl", json.dumps(row))
    assert report.notes == [
        f"{tmp_path / 'b.jsonl'}: columns read: question, context, answer; not read: label, answer_end"
    ]


def test_what_is_read_whole_has_no_note(tmp_path: Path) -> None:
    report = check("ner", tmp_path / "a.conll", "Ada NNP B-PER\nwaits VBZ O\n\n")
    assert not any("columns read" in note for note in report.notes)
    content = "q,passage,answer\nWho?,Ada is here.,Ada\n"
    assert check("qa", tmp_path / "a.csv", content, columns={"question": "q", "context": "passage"}).notes == []
    paragraph = {"context": "Ada is here.", "qas": [{"id": "1", "question": "Who?", "answers": [{"text": "Ada"}]}]}
    squad = {"version": "2.0", "data": [{"title": "Ada", "paragraphs": [paragraph]}]}
    assert check("qa", tmp_path / "squad.json", json.dumps(squad)).notes == []


def test_system_and_history_come_before_the_turns(tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    row = {"instruction": "And now?", "output": "Later.", "history": [["Hi", "Hello"]], "system": "Be terse."}
    chat = {
        "system": "Be kind.",
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hey"}],
    }
    file.write_text(f"{json.dumps(row)}\n{json.dumps(chat)}\n", encoding="utf-8")
    rows = family_trainer(default_plugins().task("generation")).read([str(file)], DataOptions()).rows
    seen = [([turn.content for turn in r.example.inputs.messages], r.example.target) for r in rows]
    assert seen == [
        (["Be terse.", "Hi"], "Hello"),
        (["Be terse.", "Hi", "Hello", "And now?"], "Later."),
        (["Be kind.", "Hi"], "Hey"),
    ]


def test_a_chat_in_a_csv_file_is_json(tmp_path: Path) -> None:
    turns = json.dumps([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hey"}])
    cell = turns.replace('"', '""')
    assert check("generation", tmp_path / "a.csv", f'messages\n"{cell}"\n').rows == 1
    with pytest.raises(DataError, match=r"messages: expected a list, in a CSV file as JSON, found 'Hi there'"):
        check("generation", tmp_path / "b.csv", "messages\nHi there\n")
    with pytest.raises(DataError, match="history: expected pairs of a question and its answer"):
        check("generation", tmp_path / "c.jsonl", json.dumps({"prompt": "a", "response": "b", "history": ["x"]}))


def test_whole_numbers_with_a_point_are_labels(tmp_path: Path) -> None:
    report = check("sentiment", tmp_path / "x.csv", "text,label\nGood food,1.0\nBad food,0.0\nCold food,0.0\n")
    assert report.counts == {"negative": 2, "positive": 1}
    with pytest.raises(DataError, match=r"unknown label '0\.5'"):
        check("sentiment", tmp_path / "y.csv", "text,label\nGood food,0.5\nBad food,0.0\n")


def test_more_labels_than_the_task_has_point_to_labels(tmp_path: Path) -> None:
    content = "text,label\nGood food,positive\nBad food,negative\nIt was there,neutral\nIt is open,neutral\n"
    expected = "The data also has neutral. --labels negative,positive,neutral reads all of them;"
    with pytest.raises(DataError, match=expected):
        check("sentiment", tmp_path / "x.csv", content)
    report = check("sentiment", tmp_path / "x.csv", content, labels=("negative", "positive", "neutral"))
    assert report.counts == {"negative": 1, "positive": 1, "neutral": 2}


def test_labels_that_a_file_lacks_stay_in_the_hint(tmp_path: Path) -> None:
    """What is named for a validation file must fit the training file too."""
    content = "text,label\nGood food,positive\nIt was there,neutral\n"
    with pytest.raises(DataError, match="--labels negative,positive,neutral reads all of them;"):
        check("sentiment", tmp_path / "x.csv", content)


def test_the_check_warns_where_a_training_would_hold_out_no_row(tmp_path: Path) -> None:
    sentence = (
        "no row would be held out, since a label's only text is not held out, and rows of one text stay together: "
        "train with --validation"
    )
    two = "text,label\nGood food,positive\nBad food,negative\n"
    assert check("sentiment", tmp_path / "x.csv", two).warnings[-1] == sentence
    same = "text,label\n" + "It is food,positive\nIt is food,negative\n" * 9
    assert check("sentiment", tmp_path / "x.csv", same).warnings[-1] == sentence
    assert sentence not in check("sentiment", tmp_path / "x.csv", f"{two}Cold food,negative\n").warnings


def test_short_names_of_labels_point_to_rename(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="calls them neg, pos: give --rename neg=negative --rename pos=positive"):
        check("sentiment", tmp_path / "x.csv", "text,label\nGood food,pos\nBad food,neg\n")


def test_what_a_hint_says_can_be_typed_and_works(tmp_path: Path) -> None:
    rows = '{"text":"Good food","label":true}\n{"text":"Bad food","label":false}\n'
    with pytest.raises(DataError, match=r"--labels False,True reads all of them; --rename False=negative makes one"):
        check("sentiment", tmp_path / "x.jsonl", rows)
    report = check("sentiment", tmp_path / "x.jsonl", rows, labels=("False", "True"))
    assert report.counts == {"False": 1, "True": 1}
    renames = {"False": "negative", "True": "positive"}
    assert check("sentiment", tmp_path / "x.jsonl", rows, rename=renames).counts == {"negative": 1, "positive": 1}
    with pytest.raises(DataError, match="'quite good,rather bad' reads all of them; --rename 'quite good=negative'"):
        check("sentiment", tmp_path / "x.csv", "text,label\nA mill,quite good\nA mast,rather bad\n")
    # A list is no name, so that no flag helps.
    with pytest.raises(DataError, match=r"label: expected a label, found \['negative'\] \(list\)") as caught:
        check("sentiment", tmp_path / "x.jsonl", '{"text":"Bad food","label":["negative"]}\n')
    assert "--" not in str(caught.value)


def test_invisible_characters_are_no_part_of_a_label(tmp_path: Path) -> None:
    report = check(
        "sentiment", tmp_path / "x.csv", "text,label\nGood food,\u200bpositive\u3000\nBad food,\u00a0negative\ufeff\n"
    )
    assert report.counts == {"negative": 1, "positive": 1}
