"""A batch: rows in and out, errors row by row, and going on after a stop at any moment."""

from __future__ import annotations

import csv
import errno
import json
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas
import pytest

from nlptasks import (
    CancelledError,
    CancelToken,
    Classification,
    ClassificationOptions,
    DataError,
    InvalidInputError,
    Model,
    NlptasksError,
    TextClassification,
    TextInput,
    batch,
)
from nlptasks.batches import (
    OUTPUTS,
    BatchProgress,
    ChangedBatchError,
    answer_columns,
    finished_files,
    join_shards,
    parts,
)
from nlptasks.data import DataOptions
from nlptasks.testing import FakeModel
from tests.fake_engine import FakeEngine
from tests.ui_browser import built_in_makers, own_settings

ROWS = 23


class Weather(TextClassification):
    """Sun or rain; it fails with hail."""

    name = "weather"
    labels = ("rain", "sun")

    def run(self, inputs: Sequence[TextInput], options: ClassificationOptions, model: Model) -> list[Classification]:
        if any("hail" in item.text for item in inputs):
            raise KeyError("hail")
        return super().run(inputs, options, model)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    makers = {name: make for name, make in built_in_makers().items() if name != "sentiment"}
    makers["weather"] = partial(FakeModel, labels=Weather.labels)
    with FakeEngine(own_settings(tmp_path_factory.mktemp("data")), makers) as made:
        yield made


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Rows with an id, a text and a column that has the name of one of the output; row 7 has no text."""
    path = tmp_path / "reviews.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "review", "row"])
        writer.writerows(
            [f"r{n}", f"Film {n} wäs 😀 whät it was." if n != 7 else "", n * 2] for n in range(1, ROWS + 1)
        )
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of an output, as plain values."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    readers = {".csv": pandas.read_csv, ".parquet": pandas.read_parquet, ".xlsx": pandas.read_excel}
    frame = readers[path.suffix](path)
    return [
        {str(name): None if pandas.isna(value) else value for name, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]


@pytest.mark.parametrize("ending", OUTPUTS)
def test_every_row_has_its_columns_and_the_answer_s(
    engine: FakeEngine, reviews: Path, tmp_path: Path, ending: str
) -> None:
    output = tmp_path / f"answers{ending}"
    report = batch("sentiment", str(reviews), output, engine=engine, part_rows=5)
    assert (report.rows, report.errors, report.computed, report.output) == (ROWS, 1, ROWS, output)
    rows = read(output)
    assert [row["row"] for row in rows] == list(range(1, ROWS + 1))
    assert [row["id"] for row in rows] == [f"r{n}" for n in range(1, ROWS + 1)]
    assert [int(row["row (input)"]) for row in rows] == [n * 2 for n in range(1, ROWS + 1)]
    assert rows[1]["review"] == "Film 2 wäs 😀 whät it was."
    names = [
        "row",
        "id",
        "review",
        "row (input)",
        *(column.name for column in answer_columns(engine.plugins.task("sentiment"))),
    ]
    assert list(rows[0]) == names
    expected = engine.run("sentiment", rows[1]["review"])
    assert (rows[1]["sentiment.label"], rows[1]["sentiment.score"]) == (expected.label, expected.score)
    scores = rows[1]["sentiment.scores"]
    assert (scores if ending == ".jsonl" else json.loads(scores))[0]["label"] == expected.label
    assert rows[6]["sentiment.label"] is None
    assert rows[6]["sentiment.error"] == "Input 'text': expected a text with at least one visible character, found ''."
    assert not [row for row in rows if row["sentiment.error"] and row["row"] != 7]
    assert sorted(path.name for path in tmp_path.iterdir()) == [output.name, "reviews.csv"]


def test_the_columns_of_an_answer_depend_on_its_type_alone(engine: FakeEngine) -> None:
    columns = [(column.name, column.kind) for column in answer_columns(engine.plugins.task("qa"))]
    assert columns[:9] == [
        ("qa.text", "string"),
        ("qa.start", "integer"),
        ("qa.end", "integer"),
        ("qa.score", "number"),
        ("qa.answerable", "boolean"),
        ("qa.null_score", "number"),
        ("qa.alternatives", "json"),
        ("qa.explanations", "json"),
        ("qa.error", "string"),
    ]
    assert ("qa.note", "string") in columns


class Power(BaseException):
    """It went off."""


@pytest.mark.parametrize("ending", OUTPUTS)
def test_stopped_at_every_write_the_output_is_the_same(
    engine: FakeEngine, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """Before and after each file is renamed into its place, the joined one too."""
    whole = tmp_path / f"whole{ending}"
    batch("sentiment", str(reviews), whole, engine=engine, part_rows=5)
    replace, stops = Path.replace, 0

    def cut(path: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left == 0:
            raise Power
        done = replace(path, target)
        left -= 1
        if left == 0:
            raise Power
        return done

    for stop in range(1, 100):
        left, output = stop, tmp_path / f"{stop}" / f"answers{ending}"
        output.parent.mkdir()
        monkeypatch.setattr(Path, "replace", cut)
        try:
            batch("sentiment", str(reviews), output, engine=engine, part_rows=5)
        except Power:
            stops += 1
        monkeypatch.undo()
        if left > 0:
            break
        if not output.exists() or output.with_suffix(".parts").exists():
            batch("sentiment", str(reviews), output, engine=engine, part_rows=5)
        assert output.read_bytes() == whole.read_bytes(), stop
        assert [path.name for path in output.parent.iterdir()] == [output.name]
    # The manifest, five parts, the manifest, the output, the manifest: two moments each.
    assert stops == 18


def test_what_was_answered_is_not_answered_again(engine: FakeEngine, reviews: Path, tmp_path: Path) -> None:
    output, token = tmp_path / "answers.csv", CancelToken()

    def stop(progress: BatchProgress) -> None:
        if progress.rows >= 10:
            token.cancel()

    with pytest.raises(CancelledError):
        batch("sentiment", str(reviews), output, engine=engine, part_rows=5, cancel=token, progress=stop)
    seen: list[BatchProgress] = []
    report = batch("sentiment", str(reviews), output, engine=engine, part_rows=5, progress=seen.append)
    assert (report.rows, report.errors, report.computed) == (ROWS, 1, ROWS - 10)
    assert (seen[-1].rows, seen[-1].errors) == (ROWS, 1)
    assert [progress.rows for progress in seen] == sorted(progress.rows for progress in seen)


def begin(engine: FakeEngine, source: Any, output: Path, **arguments: Any) -> None:
    """Answer the first part only."""
    token = CancelToken()
    with pytest.raises(CancelledError):
        batch(
            "sentiment", source, output, engine=engine, part_rows=5, cancel=token, **arguments,
            progress=lambda progress: token.cancel() if progress.rows >= 5 else None,
        )  # fmt: skip


def test_a_batch_goes_on_with_what_it_was_begun_with_alone(engine: FakeEngine, reviews: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.csv"
    begin(engine, str(reviews), output)
    place = tmp_path / "answers.parts"
    with pytest.raises(NlptasksError) as refused:
        batch("sentiment", str(reviews), output, engine=engine, part_rows=5, threshold=0.9)
    assert str(refused.value) == (
        f'{place} was begun with something else: options was {{}}, is {{"threshold": 0.9}}. Repeat the command that it '
        "was begun with, choose another output, or add --restart to compute everything anew."
    )
    with pytest.raises(NlptasksError, match="rows of a part was 5, is 6"):
        batch("sentiment", str(reviews), output, engine=engine, part_rows=6)
    reviews.write_text(reviews.read_text("utf-8").replace("Film 20", "Film twenty"), "utf-8")
    with pytest.raises(NlptasksError, match=r'input was \["reviews.csv [0-9a-f]{16}"\], is \["reviews.csv'):
        batch("sentiment", str(reviews), output, engine=engine, part_rows=5)
    report = batch("sentiment", str(reviews), output, engine=engine, part_rows=5, threshold=0.9, restart=True)
    assert report.computed == ROWS
    with pytest.raises(
        NlptasksError, match=r"answers.csv: expected no such file, found one: choose another output, or"
    ):
        batch("sentiment", str(reviews), output, engine=engine)


def test_rows_of_a_stream_must_be_the_same_when_it_goes_on(engine: FakeEngine, tmp_path: Path) -> None:
    output = tmp_path / "answers.jsonl"
    begin(engine, (f"Text {n}." for n in range(12)), output)
    with pytest.raises(NlptasksError, match="its rows are not those of the input any more: the input was changed"):
        batch("sentiment", (f"Text {n + 1}." for n in range(12)), output, engine=engine, part_rows=5)
    report = batch("sentiment", (f"Text {n}." for n in range(12)), output, engine=engine, part_rows=5)
    assert (report.rows, report.computed) == (12, 7)


def test_a_second_process_is_refused(engine: FakeEngine, reviews: Path, tmp_path: Path) -> None:
    """As filelock does it, a second object in this process is another holder."""
    folder = parts.PartFolder(tmp_path / "answers.parts")
    with folder.locked(), pytest.raises(NlptasksError) as refused:
        batch("sentiment", str(reviews), tmp_path / "answers.csv", engine=engine)
    assert str(refused.value) == (
        f"{folder.path}: another process is computing this batch: wait for it, or choose another output."
    )


def test_a_full_disk_costs_nothing(
    engine: FakeEngine, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, written = tmp_path / "answers.csv", []

    def fsync(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nlptasks.store.folders.os.fsync", fsync)
    with pytest.raises(NlptasksError) as refused:
        batch("sentiment", str(reviews), output, engine=engine, part_rows=5)
    assert str(refused.value).endswith(
        "No space left on device. Make room and repeat the command: the rows that were answered are kept."
    )
    report = batch("sentiment", str(reviews), output, engine=engine, part_rows=5)
    assert report.computed == ROWS - 10


def test_shards_are_joined_to_what_one_process_writes(engine: FakeEngine, reviews: Path, tmp_path: Path) -> None:
    whole, output = tmp_path / "whole.csv", tmp_path / "answers.csv"
    batch("sentiment", str(reviews), whole, engine=engine, part_rows=2)
    with pytest.raises(
        NlptasksError, match=r"expected the parts of its shards beside it, such as answers.parts-1-of-8"
    ):
        join_shards(output)
    for shard in ("3/3", "1/3"):
        batch("sentiment", str(reviews), output, engine=engine, part_rows=2, shard=shard)
    with pytest.raises(NlptasksError, match=r"expected 3 shards, found 2: compute 2/3 as well."):
        join_shards(output)
    batch("sentiment", str(reviews), output, engine=engine, part_rows=2, shard="2/3", threshold=0.9)
    with pytest.raises(NlptasksError, match=r"is of another batch than .*: options was"):
        join_shards(output)
    batch("sentiment", str(reviews), output, engine=engine, part_rows=2, shard="2/3", restart=True)
    assert join_shards(output) == (ROWS, 1)
    assert output.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.parts*"))
    with pytest.raises(NlptasksError, match=r"--shard: expected NUMBER/COUNT, such as 3/8, found '4/3'."):
        batch("sentiment", str(reviews), output, engine=engine, shard="4/3")


def test_what_cannot_work_is_refused_before_anything_is_written(
    engine: FakeEngine, reviews: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        NlptasksError, match=r"expected an output that ends in .jsonl, .csv, .parquet, .xlsx, found '.txt'"
    ):
        batch("sentiment", str(reviews), tmp_path / "answers.txt", engine=engine)
    with pytest.raises(InvalidInputError, match="threshold"):
        batch("sentiment", str(reviews), tmp_path / "answers.csv", engine=engine, threshold="high")
    with pytest.raises(DataError, match=r"nothing.csv: expected a file, found none."):
        batch("sentiment", "nothing.csv", tmp_path / "answers.csv", engine=engine)
    assert [path.name for path in tmp_path.iterdir()] == ["reviews.csv"]
    with pytest.raises(NlptasksError, match=r"reviews.csv:8: Input 'text': expected a text"):
        batch("sentiment", str(reviews), tmp_path / "answers.csv", engine=engine, fail_fast=True)


def test_columns_are_kept_as_named_and_tables_in_memory_are_read(engine: FakeEngine, tmp_path: Path) -> None:
    frame = pandas.DataFrame(
        {"id": [3, 4], "review": ["Fine.", "So so."], "day": pandas.to_datetime(["2026-01-02"] * 2)}
    )
    output = tmp_path / "answers.parquet"
    notes: list[str] = []
    batch("sentiment", frame, output, engine=engine, keep=["id", "day"], on_note=notes.append)
    rows = read(output)
    assert [(row["id"], row["day"][:10]) for row in rows] == [(3, "2026-01-02"), (4, "2026-01-02")]
    assert "review" not in rows[0]
    assert notes == ["the inputs: text from 'review'; not read: 'id', 'day'"]
    batch("qa", [{"question": "When?", "n": 1}], tmp_path / "qa.jsonl", engine=engine, context="On 1 May.")
    assert read(tmp_path / "qa.jsonl")[0]["n"] == 1


def test_a_field_without_a_column_takes_no_usual_one(engine: FakeEngine, tmp_path: Path) -> None:
    """Nor is a column that has the name of a shared field its second value."""
    rows = tmp_path / "rows.csv"
    rows.write_text("question,text,context\nWhen?,Two days.,It lasts two days at most.\n", encoding="utf-8")
    reading = DataOptions(columns={"question": None, "context": "context"})
    output = tmp_path / "answers.jsonl"
    batch("qa", str(rows), output, engine=engine, reading=reading, question="How long?")
    assert [(row["qa.text"], row["question"]) for row in read(output)] == [("two days", "When?")]


def test_a_text_without_columns_is_one_for_those_who_name_it(engine: FakeEngine, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("It lasts two days.\n\nNobody knows.\n", encoding="utf-8")
    reading = DataOptions(columns={"context": "text"})
    output = tmp_path / "answers.jsonl"
    batch("qa", str(lines), output, engine=engine, reading=reading, by_line=True, question="How long?")
    rows = [(row["text"], row["qa.text"], row["qa.error"]) for row in read(output)]
    assert rows == [("It lasts two days.", "two days.", None), ("", None, None), ("Nobody knows.", "", None)]


def test_the_finished_rows_can_be_read_before_the_others(engine: FakeEngine, reviews: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.jsonl"
    cancel, lines = CancelToken(), []

    def stop(progress: BatchProgress) -> None:
        lines[:] = [line for file in finished_files(output) for line in file.open("rb")]
        if progress.rows >= 10:
            cancel.cancel()

    with pytest.raises(CancelledError):
        batch("sentiment", str(reviews), output, engine=engine, part_rows=5, progress=stop, cancel=cancel)
    assert finished_files(tmp_path / "none.jsonl") == []
    so_far = b"".join(file.read_bytes() for file in finished_files(output))
    assert so_far.count(b"\n") in (10, 15)
    assert so_far.startswith(b"".join(lines))
    with pytest.raises(ChangedBatchError) as caught:
        batch("sentiment", str(reviews), output, engine=engine, part_rows=6)
    assert caught.value.differences == "rows of a part was 5, is 6"
    batch("sentiment", str(reviews), output, engine=engine, part_rows=5)
    [whole] = finished_files(output)
    assert whole.read_bytes().startswith(so_far)


def test_reading_computing_and_writing_overlap(engine: FakeEngine, tmp_path: Path) -> None:
    """While the model is held in the second part, the third is read and the first is on disk."""
    read_so_far: list[int] = []

    def texts() -> Iterator[str]:
        for number in range(40):
            read_so_far.append(number)
            yield f"Text {number}."

    engine.models.clear()
    engine.gate.clear()
    output = tmp_path / "answers.jsonl"
    thread = threading.Thread(
        target=batch, args=("sentiment", texts(), output), kwargs={"engine": engine, "part_rows": 8}
    )
    thread.start()
    engine.seconds = 0.0
    try:
        wait_for(lambda: len(read_so_far) == 16 and bool(engine.models) and engine.models[0].held)
        assert len(read_so_far) == 16, "one part ahead, and no more"
    finally:
        engine.gate.set()
        thread.join(30)
    assert len(read(output)) == 40


def wait_for(ready: Any) -> None:
    until = threading.Event()
    for _ in range(500):
        if ready():
            return
        until.wait(0.02)
    raise AssertionError("it never came")


def test_a_row_on_which_a_plugin_fails_is_one_bad_row(engine: FakeEngine, tmp_path: Path) -> None:
    """The task comes with its object, without a plugin; a text is refused, another is no text."""
    texts: list[Any] = [f"Day {number}." for number in range(100)]
    texts[20], texts[41], texts[77] = "It hails.", " ", 5
    report = batch(Weather(), texts, tmp_path / "answers.jsonl", engine=engine)
    rows = read(tmp_path / "answers.jsonl")
    assert (report.rows, report.errors) == (100, 3)
    assert [row["row"] for row in rows if row["weather.label"] is None] == [21, 42, 78]
    assert rows[20]["weather.error"] == (
        "The task 'weather' failed with KeyError: 'hail'. Report it to its author; NLPTASKS_STRICT=1 shows where."
    )
    assert rows[41]["weather.error"].startswith("Input 'text': expected a text with at least one visible character")
    assert rows[77]["weather.error"].startswith("Input: input should be a valid dictionary")


def test_nothing_but_a_batch_s_own_files_is_removed(engine: FakeEngine, reviews: Path, tmp_path: Path) -> None:
    other = tmp_path / "mine.parts"
    other.mkdir()
    (other / "thesis.txt").write_text("precious", "utf-8")
    for restart in (False, True):
        with pytest.raises(NlptasksError, match=r"mine.parts: expected a batch's folder or none, found other files"):
            batch("sentiment", str(reviews), tmp_path / "mine.csv", engine=engine, restart=restart)
    output = tmp_path / "answers.csv"
    begin(engine, str(reviews), output)
    (tmp_path / "answers.parts" / "notes.txt").write_text("precious", "utf-8")
    batch("sentiment", str(reviews), output, engine=engine, part_rows=5)
    assert [path.name for path in (tmp_path / "answers.parts").iterdir()] == ["notes.txt"]
    assert (other / "thesis.txt").read_text("utf-8") == "precious"


def test_the_input_is_never_replaced(engine: FakeEngine, reviews: Path) -> None:
    before = reviews.read_bytes()
    for restart in (False, True):
        with pytest.raises(NlptasksError, match=r"reviews.csv: expected another file than the input, found the input"):
            batch("sentiment", [reviews], reviews, engine=engine, restart=restart)
    assert reviews.read_bytes() == before


def test_a_damaged_part_is_computed_again(engine: FakeEngine, reviews: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.csv"
    begin(engine, str(reviews), output)
    [part] = (tmp_path / "answers.parts").glob("part-*.jsonl")
    part.write_bytes(part.read_bytes()[:100])
    assert batch("sentiment", str(reviews), output, engine=engine, part_rows=5).computed == ROWS


def test_a_refused_batch_leaves_nothing(engine: FakeEngine, tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    for content, fault in (
        ("text\n", "rows.csv: expected rows, found none."),
        ("note\nfine\n", "expected a text column"),
    ):
        source.write_text(content, "utf-8")
        with pytest.raises(DataError, match=fault):
            batch("sentiment", str(source), tmp_path / "answers.csv", engine=engine)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    source.write_text("text\nfine\n", "utf-8")
    assert batch("sentiment", str(source), tmp_path / "answers.csv", engine=engine).rows == 1


def test_bad_values_in_memory_are_bad_rows(engine: FakeEngine, tmp_path: Path) -> None:
    output = tmp_path / "answers.jsonl"
    rows: list[Any] = ["fine", "\ud800", {"text": "fine", 1: "one"}, {"text": "fine", "d": "\ud800"}, "fine"]
    assert batch("sentiment", rows, output, engine=engine).errors == 2
    read_back = read(output)
    assert [row["row"] for row in read_back if row["sentiment.error"]] == [2, 4]
    assert "half of a surrogate pair" in read_back[1]["sentiment.error"]
    assert read_back[2]["1"] == "one"
    frame = pandas.DataFrame({"text": ["fine", "so"], "d": pandas.to_datetime(["2026-01-02", None])})
    batch("sentiment", frame, output, engine=engine, restart=True)
    assert [row["d"] for row in read(output)] == ["2026-01-02T00:00:00", None]
    batch("sentiment", {"text": ["fine", "so"], "n": [1, 2]}, output, engine=engine, restart=True, keep="n")
    assert [(row["n"], "text" in row) for row in read(output)] == [(1, False), (2, False)]


def test_columns_of_one_name_are_all_kept(engine: FakeEngine, tmp_path: Path) -> None:
    output, notes = tmp_path / "answers.jsonl", list[str]()
    row = {"text": "fine", "row": 1, "row (input)": 2, "sentiment.label": 3}
    batch("sentiment", [row], output, engine=engine, keep=[*row, "nothing"], on_note=notes.append)
    written = read(output)[0]
    assert {written["row (input)"], written["row (input) (input)"]} == {1, 2}
    assert written["sentiment.label (input)"] == 3
    assert notes[-1] == "keep: no row has a column 'nothing'"


@pytest.mark.parametrize(
    ("inputs", "arguments", "sentence"),
    [
        (5, {}, "Expected files, a table or an iterable of inputs, found int."),
        (["fine"], {"cancel": 5}, "cancel: expected a CancelToken, found int."),
        (["fine"], {"part_rows": -1}, "part_rows: expected a whole number above 0, found -1."),
        (["fine"], {"shard": (3, 2)}, "--shard: expected NUMBER/COUNT, such as 3/8, found '(3, 2)'."),
    ],
)
def test_wrong_arguments_are_refused(
    engine: FakeEngine, tmp_path: Path, inputs: Any, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(NlptasksError) as refused:
        batch("sentiment", inputs, tmp_path / "answers.csv", engine=engine, **arguments)
    assert str(refused.value) == sentence
    assert not list(tmp_path.iterdir())
