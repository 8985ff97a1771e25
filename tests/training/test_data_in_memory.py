"""`finetune`, `evaluate` and the check read tables, mappings and pairs in memory as they read files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas
import pyarrow
import pytest

from nlptasks import Engine
from nlptasks.data import DataOptions
from nlptasks.data.frames import data_sources
from nlptasks.errors import DataError
from nlptasks.settings import Settings
from nlptasks.training import TrainReport, check_data, evaluate, family_trainer
from tests.training_rows import QUICK, Feeling, bases, rows, train, write_csv  # noqa: F401 - fixtures

COLUMNS = {"text": ["good food", "bad food", "cold food"], "label": ["glad", "sad", "sad"]}
NUMBERS = {**COLUMNS, "label": [1, 0, 0]}
CLASSES = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["sad", "glad"])})


@pytest.mark.parametrize(
    "data",
    [
        pandas.DataFrame(COLUMNS),
        pandas.DataFrame(NUMBERS),
        pandas.DataFrame({**COLUMNS, "label": [1.0, 0.0, 0.0]}),
        pyarrow.table(COLUMNS),
        datasets.Dataset.from_dict(COLUMNS),
        datasets.Dataset.from_dict(NUMBERS, features=CLASSES),
        COLUMNS,
        [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)],
        list(zip(*COLUMNS.values(), strict=True)),
        [pandas.DataFrame(COLUMNS)],
    ],
)
def test_every_shape_is_read_as_the_same_rows(data: Any) -> None:
    family = family_trainer(Feeling())
    read = family.read(data_sources(data), DataOptions())
    assert [(row.text, read.labels[row.label]) for row in read.rows] == list(zip(*COLUMNS.values(), strict=True))
    assert check_data(family, data, DataOptions()).counts == {"sad": 2, "glad": 1}


def test_columns_are_named_and_rows_have_a_place() -> None:
    family = family_trainer(Feeling())
    frame = pandas.DataFrame({"Verdict": ["glad", None], "Note": ["good", "bad"]})
    options = DataOptions(columns={"text": "note", "label": "verdict"})
    with pytest.raises(DataError, match="DataFrame:2: Verdict: expected a label, found none"):
        check_data(family, frame, options)
    with pytest.raises(DataError, match="DataFrame: expected a text column"):
        check_data(family, frame, DataOptions())


@pytest.mark.parametrize("data", [3, [3], b"x", [("a", "b", "c")], {"train": datasets.Dataset.from_dict(COLUMNS)}])
def test_what_is_no_data_is_a_sentence(data: Any) -> None:
    with pytest.raises(DataError, match="Data: expected "):
        data_sources(data)


@pytest.mark.long
def test_a_frame_is_trained_on_and_measured(
    train: Callable[..., TrainReport], settings: Settings, tmp_path: Path
) -> None:
    frame = pandas.DataFrame(rows(), columns=["text", "label"])
    report = train(data=frame, validation=rows(40, seed=5), learning_rate=1e-2, epochs=2)
    assert (report.train_rows, report.held_out_rows) == (160, 40)
    assert report.history[-1]["epoch"] == 2.0
    answers = tmp_path / "answers.jsonl"
    with Engine(settings=settings, device="cpu") as engine:
        measured = evaluate(Feeling(), frame, adapter=str(report.path), engine=engine, predictions=answers)
        assert measured.rows == 160
        with pytest.raises(DataError, match=r"gone/x\.jsonl: expected a file that can be written"):
            evaluate(Feeling(), frame, adapter=str(report.path), engine=engine, predictions=tmp_path / "gone/x.jsonl")
    lines = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    assert [line["input"] for line in lines] == list(frame["text"])
    assert [line["right"] for line in lines] == list(frame["label"])
    right = sum(line["result"]["label"] == line["right"] for line in lines) / len(lines)
    assert right == measured.metrics["accuracy"]
    assert lines[0]["place"] == "DataFrame:1"
