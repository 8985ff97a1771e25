"""Batch runs apart from the page: computed, stopped and continued; their answers paged, filtered and counted."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nlptasks import (
    Classification,
    Entities,
    Entity,
    InvalidInputError,
    LabelScore,
    NlptasksError,
    OverflowRefusedError,
    Plugins,
    TextClassification,
    hookimpl,
)
from nlptasks.data import FORMATS, Row
from nlptasks.errors import DataError
from nlptasks.settings import Settings
from tests.fake_engine import FakeEngine
from tests.table_files import EVERY_FORMAT
from tests.ui_browser import until

gr = pytest.importorskip("gradio")
openpyxl = pytest.importorskip("openpyxl")

from nlptasks_ui.amounts import duration  # noqa: E402
from nlptasks_ui.batch import answers, runs, show, tables  # noqa: E402
from nlptasks_ui.batch.answers import Answers, Filter  # noqa: E402
from nlptasks_ui.batch.charts import Tally  # noqa: E402
from nlptasks_ui.batch.runs import RUNS_AT_ONCE, Request, Run, Runs  # noqa: E402
from nlptasks_ui.batch.watch import Watch, _Seen  # noqa: E402
from nlptasks_ui.context import Context  # noqa: E402


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


def upload(folder: Path, name: str, content: str | bytes) -> tables.Upload:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return tables.read_file(path)


def read(folder: Path, name: str, content: str | bytes) -> tables.Table:
    return upload(folder, name, content).table


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
    assert rows_of(tables.read_lines("one\n\ntwo\n").table) == [{"text": "one"}, {"text": "two"}]


def test_the_page_reads_whatever_the_library_reads(tmp_path: Path) -> None:
    for name, content in EVERY_FORMAT.items():
        for path in (name, f"{name}.gz"):
            table = read(tmp_path, path, gzip.compress(content) if path.endswith(".gz") else content)
            assert (len(table.rows), table.problems) == (10, []), path
            show.preview(table).encode()
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
    for name, content, sentence in (
        (
            "a.pdf",
            "x",
            "a.pdf: expected one of .txt, .csv, .tsv, .json, .jsonl, .parquet, .arrow, .xlsx, .conll, .bio, .iob (also",
        ),
        ("a.csv", "text\n", "a.csv: expected rows, found none."),
        ("b.csv", "text,text\n1,2\n", "b.csv: expected a different name for each column, found 'text' twice: rename"),
        ("d.xlsx", "no book", "d.xlsx: expected an Excel workbook, found something else"),
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


def test_only_the_first_rows_are_read_before_a_run(tmp_path: Path) -> None:
    content = "text\n" + "".join(f"Text {number}.\n" for number in range(300))
    first = upload(tmp_path, "many.csv", content)
    assert (len(first.table.rows), first.whole) == (tables.FIRST_ROWS, False)
    assert "More than 100 rows in 1 column." in show.summary(first)
    assert "<p>1 row in 1 column.</p>" in show.summary(upload(tmp_path, "one.csv", "text\nOne.\n"))
    assert show.preview(first.table).count("<tr>") == 1 + show.PREVIEW_ROWS


MOOD = Request("mood", {"text": "text"})


def texts(count: int) -> tables.Upload:
    return tables.read_lines("".join(f"text {number}\n" for number in range(count)))


def over(made: Runs, run: Run) -> runs.Status:
    until(lambda: not made.status(run).active, 60)
    return made.status(run)


def lines(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.output.read_text("utf-8").splitlines()]


@pytest.fixture
def made(engine: FakeEngine, tmp_path: Path) -> Iterator[Runs]:
    yield Runs(engine, tmp_path / "ui")
    engine.gate.set()
    engine.close()


def test_a_run_answers_every_row_in_order(engine: FakeEngine, made: Runs) -> None:
    run = made.start(MOOD, texts(600), "")
    status = over(made, run)
    assert (status.state, status.rows, status.errors, status.total) == ("done", 600, 0, 600)
    expected = engine.run("mood", [f"text {number}" for number in range(600)])
    assert [(row["row"], row["text"], row["mood.score"]) for row in lines(run)] == [
        (number + 1, f"text {number}", result.score) for number, result in enumerate(expected)
    ]
    assert not run.parts.exists()
    assert [one.id for one in made.list("")] == [run.id]
    assert show.title(run, status).startswith("pasted-lines.txt, mood, ")
    assert show.title(run, status).endswith(", 600 rows, done")
    made.resume(run)  # there is nothing to continue
    assert made.status(run).state == "done"


def test_a_row_that_cannot_be_answered_fails_alone(made: Runs, tmp_path: Path) -> None:
    words = [f"text {number}" for number in range(40)]
    words[3], words[20], words[33] = " ", "refuse me", "crash here"
    content = "id,text\n" + "".join(f"{number},{text}\n" for number, text in enumerate(words)) + "lonely\n"
    run = made.start(MOOD, upload(tmp_path, "rows.csv", content), "")
    status = over(made, run)
    assert (status.state, status.rows, status.errors) == ("done", 41, 4)
    assert {row["row"] - 1: row["mood.error"] for row in lines(run) if row["mood.error"]} == {
        3: "Input 'text': expected a text with at least one visible character, found ' '.",
        20: "Mood: the text is too long.",
        33: "The task 'mood' of the plugin mood failed with KeyError: 'left'. Report it to its author; "
        "NLPTASKS_STRICT=1 shows where.",
        40: "expected 2 fields, found 1.",
    }
    page = Answers(run)
    page.read()
    failed = page.page(0, Filter(errors=True))
    assert [row["row"] for row in failed.rows] == [4, 21, 34, 41]
    assert "Mood: the text is too long." in show.table(failed, run.request)


def test_stop_keeps_finished_parts_and_continue_goes_on_after_a_restart(
    engine: FakeEngine, made: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "READ_ROWS", 16)
    engine.seconds = 0.01
    run = made.start(MOOD, texts(100), "")
    engine.hold(after=6)
    seen = engine.steps
    made.stop(run)
    assert made.status(run).state == "stopping"
    assert over(made, run).state == "stopped"
    assert engine.steps == seen
    kept = Answers(run)
    kept.read()
    assert len(kept) in (32, 48)
    engine.gate.set()

    computed = engine.steps
    with FakeEngine(settings=engine.settings, plugins=engine.plugins) as other:
        again = Runs(other, tmp_path / "ui")
        [same] = again.list("")
        assert (same.id, same.request, again.status(same).state) == (run.id, MOOD, "stopped")
        again.resume(same)
        status = over(again, same)
        assert (status.state, status.rows, status.seconds > 0) == ("done", 100, True)
        assert other.steps == -(-(100 - len(kept)) // 16) * 2 - (100 % 16 <= 8)
    assert engine.steps == computed
    assert [row["row"] for row in lines(run)] == list(range(1, 101))
    kept.read()
    assert (len(kept), kept.page(1, Filter()).rows) == (100, lines(run)[50:])


def test_a_run_whose_app_was_killed_is_stopped(engine: FakeEngine, made: Runs, tmp_path: Path) -> None:
    engine.gate.clear()
    run = made.start(MOOD, texts(10), "")
    until(lambda: engine.models and engine.models[-1].held)
    assert made.status(run).state == "running"
    assert Runs(engine, tmp_path / "ui").status(run).state == "stopped"
    run.output.write_text("", encoding="utf-8")  # killed right after the last file was written
    assert Runs(engine, tmp_path / "ui").status(run).state == "stopped"
    engine.gate.set()
    made.stop(run)
    over(made, run)


def test_what_every_row_would_meet_is_said_and_the_run_can_be_started_over(
    engine: FakeEngine, made: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'threshold'"):
        made.start(Request("mood", {"text": "text"}, options={"treshold": 1}), texts(3), "")
    with pytest.raises(NlptasksError, match="no-such"):
        made.start(Request("mood", {"text": "text"}, adapter="no-such"), texts(3), "")
    with pytest.raises(NlptasksError, match="Choose a file or paste lines first"):
        made.start(MOOD, None, "")
    swept = upload(tmp_path, "swept.csv", "text\nx\n")
    (tmp_path / "swept.csv").unlink()
    with pytest.raises(DataError, match=r"swept.csv: uploads are deleted after a day: upload it again."):
        made.start(MOOD, swept, "")
    assert made.list("") == []
    run = made.start(Request("mood", {"text": "nowhere"}), upload(tmp_path, "a.csv", "text\nx\n"), "")
    status = over(made, run)
    assert (status.state, status.text) == ("failed", "a.csv: expected a column 'nowhere', found text.")
    assert 'role="alert"' in show.head(status)

    monkeypatch.setattr(runs, "READ_ROWS", 16)
    engine.seconds = 0.2
    run = made.start(MOOD, texts(40), "")
    until(lambda: list(run.parts.glob("part-*.jsonl")))
    made.stop(run)
    over(made, run)
    monkeypatch.setattr(runs, "READ_ROWS", 8)
    engine.seconds = 0.0
    made.resume(run)
    assert over(made, run).text == (
        "This run was begun with something else: rows of a part was 16, is 8. Start over to answer all rows."
    )
    made.restart(run)
    assert (over(made, run).state, len(lines(run))) == ("done", 40)


def test_a_tick_undoes_no_choice_made_while_it_was_on_its_way(
    engine: FakeEngine, made: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gr.Blocks() as blocks:
        watch = Watch(Context(engine, engine.settings.data), made)
        watch.connect()
    [tick] = [event.fn for event in blocks.fns.values() if event.targets[0][1] == "tick"]
    old, new = (made.start(MOOD, texts(3), "") for _ in range(2))
    assert over(made, old).state == over(made, new).state == "done"
    chosen = watch.opened("", new.id)
    assert chosen[watch.run].value == new.id
    assert watch.number in chosen
    update = tick(old.id, 0, None, None, None, False, _Seen(), None)
    assert {"choices", "visible"} == update[watch.run].constructor_args.keys()
    assert watch.number not in update
    monkeypatch.setattr(show, "head", lambda status, _: status.state)
    late = tick(old.id, 0, None, None, None, False, chosen[watch.seen], None)
    assert tick(new.id, 0, None, None, None, False, late[watch.seen], None)[watch.head] == "done"


def test_more_rows_than_the_limit_are_refused(made: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MAX_ROWS", 300)
    status = over(made, made.start(MOOD, texts(600), ""))
    assert (status.state, status.text) == (
        "failed", "pasted-lines.txt: expected at most 300 rows, found more: split the file."
    )  # fmt: skip


def test_so_many_runs_compute_at_once_and_the_others_wait(engine: FakeEngine, made: Runs) -> None:
    engine.gate.clear()
    all_runs = [made.start(MOOD, texts(9), "ada") for _ in range(RUNS_AT_ONCE + 1)]
    states = lambda: sorted(made.status(run).state for run in all_runs)  # noqa: E731
    until(lambda: len([model for model in engine.models if model.held]) == RUNS_AT_ONCE)
    assert states() == [*["running"] * RUNS_AT_ONCE, "waiting"]
    with pytest.raises(NlptasksError, match="stop it first"):
        made.delete(all_runs[0])
    [waiting] = [run for run in all_runs if made.status(run).state == "waiting"]
    engine.gate.set()
    assert [over(made, run).state for run in all_runs] == ["done"] * len(all_runs)
    assert made.list("bob") == made.list("") == []
    with pytest.raises(NlptasksError, match="no longer exists"):
        made.find(waiting.id, "bob")
    made.delete(made.find(waiting.id, "ada"))
    assert waiting not in made.list("ada")
    assert not waiting.folder.exists()


def test_a_run_that_waits_can_be_stopped(engine: FakeEngine, made: Runs) -> None:
    engine.gate.clear()
    all_runs = [made.start(MOOD, texts(9), "") for _ in range(RUNS_AT_ONCE + 1)]
    until(lambda: len([model for model in engine.models if model.held]) == RUNS_AT_ONCE)
    for run in all_runs:
        made.stop(run)
        assert over(made, run).state == "stopped"


def answers_of(folder: Path, task: str, results: Sequence[Any]) -> Answers:
    """The answers of a run that wrote these results; None is a row with an error."""
    run = Run(folder, "rows.csv", 0.0, Request(task, {"text": "text"}))
    folder.mkdir(exist_ok=True)
    with run.output.open("w", encoding="utf-8") as stream:
        for number, result in enumerate(results, start=1):
            fields = result.model_dump(mode="json") if result else {"model": None}
            fields["error"] = None if result else "Too long."
            row = {"row": number, "text": f"text {number}", **{f"{task}.{key}": value for key, value in fields.items()}}
            stream.write(json.dumps(row) + "\n")
    made = Answers(run)
    made.read()
    return made


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


def test_rows_are_paged_and_filtered_by_label_score_and_error(tmp_path: Path) -> None:
    made = answers_of(tmp_path / "moods", "mood", [*MOODS, None] * 40)

    def numbers(number: int = 0, **wanted: Any) -> tuple[list[int], int, int]:
        page = made.page(number, Filter(**wanted))
        return [row["row"] for row in page.rows], page.first, page.total

    assert numbers() == (list(range(1, 51)), 0, 160)
    assert numbers(3) == (list(range(151, 161)), 150, 160)
    assert numbers(9) == numbers(3)
    assert numbers(-1) == numbers()
    assert numbers(label="upset") == (list(range(2, 160, 4)), 0, 40)
    assert numbers(label="calm", lowest=0.7) == (list(range(1, 160, 4)), 0, 40)
    assert numbers(lowest=0.6, highest=0.75)[2] == 80
    assert numbers(errors=True) == (list(range(4, 161, 4)), 0, 40)
    assert numbers(errors=True, label="calm") == ([], 0, 0)
    assert (made.labels, made.scored, made.errors) == (["calm", "upset"], True, 40)
    assert answers_of(tmp_path / "names", "ner", [NAMES, None]).labels == ["LOC", "PER"]


def test_reading_many_rows_goes_on_with_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_READ_SECONDS", -1.0)
    made = answers_of(tmp_path / "moods", "mood", MOODS)
    assert (len(made), made.complete) == (1, False)
    for _ in range(3):
        made.read()
    assert (len(made), made.complete) == (3, True)


def test_charts_follow_from_the_fields(tmp_path: Path) -> None:
    labels, scores = answers_of(tmp_path / "moods", "mood", [*MOODS, None]).tally.charts()
    assert (labels.title, labels.names, labels.counts) == ("Labels", ("calm", "upset"), (2, 1))
    assert (sum(scores.counts), scores.counts[9], scores.counts[7]) == (3, 1, 1)
    types, names, scores = answers_of(tmp_path / "names", "ner", [NAMES, NAMES]).tally.charts()
    assert (types.names, types.counts) == (("PER", "LOC"), (4, 2))
    assert names.names == ("Ada (PER)", "Bo (PER)", "Oslo (LOC)")
    assert (scores.counts[5], sum(scores.counts)) == (6, 6)
    assert Tally().charts() == []


def test_the_page_shows_answers_first_and_clips_long_texts(tmp_path: Path) -> None:
    names = answers_of(tmp_path / "names", "ner", [NAMES, None]).page(0, Filter())
    shown = show.table(names, Request("ner", {"text": "text"}))
    heads = ["row", "ner.entities", "ner.error", "text"]
    assert [shown.index(f">{head}</th>") for head in heads] == sorted(shown.index(f">{head}</th>") for head in heads)
    assert "<td>Ada (PER); Oslo (LOC); Bo (PER)</td>" in shown
    long = names._replace(rows=[{"row": 1, "ner.entities": [], "text": "<b>" + "x" * 500}])
    assert f"<td>&lt;b&gt;{'x' * 157}…</td>" in show.table(long, Request("ner", {"text": "text"}))
    assert show.place(names) == "Rows 1 to 2 of 2"
    assert duration(0.2) == "less than a second"
    assert [duration(seconds) for seconds in (1, 89, 90, 7200)] == [
        "1 second", "89 seconds", "2 minutes", "2.0 hours"
    ]  # fmt: skip
