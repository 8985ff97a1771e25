"""`nlptasks.ray.map` and `nlptasks.batch(ray=...)` on a real Ray, with a model without weights."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from click.testing import CliRunner

import nlptasks.ray
from nlptasks import (
    CancelledError,
    CancelToken,
    DataError,
    Engine,
    MissingExtraError,
    NlptasksError,
    OverflowRefusedError,
    batch,
)
from nlptasks.cli import cli
from nlptasks.model import ModelInfo
from nlptasks.ray import Cluster
from nlptasks.settings import Settings
from nlptasks.testing import FakeBackend, FakeModel

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.long

ROWS = [
    {"id": number, "review": text, "sentiment.label": None}
    for number, text in enumerate(["A fine day.", "Rain again.", "", "explode", "The bread was still warm."] * 8)
]
TWO = Cluster(actors=2)
EMPTY = "Input 'text': expected a text with at least one visible character, found ''."


class TellingModel(FakeModel):
    """Says as its name in which process it is and with how many threads; fails, dies or takes its time on a word."""

    @property
    def info(self) -> ModelInfo:
        threads = os.environ.get("OMP_NUM_THREADS"), os.environ.get("RAYON_NUM_THREADS")
        usage = os.environ.get("RAY_USAGE_STATS_ENABLED")
        return replace(super().info, name=f"{os.getpid()} {threads} {usage}")

    def classify(self, texts: Any) -> Any:
        if any("die" in text for text in texts):
            os._exit(1)
        if any("rest" in text for text in texts):
            time.sleep(60)
        return super().classify(texts)


class FailingModel(FakeModel):
    """Fails on a word."""

    def classify(self, texts: Any) -> Any:
        if any("explode" in text for text in texts):
            raise OverflowRefusedError("It is too long.")
        return super().classify(texts)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


def engine_of(settings: Settings, model: type[FakeModel]) -> Engine:
    return Engine(settings=settings, device="cpu", dtype="float32", backend=FakeBackend(model, labels=("bad", "good")))


def test_a_dataset_has_the_columns_of_a_batch(settings: Settings, tmp_path: Path) -> None:
    from pyarrow import parquet

    engine = engine_of(settings, FailingModel)
    dataset = nlptasks.ray.map(
        ray.data.from_items(ROWS), "sentiment", engine=engine, concurrency=2, batch_size=8, threshold=0.1
    )
    rows = sorted(dataset.take_all(), key=lambda row: row["id"])
    batch("sentiment", ROWS, tmp_path / "rows.parquet", engine=engine, threshold=0.1)
    expected = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    for row in expected:
        # Numbers of rows are of the whole input, of which an actor sees a part.
        del row["row"]
    assert rows == expected
    types = {field.name: field.type for field in dataset.schema().base_schema if "(input)" not in field.name}
    table = parquet.read_schema(tmp_path / "rows.parquet")
    assert types == {name: table.field(name).type for name in types}
    assert [row["sentiment.error"] for row in rows[:5]] == [
        None, None, EMPTY,
        "It is too long.", None,
    ]  # fmt: skip


def test_actors_of_a_dataset_use_their_share(settings: Settings) -> None:
    engine = engine_of(settings, TellingModel)
    items = [{"body": f"A fine day, number {number}."} for number in range(64)]
    dataset = nlptasks.ray.map(
        ray.data.from_items(items, override_num_blocks=8), "sentiment", engine=engine, concurrency=(1, 1), num_cpus=2,
        columns={"text": "body"}, keep=(), batch_size=8,
    )  # fmt: skip
    rows = dataset.take_all()
    assert "body" not in rows[0]
    [model] = {row["sentiment.model"] for row in rows}
    pid, rest = model.split(" ", 1)
    assert (int(pid) != os.getpid(), rest) == (True, "('2', '2') 0")


def test_what_concerns_every_row_of_a_dataset(settings: Settings) -> None:
    engine = engine_of(settings, FakeModel)
    dataset = ray.data.from_items([{"number": 1}])
    with pytest.raises(NlptasksError, match="Unknown adapter 'none-such'"):
        nlptasks.ray.map(dataset, "sentiment", engine=engine, adapter="none-such")
    with pytest.raises(
        DataError, match=r"^the dataset: expected a text column \(text, sentence, review, content, tweet, "
    ):
        nlptasks.ray.map(dataset, "sentiment", engine=engine)
    with pytest.raises(DataError, match=r"^keep: expected columns of the dataset \(number\), found 'id'\.$"):
        nlptasks.ray.map(dataset, "sentiment", engine=engine, columns={"text": "number"}, keep=["id"])


@pytest.mark.full
def test_columns_that_are_known_late(settings: Settings) -> None:
    engine = engine_of(settings, FakeModel)
    dataset = ray.data.from_items([{"number": 1}]).map(lambda row: row)
    with pytest.raises(Exception, match=r"expected a text column \(text, sentence, review, content, tweet, \.\.\.\)"):
        nlptasks.ray.map(dataset, "sentiment", engine=engine, concurrency=1).take_all()


def test_columns_are_read_before_a_cluster_starts(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("number\n1\n")
    with pytest.raises(DataError, match=r"^rows\.csv: expected a text column"):
        batch(
            "sentiment", [tmp_path / "rows.csv"], tmp_path / "a.csv", engine=engine_of(settings, FakeModel),
            ray=Cluster("127.0.0.1:9"),
        )  # fmt: skip


def test_a_batch_has_the_bytes_of_one_without_ray(settings: Settings, tmp_path: Path) -> None:
    outputs = [tmp_path / "here.csv", tmp_path / "there.csv"]
    notes: list[str] = []
    for output, cluster in zip(outputs, (None, TWO), strict=True):
        options: dict[str, Any] = {"engine": engine_of(settings, FailingModel), "ray": cluster, "part_rows": 4}
        report = batch("sentiment", ROWS, output, keep=["id"], on_note=notes.append, **options)
        assert (report.rows, report.errors, report.computed) == (40, 16, 40)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert notes[: len(notes) // 2] == notes[len(notes) // 2 :]
    # Actors answer parts in any order, so any row that fails may be the first.
    with pytest.raises(NlptasksError) as failed:
        batch("sentiment", ROWS, tmp_path / "x.csv", fail_fast=True, **options)
    row, reason = str(failed.value).removeprefix("input ").split(": ", 1)
    assert reason == {3: EMPTY, 4: "It is too long."}[int(row) % 5]


@pytest.mark.full
def test_rows_that_end_every_actor(settings: Settings, tmp_path: Path) -> None:
    engine, output = engine_of(settings, TellingModel), tmp_path / "answers.jsonl"
    texts = ["A fine day."] * 9 + ["die"] + ["Rain again."] * 10
    with pytest.raises(NlptasksError, match=r"^Rows 9 to 12: 3 actors died while they answered them \("):
        batch("sentiment", texts, output, engine=engine, part_rows=4, ray=TWO)
    assert sorted(path.name[:13] for path in output.with_suffix(".parts").glob("part-*")) == [
        "part-00000000", "part-00000001", "part-00000003", "part-00000004",
    ]  # fmt: skip
    report = batch("sentiment", [*texts[:9], "live", *texts[10:]], output, engine=engine, part_rows=4, restart=True)
    assert report.errors == 0


@pytest.mark.full
def test_stop(settings: Settings, tmp_path: Path) -> None:
    engine, cancel = engine_of(settings, TellingModel), CancelToken()
    begin = time.monotonic()
    Timer(3, cancel.cancel).start()
    with pytest.raises(CancelledError):
        batch("sentiment", ["rest"], tmp_path / "a.csv", engine=engine, ray=Cluster(actors=1), cancel=cancel)
    assert time.monotonic() - begin < 30
    assert list(tmp_path.iterdir()) == []


def test_actors_that_never_fit_are_refused(settings: Settings, tmp_path: Path) -> None:
    with engine_of(settings, FakeModel) as engine, pytest.raises(NlptasksError) as refusal:
        batch("sentiment", ["a"], tmp_path / "a.csv", engine=engine, ray=Cluster("local", cpus=50))
    assert str(refusal.value) == (
        "Expected actors that fit the cluster of this machine, found none: an actor takes 50 CPU, 0 GPU, "
        "the whole cluster has 3 CPU, 0 GPU."
    )


def test_refusals(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(settings, FakeModel)
    with pytest.raises(NlptasksError, match=r"^--ray: expected a file for the output, found -: rows are answered in"):
        batch("sentiment", ["a"], "-", engine=engine, ray="auto")
    with pytest.raises(NlptasksError, match=r"^cpus of a Ray cluster: expected at least 0, found -1\.$"):
        Cluster(cpus=-1)
    shown = CliRunner().invoke(cli, ["batch", "sentiment", "-i", "a.csv", "-o", "b.csv", "--actors", "2"]).output
    assert "--actors, --actor-cpus and --actor-gpus: expected --ray with them, found none." in " ".join(shown.split())
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        MissingExtraError, match=r"^Ray needs packages that are not installed: pip install 'nlptasks\[ray\]'"
    ):
        batch("sentiment", ["a"], "a.csv", engine=engine, ray="auto")
    with pytest.raises(MissingExtraError, match=r"nlptasks\[ray\]"):
        nlptasks.ray.map(None, "sentiment", engine=engine)
