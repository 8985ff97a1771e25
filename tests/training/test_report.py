"""What `eval` reports beside a metric: its interval, differences, parts of the rows, the worst answers, a page."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sacrebleu.metrics import BLEU
from scipy import stats
from sklearn.metrics import f1_score

from nlptasks import DataError, Plugins, Settings, TextClassification, hookimpl
from nlptasks.cli import cli
from nlptasks.cli.reports.page import write_page
from nlptasks.cli.reports.tables import as_text
from nlptasks.data.rows import Row, Table
from nlptasks.testing import FakeModel
from nlptasks.training import compare, evaluate
from nlptasks.training.metrics import rowwise
from nlptasks.training.metrics.labels import calibration_error, multi_label, reliability
from nlptasks.training.report import columns_of, slices
from tests.fake_engine import FakeEngine

MARKS = arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(2, 5)), elements=st.sampled_from([0.0, 1.0]))


@given(MARKS, st.randoms(use_true_random=False))
def test_macro_f1_of_sums_is_scikit_learns(expected: Any, chance: Any) -> None:
    answered = np.asarray([[float(chance.random() < 0.5) for _ in row] for row in expected])
    actual = rowwise.macro_f1(answered, expected, absent=True).of()
    assert actual == pytest.approx(f1_score(expected, answered, average="macro", zero_division=0))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_macro_f1_of_single_labels_leaves_out_those_that_do_not_occur(pairs: list[tuple[int, int]]) -> None:
    answered, expected = (np.asarray(side) for side in zip(*pairs, strict=True))
    actual = rowwise.macro_f1(np.eye(5)[answered], np.eye(5)[expected]).of()
    present = np.union1d(answered, expected)
    assert actual == pytest.approx(f1_score(expected, answered, labels=present, average="macro", zero_division=0))


def test_a_corpus_metric_is_the_packages_on_any_rows() -> None:
    written = ["The cat sat on the mat today.", "A dog barked loudly at night.", "Nothing to see."]
    right = ["A cat sat on the mat today.", "A dog barked at night.", "There is nothing to see."]
    counts = rowwise.corpus_metric(BLEU(), written, right)
    for rows in ([0, 1, 2], [0, 2], [1, 1, 0]):
        expected = BLEU().corpus_score([written[row] for row in rows], [[right[row] for row in rows]]).score
        assert counts.of(rows) == pytest.approx(expected)


def test_intervals_are_those_of_scipy() -> None:
    values = np.random.default_rng(1).beta(2, 1, size=200)
    low, high = rowwise.mean(values).interval()
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=5000, rng=1).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.006)
    assert rowwise.mean(values).interval() == (low, high), "the same figure each time"


def test_differences_are_tested_as_scipy_does() -> None:
    chance = np.random.default_rng(2)
    old = chance.normal(0.5, 0.2, size=120)
    new = old + chance.normal(0.02, 0.1, size=120)
    actual = rowwise.difference(rowwise.mean(new), rowwise.mean(old))
    theirs = stats.permutation_test(
        (new, old), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", n_resamples=5000, rng=2
    )
    assert actual.value == pytest.approx(float(np.mean(new - old)))
    assert actual.p_value == pytest.approx(theirs.pvalue, abs=0.02)
    assert actual.low < actual.value < actual.high
    same = rowwise.difference(rowwise.mean(old), rowwise.mean(old))
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    sure = rowwise.difference(rowwise.mean(old + 1), rowwise.mean(old))
    assert sure.p_value == pytest.approx(1 / 1001)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_the_bins_hold_every_answer_and_the_calibration_error(pairs: list[tuple[float, bool]]) -> None:
    scores, right = zip(*pairs, strict=True)
    bins = reliability(scores, right, bins=15)
    assert sum(one["answers"] for one in bins) == len(pairs)
    assert all(one["from"] <= one["score"] <= one["to"] + 1e-9 for one in bins)
    gap = sum(one["answers"] * abs(one["score"] - one["right"]) for one in bins) / len(pairs)
    assert gap == pytest.approx(calibration_error(scores, right), abs=1e-9)


def test_parts_are_lengths_files_and_columns() -> None:
    rows = [SimpleNamespace(place=f"{'ab'[i % 2]}.csv:{i}") for i in range(60)]
    texts = ["x" * (i + 1) for i in range(60)]
    counts = rowwise.mean(float(i < 20) for i in range(60))
    dataset: Any = SimpleNamespace(rows=rows)
    actual = slices(dataset, texts, {"kind": ["k"] * 60}, counts)
    assert [(one.by, one.name, one.rows, one.value) for one in actual] == [
        ("length", "to 20 characters", 20, 1.0),
        ("length", "21 to 40 characters", 20, 0.0),
        ("length", "from 41 characters", 20, 0.0),
        ("file", "a.csv", 30, pytest.approx(1 / 3)),
        ("file", "b.csv", 30, pytest.approx(1 / 3)),
        ("kind", "k", 60, pytest.approx(1 / 3)),
    ]
    assert {one.by for one in slices(dataset, ["same"] * 60, {}, counts)} == {"file"}


class Mood(TextClassification):
    """Whether a text is glad."""

    name = "mood"
    labels = ("sad", "glad")
    examples = ("What a day!",)


class Moods:
    @hookimpl
    def register_tasks(self, register: Any) -> None:
        register(Mood())


SCORES = {"good": (-2.0, 2.0), "bad": (2.0, -2.0), "<b>odd</b>": (3.0, -3.0)}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    def make(**more: Any) -> FakeModel:
        return FakeModel(labels=Mood.labels, scores=lambda text: SCORES.get(str(text), (0.5, -0.5)), **more)

    plugins = Plugins()
    plugins.register(Moods(), "moods")
    settings = Settings(cache=tmp_path / "c", data=tmp_path / "d", offline=True)
    with FakeEngine(settings, {"mood": make}, plugins) as made:
        yield made


ROWS = (("good", "glad", "film"), ("bad", "sad", "film"), ("<b>odd</b>", "glad", "shop"), ("dull", "glad", "shop"))


@pytest.fixture
def data(tmp_path: Path) -> str:
    file = tmp_path / "moods.csv"
    file.write_text("text,label,domain\n" + "".join(f"{','.join(row)}\n" for row in ROWS), encoding="utf-8")
    return str(file)


def test_a_report_has_parts_and_the_worst_answers_first(engine: FakeEngine, data: str) -> None:
    report = evaluate("mood", data, engine=engine, slices=["domain"])
    assert (report.metric, report.metrics["accuracy"]) == ("accuracy", 0.5)
    low, high = report.intervals["accuracy"]
    assert low == 0 < 0.5 < high == 1
    assert [(one.name, one.value) for one in report.slices] == [("film", 1.0), ("shop", 0.0)]
    # The surest of the wrong answers comes first.
    assert [(row.text, row.right, row.answer) for row in report.worst] == [
        ("<b>odd</b>", "glad", "sad"),
        ("dull", "glad", "sad"),
    ]
    assert report.worst[0].place.endswith("moods.csv:4")
    assert "not read" not in report.notes[0]
    assert json.loads(json.dumps(report.as_dict()))["slices"][1]["name"] == "shop"
    text = as_text(report)
    # The column is as wide as its widest number, which may be the texts per second.
    assert re.search(r"accuracy +0\.5000  0\.0000 to 1\.0000", text)
    assert "domain: shop    0.0000  0.0000 to 0.0000     2" in text
    assert "moods.csv:4: sad (0.00, score 1.00); right: glad; text: <b>odd</b>" in text


def test_rows_without_a_value_are_a_slice(engine: FakeEngine, tmp_path: Path) -> None:
    file = tmp_path / "moods.jsonl"
    file.write_text(
        "".join(
            json.dumps({"text": text, "label": "glad", **more}) + "\n"
            for text, more in (("good", {"domain": "film"}), ("bad", {"domain": ""}), ("dull", {"domain": None}))
        ),
        encoding="utf-8",
    )
    report = evaluate("mood", str(file), engine=engine, slices=["domain"])
    assert [(one.name, one.rows) for one in report.slices] == [("film", 1), (None, 2)]
    assert "domain: (none)    0.0000" in as_text(report)
    write_page(tmp_path / "report.html", report)
    assert "domain: (none)" in (tmp_path / "report.html").read_text("utf-8")


def test_a_column_that_is_none_to_slice_by_is_refused(engine: FakeEngine, data: str) -> None:
    with pytest.raises(
        DataError, match=r"moods.csv: expected a column 'genre' to slice by, found text, label, domain\.$"
    ):
        evaluate("mood", data, engine=engine, slices=["genre"])
    table = Table("t", ("a",), [Row(f"t:{i}", {"a": i}) for i in range(21)])
    with pytest.raises(DataError, match=r"^--slice a: expected a column of at most 20 values, found 21\.$"):
        columns_of([table], ["a"], table.rows)
    assert columns_of([table], ["a"], [Row("t:3, paragraph 1, question 2")]) == {"a": ["3"]}


def test_a_page_shows_all_of_it_as_text(engine: FakeEngine, data: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_page(file, evaluate("mood", data, engine=engine, slices=["domain"]))
    page = file.read_text("utf-8")
    assert "&lt;b&gt;odd&lt;/b&gt;" in page
    assert "<b>odd" not in page
    assert "<script" not in page
    assert "http" not in page
    for words in ("domain: shop", "Calibration", "Worst answers", "0.0000 to 1.0000", "<svg"):
        assert words in page
    # The bar of a bin with no right answer is a line.
    assert re.search(r'y="298\.?0?" width="26[^"]*" height="2"><title>Scores of 0\.7 to 0\.8: 0% of 1 answers', page)
    with pytest.raises(DataError, match="expected a file that can be written"):
        write_page(tmp_path / "nowhere" / "report.html", evaluate("mood", data, engine=engine))


def test_one_row_of_one_label_is_measured_without_a_warning(engine: FakeEngine, tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    file.write_text("text,label\ngood,glad\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = evaluate("mood", str(file), engine=engine)
        several = multi_label(np.asarray([[0.9, 0.8]]), np.asarray([[1.0, 1.0]]))
    assert (report.metrics["accuracy"], report.metrics["mcc"], several["mcc"]) == (1.0, 0.0, 0.0)
    assert as_text(report).startswith("mood: fake on 1 row\n")
    assert "one.csv: 1 row, text in 'text'" in report.notes[0]
    write_page(tmp_path / "one.html", report)
    assert "<title>mood on 1 row</title>" in (tmp_path / "one.html").read_text("utf-8")


def test_a_comparison_has_a_test_of_each_difference(engine: FakeEngine, data: str, tmp_path: Path) -> None:
    both = compare("mood", data, engine=engine)
    assert both.differences.keys() == {"accuracy", "macro_f1"}
    assert both.differences["accuracy"].p_value == 1
    assert "p-value" in as_text(both)
    write_page(tmp_path / "both.html", both)
    assert "approximate randomisation" in (tmp_path / "both.html").read_text("utf-8")


def test_a_report_is_a_page(data: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["eval", "sentiment", data, "--report", str(tmp_path / "r.txt")])
    assert result.exit_code == 2
    assert "--report: expected a name that ends in .html, found" in result.output
    assert not list(tmp_path.glob("r.*"))


def test_no_output_replaces_the_data_or_another(data: str, tmp_path: Path) -> None:
    before = Path(data).read_text("utf-8")
    page = str(tmp_path / "page.html")
    for outputs, words in (
        (("--predictions", data), "moods.csv: expected a file of its own to write to, found one that is named twice."),
        (("--report", page, "--predictions", page), "page.html: expected a file of its own to write to"),
        (
            ("--report", str(tmp_path / "nowhere" / "a.html")),
            "a.html: expected a folder that exists, found none: ",
        ),
    ):
        result = CliRunner().invoke(cli, ["eval", "sentiment", data, *outputs])
        assert result.exit_code == 1
        assert words in str(result.exception)
    assert Path(data).read_text("utf-8") == before


def test_perplexity_has_no_rows_to_slice() -> None:
    result = CliRunner().invoke(cli, ["eval", "generation", "a.txt", "--perplexity", "--slice", "domain"])
    assert result.exit_code == 2
    assert "--slice, --report, --predictions: expected none beside --perplexity." in result.output
