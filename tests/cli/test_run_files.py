"""`nlptasks run -f`: ten answers for ten rows of every format, columns, blank lines, and faults with their place."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nlptasks.cli import cli
from nlptasks.settings import Settings
from nlptasks.store.adapter_store import AdapterStore
from nlptasks.testing import tiny_model
from tests.table_files import EVERY_FORMAT, TEXTS
from tests.tiny_adapters import classifier_adapter

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny encoder with an adapter `tiny` for sentiment, and no network."""
    root = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("CACHE", "cache"), ("DATA", "data")):
            patch.setenv(f"NLPTASKS_{name}", str(root / value))
        patch.setenv("HF_HUB_OFFLINE", "1")
        folder = AdapterStore(Settings.from_env()).folder("sentiment", "tiny")
        classifier_adapter(tiny_model(root / "encoder", "encoder"), folder, labels=("negative", "positive"))
        yield


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    command = ["run", "sentiment", "-a", "tiny", *map(str, arguments)]
    return CliRunner().invoke(cli, command, input=stdin, catch_exceptions=True)


def answers(done: Result) -> list[Any]:
    assert done.exit_code == 0, (done.stderr, done.exception)
    return [json.loads(line) for line in done.stdout.split("\n")[:-1]]


def test_an_empty_input_beside_fields_is_named_by_its_field() -> None:
    done = CliRunner().invoke(cli, ["run", "qa", "-o", "context", "The ferry was built in 1931."], input="")
    assert refusal(done) == "standard input: question: expected a text, found none."


def refusal(done: Result) -> str:
    assert done.exit_code == 1
    return str(done.exception) if done.exception and not isinstance(done.exception, SystemExit) else done.stderr


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_ten_rows_have_the_same_ten_answers_in_every_format(tmp_path: Path) -> None:
    in_place = [answer["scores"] for answer in answers(run(*TEXTS, "--jsonl"))]
    assert len(in_place) == 10
    for name, content in EVERY_FORMAT.items():
        for path in (write(tmp_path, name, content), write(tmp_path, f"{name}.gz", gzip.compress(content))):
            given = answers(run("-f", path, "--lines", "--jsonl"))
            assert [answer["scores"] for answer in given] == in_place, path.name


@pytest.mark.parametrize("name", ["report.pdf", "photo.png", "report.txt"])
def test_no_text_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    sentence = refusal(run("-f", write(tmp_path, name, b"%PDF-1.7 text")))
    assert f"{name}: expected " in sentence
    assert len(sentence.strip().splitlines()) == 1


def test_the_example_is_answered_with_its_other_column() -> None:
    example = Path(__file__).parents[2] / "examples" / "reviews.csv"
    done = run("-f", example, "--jsonl", "--keep")
    kept = answers(done)
    assert kept[0]["input"] == {"text": "The soup was cold and the waiter rude.", "label": "negative"}
    assert {"label", "scores", "adapter"} <= kept[0]["result"].keys()
    assert f"{example}: text from 'text'; not read: 'label'" in done.stderr
    assert [line["result"] for line in kept] == answers(run("-f", example, "--jsonl"))


def test_columns_are_named_on_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.csv", '"remark, short";text\nfine;bad\n')
    named = answers(run("-f", path, "--columns", "text=REMARK, SHORT", "--jsonl", "--keep"))
    fine = answers(run("fine", "--jsonl"))[0]
    assert named == [{"row": 1, "input": {"remark, short": "fine", "text": "bad"}, "result": fine}]
    assert "expected a column 'remrk', found remark, short, text" in refusal(run("-f", path, "--columns", "text=remrk"))
    assert "expected a field of sentiment (text), found 'label'" in refusal(run("-f", path, "--columns", "label=text"))
    assert run("-f", path, "--columns", "remark").exit_code == 2
    assert run("-f", path, "--keep").exit_code == 2


