from __future__ import annotations

import csv
from pathlib import Path

from nlptasks_urgency import Urgency

from nlptasks.testing import FakeModel, check_task

TICKETS = Path(__file__).parents[1] / "tickets.csv"


def test_contract():
    check_task(Urgency())


def test_label_with_the_highest_score_wins():
    model = FakeModel(labels=Urgency.labels, scores=lambda _: (0.0, 1.0, 5.0))
    task = Urgency()
    results = task.run(task.validate(["It burns!", "It still burns!"]), task.validate_options({}), model)
    assert [result.label for result in results] == ["high", "high"]
    assert [verb for verb, _ in model.calls] == ["classify"]


def test_training_data_has_every_label():
    with TICKETS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == set(Urgency.labels)
    assert all(row["text"].strip() for row in rows)
