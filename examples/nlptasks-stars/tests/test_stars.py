from __future__ import annotations

import csv
from pathlib import Path

import pytest
from nlptasks_stars import RATE, Stars, stars_of

from nlptasks.testing import FakeModel, check_task

REVIEWS = Path(__file__).parents[1] / "reviews.csv"


def test_contract():
    check_task(Stars())


def test_a_raw_score_becomes_stars():
    model = FakeModel(head=RATE, scores=lambda text: (0.0,) if "fine" in text else (50.0,))
    task = Stars()
    results = task.run(task.validate(["It was fine.", "Superb!"]), task.validate_options({}), model)
    assert [result.stars for result in results] == [3.0, pytest.approx(5.0)]
    assert model.calls == [("rate", ["It was fine.", "Superb!"])]
    assert (stars_of(-50.0), stars_of(0.0)) == (pytest.approx(1.0), 3.0)


def test_training_data_has_every_number_of_stars():
    with REVIEWS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["stars"] for row in rows} == {"1", "2", "3", "4", "5"}
