"""Label Studio's JSON export as data of tasks with labels and with texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nlptasks import DataError
from nlptasks.data.labelled_texts import read_examples
from nlptasks.data.tables import read_tables


def choices(*values: str, name: str = "tone", **annotation: Any) -> dict[str, Any]:
    result = {"from_name": name, "to_name": "text", "type": "choices", "value": {"choices": list(values)}}
    return {"id": 3, "completed_by": 1, "result": [result], **annotation}


def task(text: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    return {"id": 1, "data": {"review": text}, "annotations": list(annotations), "predictions": [], "meta": {}}


def export(folder: Path, *tasks: dict[str, Any]) -> str:
    (folder / "export.json").write_text(json.dumps(tasks), encoding="utf-8")
    return str(folder / "export.json")


def test_choices_are_labels(tmp_path: Path) -> None:
    good, bad = choices("positive", name="sentiment"), choices("negative", name="sentiment")
    file = export(
        tmp_path,
        task("Fine.", good, choices("negative", name="sentiment", was_cancelled=True)),
        task("Poor.", bad),
        task("Mixed.", good, bad, bad),
        task("Nobody read this."),
        task("Skipped.", {"result": []}),
    )
    examples = read_examples(read_tables([file]), labels=None)
    assert examples.labels == ("negative", "positive")
    assert [(row.text, row.label) for row in examples.rows] == [("Fine.", 1), ("Poor.", 0), ("Mixed.", 0)]
    assert examples.notes[:2] == [
        "1 row on which annotators disagree: the answer of most counts, in a tie that of the first",
        "2 rows left out that no annotator answered",
    ]


def test_several_choices_are_several_labels(tmp_path: Path) -> None:
    file = export(tmp_path, task("Fine.", choices("a", "b", name="label")), task("Poor.", choices("b", name="label")))
    examples = read_examples(read_tables([file]), labels=None, multi_label=True)
    assert [row.label for row in examples.rows] == [(0, 1), (1,)]


def test_texts_are_columns_by_their_controls(tmp_path: Path) -> None:
    area = {"from_name": "summary", "type": "textarea", "value": {"text": ["Short."]}}
    [table] = read_tables([export(tmp_path, task("A long text.", {"result": [area]}))])
    assert [(row.fields["review"], row.fields["summary"]) for row in table.rows] == [("A long text.", "Short.")]


def test_an_export_without_choices_has_no_labels(tmp_path: Path) -> None:
    relation = {"type": "relation", "from_id": "a", "to_id": "b"}
    [table] = read_tables([export(tmp_path, task("A text.", {"result": [relation]}), {"data": 3, "annotations": "no"})])
    assert "review" not in table.columns
    with pytest.raises(DataError, match="text"):
        read_examples([table], labels=None)
