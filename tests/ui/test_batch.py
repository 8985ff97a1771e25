"""Batches apart from the page: tables read, slices run and stopped, results written, counts drawn."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlptasks import (
    Classification,
    Entities,
    Entity,
    InvalidInputError,
    LabelScore,
    OverflowRefusedError,
    Plugins,
    TextClassification,
    hookimpl,
)
from nlptasks.data import FORMATS, Row
from nlptasks.errors import DataError
from nlptasks.settings import Settings
from tests.fake_engine import STEP, FakeEngine
from tests.table_files import EVERY_FORMAT

openpyxl = pytest.importorskip("openpyxl")

from nlptasks_ui.amounts import duration  # noqa: E402
from nlptasks_ui.batch import show, tables  # noqa: E402
from nlptasks_ui.batch.charts import charts_of  # noqa: E402
from nlptasks_ui.batch.export import flat, write_all, write_csv  # noqa: E402
from nlptasks_ui.batch.run import Batch, Outcome, Progress  # noqa: E402


class Mood(TextClassification):
    """How a text feels."""

    name = "mood"
    labels = ("calm", "upset")

    def run(self, inputs: Sequence[Any], options: Any, model: Any) -> list[Classification]:
        for item in inputs:
            if "refuse" in item.text:
                raise OverflowRefusedError("mood: the text is too long.")
            if "crash" in item.text:
                raise KeyError("left")
        return super().run(inputs, options, model)


class Plugin:
    @hookimpl
    def register_tasks(self, register: Any) -> None:
        register(Mood())


@pytest.fixture
def engine(settings: Settings) -> FakeEngine:
    plugins = Plugins(settings)
    plugins.register(Plugin(), "mood")
    plugins.load_entry_points()
    return FakeEngine(settings=settings, plugins=plugins)


def read(folder: Path, name: str, content: str | bytes) -> tables.Table:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return tables.read_file(path)


def workbook(*rows: Sequence[Any]) -> bytes:
    book, stream = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(stream)
    return stream.getvalue()


def rows_of(table: tables.Table) -> list[dict[str, Any]]:
    return [dict(record.fields) for record in table.rows]


def test_one_table_from_every_format(tmp_path: Path) -> None:
    expected = [{"id": "1", "text": "one, two"}, {"id": "2", "text": "ça va 🙂"}]
    for name, content in {
        "a.csv": 'id,text\n1,"one, two"\n2,ça va 🙂\n',
        "b.csv": '\ufeffid;text\r\n1;"one, two"\r\n2;ça va 🙂\r\n',
        "c.tsv": "id\ttext\n1\tone, two\n2\tça va 🙂\n",
        "d.jsonl": '{"id": "1", "text": "one, two"}\n\n{"id": "2", "text": "ça va 🙂"}\n',
        "e.xlsx": workbook(("id", "text"), (1, "one, two"), (), (2.0, "ça va 🙂", None)),
    }.items():
        assert rows_of(read(tmp_path, name, content)) == expected, name
    assert rows_of(read(tmp_path, "f.txt", "one, two\n\nça va 🙂\r\n")) == [{"text": row["text"]} for row in expected]
    assert rows_of(tables.read_lines("one\ntwo\n")) == [{"text": "one"}, {"text": "two"}]


def test_the_page_reads_whatever_the_library_reads(tmp_path: Path) -> None:
    for name, content in EVERY_FORMAT.items():
        for path in (name, f"{name}.gz"):
            table = read(tmp_path, path, gzip.compress(content) if path.endswith(".gz") else content)
            assert (len(table.rows), table.problems) == (10, []), path
            shown = show.preview(table)
            json.dumps(shown, ensure_ascii=False).encode()
    assert (*FORMATS, ".gz") == tables.KINDS


def test_every_bad_row_is_named_and_the_others_stay(tmp_path: Path) -> None:
    table = read(tmp_path, "a.csv", b"id,text\n1,fine\n2\n3,caf\xe9\n4,good\n")
    assert [row["id"] for row in rows_of(table)] == ["1", "4"]
    assert table.problems == [
        "a.csv:3: expected 2 fields, found 1.",
        "a.csv:4: expected UTF-8, found other bytes; "
        "save the file as UTF-8, or give --encoding cp1252, which reads 'café'.",
    ]
    assert read(tmp_path, "b.xlsx", workbook(("text",), ("a", "b"), ("c",))).problems == [
        "b.xlsx:2: expected 1 cells, found 2."
    ]
    book, stream = openpyxl.load_workbook(io.BytesIO(workbook(("text",), ("a",)))), io.BytesIO()
    book.create_sheet("more")
    book.save(stream)
    assert read(tmp_path, "two.xlsx", stream.getvalue()).notes == [
        "two.xlsx: only the first of 2 sheets is read (Sheet)"
    ]
    assert read(tmp_path, "c.txt", b"caf\xe9\nfine\n").problems == [
        "c.txt:1: expected UTF-8, found other bytes; "
        "save the file as UTF-8, or give --encoding cp1252, which reads 'café'."
    ]


def test_a_useless_file_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 2)
    for name, content, sentence in (
        (
            "a.pdf",
            "x",
            "a.pdf: expected one of .txt, .csv, .tsv, .json, .jsonl, .parquet, .arrow, .xlsx, .conll, .bio, .iob (also",
        ),
        ("a.csv", "text\n", "a.csv: expected rows, found none."),
        ("b.csv", "text,text\n1,2\n", "b.csv: expected a different name for each column, found 'text' twice: rename"),
        ("c.csv", "text\n1\n2\n3\n", "c.csv: expected at most 2 rows, found more: split the file"),
        ("d.xlsx", "no book", "d.xlsx: expected an Excel workbook, found something else"),
        ("e.xlsx", workbook(("text",), *[("x",)] * 9), "e.xlsx: expected at most 2 rows, found more"),
    ):
        with pytest.raises(DataError) as caught:
            read(tmp_path, name, content)
        assert str(caught.value).startswith(sentence)
    monkeypatch.setattr(tables, "MAX_BYTES", 200)
    with pytest.raises(DataError, match=r"many.csv.gz: expected at most 0 MB unpacked, found more: split the file."):
        read(tmp_path, "many.csv.gz", gzip.compress(b"text\n" + 2000 * b"a"))
    monkeypatch.setattr(tables, "MAX_BYTES", 3)
    with pytest.raises(DataError, match=r"big.txt: expected at most 0 MB, found 0 MB: split the file."):
        read(tmp_path, "big.txt", "four")


def test_columns_are_guessed_by_name_and_then_by_length(engine: FakeEngine) -> None:
    def guess(task: str, **row: str) -> dict[str, str]:
        table = tables.Table("t", tuple(row), [Row("t:1", row)])
        return tables.guess_columns(engine.plugins.task(task), table)

    assert guess("mood", id="7", Review="a long text") == {"text": "Review"}
    assert guess("mood", a="7", b="a long text") == {"text": "b"}
    assert guess("qa", text="A fox.", query="Who?") == {"question": "query", "context": "text"}
    assert guess("translation", text="Hi", target_language="fr", x="") == {
        "text": "text", "target_language": "target_language"
    }  # fmt: skip
    assert guess("generation", words="Say it") == {"prompt": "words"}


def test_cells_stand_before_what_all_rows_share() -> None:
    records = [Row("t:1", {"a": "Hi", "to": ""}), Row("t:2", {"a": "Ho", "to": "de"})]
    table = tables.Table("t", ("a", "to"), records)
    assert tables.inputs_of(table, {"text": "a", "target_language": "to"}, {"target_language": "fr"}) == [
        {"text": "Hi", "target_language": "fr"},
        {"text": "Ho", "target_language": "de"},
    ]


def run(batch: Batch, every: float = 0.25) -> list[Progress]:
    async def steps() -> list[Progress]:
        return [step async for step in batch.run(every)]

    return asyncio.run(steps())


def test_a_batch_answers_every_row_in_order(engine: FakeEngine) -> None:
    texts = [f"text {i}" for i in range(500)]
    batch = Batch(engine, "mood", [{"text": text} for text in texts])
    steps = run(batch)
    expected = engine.run("mood", texts)
    assert [outcome and outcome.result for outcome in batch.outcomes] == expected
    assert (batch.complete, batch.error, batch.cancelled) == (True, "", False)
    assert [step.completed for step in steps] == sorted(step.completed for step in steps)
    assert (steps[0].completed, steps[-1].completed, steps[-1].failed, steps[-1].left) == (0, 500, 0, 0.0)
    assert steps[-1].rate


def test_a_row_that_cannot_be_answered_fails_alone(engine: FakeEngine) -> None:
    texts = [f"text {i}" for i in range(40)]
    texts[3], texts[20], texts[33] = " ", "refuse me", "crash here"
    inputs = [{"text": text} for text in texts]
    inputs[5] = {}
    batch = Batch(engine, "mood", inputs)
    steps = run(batch)
    errors = {place: outcome.error for place, outcome in enumerate(batch.outcomes) if outcome and outcome.error}
    assert errors == {
        3: "Input 'text': expected a text with at least one visible character, found ' '.",
        5: "The row is empty in the selected columns.",
        20: "Mood: the text is too long.",
        33: "The task 'mood' of the plugin mood failed with KeyError: 'left'. Report it to its author; "
        "NLPTASKS_STRICT=1 shows where.",
    }
    assert (steps[-1].completed, steps[-1].failed, batch.error) == (40, 4, "")


def test_what_every_row_would_meet_ends_the_batch_and_keeps_what_is_done(engine: FakeEngine) -> None:
    batch = Batch(engine, "mood", [{"text": f"{i}"} for i in range(50)])

    async def close_after_the_first_slice() -> None:
        async for step in batch.run():
            if step.completed:
                engine.close()

    asyncio.run(close_after_the_first_slice())
    assert batch.error == "This engine is closed: make a new Engine."
    assert sum(1 for outcome in batch.outcomes if outcome and outcome.result) == 8
    with pytest.raises(InvalidInputError, match="did you mean 'threshold'"):
        Batch(engine, "mood", [], options={"treshold": 1})


def test_cancel_ends_the_computation_within_one_step_and_keeps_what_is_done(engine: FakeEngine) -> None:
    batch = Batch(engine, "mood", [{"text": f"{i}"} for i in range(500)])
    seen: list[int] = []

    async def stop_in_the_second_slice() -> None:
        async for step in batch.run(every=0.02):
            if step.completed >= 8 and engine.gate.is_set():
                engine.gate.clear()
            elif not engine.gate.is_set() and len(engine.models) > 1 and not seen:
                seen.append(engine.steps)
                batch.cancel()
                engine.gate.set()

    asyncio.run(stop_in_the_second_slice())
    assert seen
    time.sleep(0.1)
    assert engine.steps <= seen[0] + 1
    assert batch.cancelled
    done = [outcome for outcome in batch.outcomes if outcome]
    assert 8 <= len(done) < 500
    assert all(outcome.result for outcome in done)
    assert not batch.complete


def test_leaving_the_loop_ends_the_computation(engine: FakeEngine) -> None:
    batch = Batch(engine, "mood", [{"text": f"{i}"} for i in range(500)])
    engine.gate.clear()

    async def leave() -> None:
        steps = batch.run(every=0.02)
        await anext(steps)
        await anext(steps)
        await steps.aclose()

    asyncio.run(leave())
    assert [model.token.cancelled for model in engine.models] == [True]
    engine.gate.set()
    time.sleep(0.05)
    assert engine.steps == 0


@pytest.mark.long
def test_progress_is_told_within_a_slice(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlptasks_ui.batch.run.FIRST_SLICE", 4 * STEP)
    engine.seconds = 0.05
    steps = run(Batch(engine, "mood", [{"text": f"{i}"} for i in range(4 * STEP)]), every=0.01)
    assert {2 * STEP, 3 * STEP} <= {step.completed for step in steps}
    assert steps[-1].completed == 4 * STEP


MOODS = [
    Classification(
        label=label, score=score, labels=(label,),
        scores=(LabelScore(label=label, score=score), LabelScore(label=other, score=1 - score)),
    )
    for label, other, score in (("calm", "upset", 0.9), ("upset", "calm", 0.75), ("calm", "upset", 0.6))
]  # fmt: skip
NAMES = Entities(
    entities=tuple(
        Entity(label=label, text=text, start=0, end=len(text), score=0.5)
        for label, text in (("PER", "Ada"), ("LOC", "Oslo"), ("PER", "Bo"))
    )
)


def test_every_field_of_a_result_has_its_column() -> None:
    for result in (MOODS[0], NAMES):
        cells = flat(result)
        assert all(
            any(key == name or key.startswith(f"{name}.") for key in cells) for name in type(result).model_fields
        )
        assert all(isinstance(value, str | int | float | bool | None) for value in cells.values())
    assert flat(MOODS[0])["scores.calm"] == 0.9
    assert (flat(NAMES)["entities.PER"], json.loads(flat(NAMES)["entities"])[1]["text"]) == ("Ada; Bo", "Oslo")
    assert flat(Entities(entities=()))["entities"] == ""


def test_the_three_files_say_the_same(tmp_path: Path) -> None:
    texts = ["=1+1", "-5", "line\nbreak", "+cmd|x", "\x07bell", "never reached"]
    records = [Row(f"t:{i}", {"text": text, "mood.label": "old"}) for i, text in enumerate(texts)]
    outcomes = [Outcome(MOODS[0]), Outcome(MOODS[1]), Outcome(error="-bad"), Outcome(MOODS[2]), Outcome(MOODS[2]), None]
    paths = write_all(tmp_path / "out", "my rows/..", "mood", records, outcomes)
    assert paths["csv"].name == "my-rows-mood.csv"

    with paths["csv"].open(encoding="utf-8-sig", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert list(table[0])[:5] == ["text", "mood.label", "mood.label (2)", "mood.score", "mood.scores.calm"]
    assert [row["text"] for row in table] == ["'=1+1", "-5", "line\nbreak", "'+cmd|x", "\x07bell"]
    assert [row["mood.label (2)"] for row in table] == ["calm", "upset", "", "calm", "calm"]
    assert [row["mood.error"] for row in table] == ["", "", "'-bad", "", ""]

    lines = [json.loads(line) for line in paths["jsonl"].read_text("utf-8").splitlines()]
    assert [line["input"]["text"] for line in lines] == texts[:5]
    assert Classification.model_validate(lines[0]["result"]) == MOODS[0]
    assert (lines[2]["result"], lines[2]["error"]) == (None, "-bad")

    sheet = openpyxl.load_workbook(paths["xlsx"]).active
    cells = [row[0] for row in sheet.iter_rows(min_row=2)]
    assert [cell.value for cell in cells] == ["=1+1", "-5", "line\nbreak", "+cmd|x", "\ufffdbell"]
    assert [(cell.data_type, bool(cell.quotePrefix)) for cell in cells[:3]] == [("s", True), ("s", True), ("s", False)]
    assert sheet["D2"].value == 0.9


def test_a_text_too_long_for_a_cell_says_so(tmp_path: Path) -> None:
    paths = write_all(tmp_path, "a", "mood", [Row("t:1", {"text": "x" * 40_000})], [Outcome(MOODS[0])])
    value = openpyxl.load_workbook(paths["xlsx"]).active["A2"].value
    assert len(value) == 32_767
    assert value.endswith(" [truncated: the CSV and JSONL files have the full text]")


@given(st.text(max_size=12).flatmap(lambda text: st.sampled_from([text, f"={text}", f"-{text}", f"\t{text}"])))
def test_no_text_becomes_a_formula(text: str) -> None:
    stream = io.StringIO()
    write_csv(stream, ["text"], [{"text": text}])
    [_, *shown] = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    cell = shown[0][0] if shown and shown[0] else ""
    assert cell in (text, f"'{text}")
    if cell.startswith(tuple("=+-@\t\r\n")):
        float(cell.rstrip("%").replace(",", "."))


def test_charts_follow_from_the_fields() -> None:
    labels, scores = charts_of(MOODS)
    assert (labels.title, labels.names, labels.counts) == ("Labels", ("calm", "upset"), (2, 1))
    assert (sum(scores.counts), scores.counts[9], scores.counts[7]) == (3, 1, 1)
    types, names, scores = charts_of([NAMES, NAMES])
    assert (types.names, types.counts) == (("PER", "LOC"), (4, 2))
    assert names.names == ("Ada (PER)", "Bo (PER)", "Oslo (LOC)")
    assert (scores.counts[5], sum(scores.counts)) == (6, 6)
    assert charts_of([]) == []


def test_the_page_shows_answers_first_and_errors_beside_their_rows() -> None:
    records = [Row("t:1", {"id": 1, "text": "a"}), Row("t:2", {"id": 2, "text": "b"})]
    table = tables.Table("t", ("id", "text"), records)
    shown = show.results("ner", table, [Outcome(NAMES), Outcome(error="Too long.")], ["text"])
    assert shown["headers"] == ["text", "error", "entities.LOC", "entities.PER"]
    assert shown["data"] == [["a", "", "Oslo", "Ada; Bo"], ["b", "Too long.", "", ""]]
    assert duration(0.2) == "less than a second"
    assert [duration(seconds) for seconds in (1, 89, 90, 7200)] == [
        "1 second", "89 seconds", "2 minutes", "2.0 hours"
    ]  # fmt: skip
