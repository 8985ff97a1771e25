from __future__ import annotations

import csv
from pathlib import Path

from nlptasks_entailment import Entailment

from nlptasks import Engine, Plugins
from nlptasks.testing import FakeBackend, check_task

PAIRS = Path(__file__).parents[1] / "pairs.csv"


def test_contract():
    check_task(Entailment())


def test_the_pair_reaches_the_head_and_the_best_label_wins():
    import nlptasks_entailment

    plugins = Plugins()
    plugins.register(nlptasks_entailment, "entailment")
    backend = FakeBackend(labels=Entailment.labels, scores=lambda _: (0.0, 1.0, 5.0))
    with Engine(plugins=plugins, backend=backend) as engine:
        result = engine.run("entailment", premise="It is closed.", hypothesis="It is open.", adapter="none")
    assert result.label == "contradiction"
    assert backend.models[0].calls == [("classify", [("It is closed.", "It is open.")])]


def test_training_data_has_every_label():
    with PAIRS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == set(Entailment.labels)
    assert all(row["premise"].strip() and row["hypothesis"].strip() for row in rows)