def test_blank_lines_keep_their_places(tmp_path: Path) -> None:
    path = write(tmp_path, "page.txt", "fine\r\n\r\n \nso\x0cso\u2028\n")
    lines = answers(run("-f", path, "--lines", "--jsonl"))
    assert [line is None for line in lines] == [False, True, True, False]
    assert json.loads(run("-f", path, "--lines", "--json").stdout) == lines
    assert answers(run("-", "--lines", "--jsonl", stdin=path.read_bytes())) == lines
    assert len(run("-f", path, "--lines").stdout.splitlines()) == 4, "a line for the text, and one for its answer"
    assert answers(run("-f", write(tmp_path, "blank.txt", "\n"), "--lines", "--jsonl")) == [None]


def test_what_was_written_as_jsonl_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.jsonl", json.dumps({"text": "one\u2028two\x85three", "n": float("nan")}) + "\n")
    written = run("-f", path, "--jsonl", "--keep").stdout
    again = write(tmp_path, "again.jsonl", "".join(json.dumps(json.loads(written)["input"]) + "\n"))
    assert run("-f", again, "--jsonl", "--keep").stdout == written
    assert json.loads(written)["input"]["n"] is None


def test_a_bad_row_is_one_bad_row(tmp_path: Path) -> None:
    ragged = write(tmp_path, "ragged.csv", 'text,label\nfine,a\nfine\n"two\nlines",b\n"",c\nx,y,z\n')
    done = run("-f", ragged, "--jsonl", "--keep")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 3
    assert [(line["row"], line.get("error")) for line in lines] == [
        (1, None),
        (2, "expected 2 fields, found 1."),
        (3, None),
        (4, "Input 'text': expected a text with at least one visible character, found ''."),
        (5, "expected 2 fields, found 3."),
    ]
    assert (lines[1]["input"], lines[1]["result"], lines[2]["input"]["text"]) == (None, None, "two\nlines")
    assert f"{ragged}:3: expected 2 fields, found 1." in done.stderr
    assert done.stderr.splitlines()[-1] == "3 of 5 inputs have no answer."
    shown = run("-f", ragged)
    assert (shown.exit_code, len(shown.stdout.splitlines()), shown.stderr) == (3, 4, done.stderr)


def test_answers_come_before_the_last_row_is_read(tmp_path: Path) -> None:
    """The reader of the output leaves after a line; most rows are never read."""
    path = write(tmp_path, "rows.txt", "fine\n" * 100_000)
    command = [
        sys.executable,
        "-m",
        "nlptasks",
        "run",
        "sentiment",
        "-a",
        "tiny",
        "-f",
        str(path),
        "--lines",
        "--jsonl",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["label"] in ("negative", "positive")
        process.stdout.close()
        start = time.monotonic()
        assert process.wait(60) in (0, 1)
    assert time.monotonic() - start < 10, "100,000 rows take this model over a minute"


def test_what_cannot_be_read_at_all_is_refused(tmp_path: Path) -> None:
    broken = write(tmp_path, "broken.jsonl", b'{"text": "fine"}\n{"text": 5}\n{"note": "fine"}\n')
    other = write(tmp_path, "other.csv", "id,note\n1,fine\n")
    assert "other.csv: expected a text column (text, sentence, " in refusal(run("-f", other))
    assert "found id, note. Name it with --columns text=NAME" in refusal(run("-f", other))
    problems = run("-f", broken).stderr.splitlines()
    assert "broken.jsonl:2: Input 'text': input should be a valid string, found 5." in problems[0]
    assert "broken.jsonl:3: expected a text column" in problems[1]
    assert "empty.csv: expected rows, found none." in refusal(run("-f", write(tmp_path, "empty.csv", "text\n")))
    assert "blank.txt: expected a text, found none." in refusal(run("-f", write(tmp_path, "blank.txt", " \n")))
    latin = write(tmp_path, "latin.txt", "déjà vu".encode("cp1252"))
    assert "--encoding cp1252, which reads 'déjà vu'" in refusal(run("-f", latin))
    assert answers(run("-f", latin, "--encoding", "cp1252", "--jsonl")) == answers(run("déjà vu", "--jsonl"))
