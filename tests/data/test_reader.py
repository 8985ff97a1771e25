"""One reader: the same rows out of every format, every fault with its place, nothing lost and nothing shifted."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlptasks.data import FORMATS, DataOptions, Row, Table, match_columns, read_rows, read_table, read_text, text_rows
from nlptasks.data.tables import read_tables
from nlptasks.errors import DataError
from tests.examples import examples
from tests.table_files import EVERY_FORMAT, TEXTS, workbook


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def texts_of(rows: list[Row]) -> list[Any]:
    return [row.fields[match_columns("", tuple(row.fields), ["text"])["text"]] for row in rows]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_every_format_gives_the_same_ten_texts(tmp_path: Path, name: str, packed: bool) -> None:
    content = gzip.compress(EVERY_FORMAT[name]) if packed else EVERY_FORMAT[name]
    path = write(tmp_path, f"{name}.gz" if packed else name, content)
    table = read_table(path, text="lines")
    assert (table.problems, texts_of(table.rows)) == ([], TEXTS)
    assert [*read_rows(path, text="lines")] == table.rows


def test_every_ending_is_tried() -> None:
    assert {Path(name).suffix for name in EVERY_FORMAT} >= set(FORMATS) - {".bio", ".iob"}


def test_a_text_is_one_row_or_its_lines(tmp_path: Path) -> None:
    content = "one\x0ctwo\u2028three\x85four\r\n\r\n five\rsix"
    path = write(tmp_path, "page.txt", content.encode())
    [whole] = read_rows(path)
    assert whole.fields["text"] == "one\x0ctwo\u2028three\x85four\n\n five\nsix"
    assert [(row.place.removeprefix(str(path)), row.fields["text"]) for row in read_rows(path, text="lines")] == [
        (":1", "one\x0ctwo\u2028three\x85four"),
        (":2", ""),
        (":3", " five"),
        (":4", "six"),
    ]
    assert read_text(path) == whole.fields["text"]


PLACES = {
    "lines.csv": (
        b'text,label\n"two\nlines",a\n\none,b\nshort\nlong,c,d\nend,e,\n',
        ["lines.csv:2", "lines.csv:5", "lines.csv:8"],
        ["lines.csv:6: expected 2 fields, found 1.", "lines.csv:7: expected 2 fields, found 3."],
    ),
    "mac.csv": (b'text,label\r"a\rb",x\rc,y\r', ["mac.csv:2", "mac.csv:4"], []),
    "one.csv": (b"text\nfine\nbad,good\n", ["one.csv:2"], ["one.csv:3: expected 1 fields, found 2."]),
    "rows.jsonl": (
        b'\n{"text": "a"}\n[1]\n{"text": "b", "text": "c"}\n{"text": "d"},\n',
        ["rows.jsonl:2"],
        [
            "rows.jsonl:3: expected a JSON object, found list.",
            "rows.jsonl:4: expected a JSON object, found two values of the name 'text'.",
            "rows.jsonl:5: expected a JSON object, found more behind it (',').",
        ],
    ),
    "half.jsonl": (
        b'{"text": "\\ud83d\\ude42"}\n{"text": "half \\ud83d"}\n{"text": ["a\\u0000"]}\n',
        ["half.jsonl:1"],
        [
            "half.jsonl:2: expected text, found half of a surrogate pair ('\\ud83d').",
            "half.jsonl:3: expected text, found a NUL character.",
        ],
    ),
    "list.json": (
        b'[{"text": "a"}, 5]',
        ["list.json: item 1"],
        ["list.json: item 2: expected a JSON object, found int."],
    ),
    "sheet.xlsx": (
        workbook(("text", "n"), ("a", 1), (), ("b",), ("c", 2, "more")),
        ["sheet.xlsx:2", "sheet.xlsx:4"],
        ["sheet.xlsx:5: expected 2 cells, found 3."],
    ),
    "words.conll": (
        b"# first\nAda B-PER\n\nOslo B-LOC\nsings\n",
        ["words.conll:2", "words.conll:4"],
        ["words.conll:5: expected a token and a tag in columns, found one column ('sings')."],
    ),
    "nul.csv": (
        b"text,label\nSome\0thing,a\n" + 30 * b"fine,b\n",
        [f"nul.csv:{line}" for line in range(3, 33)],
        ["nul.csv:2: expected text, found a NUL character."],
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_rows_are_counted_as_in_an_editor_and_faults_have_their_place(tmp_path: Path, name: str) -> None:
    content, places, faults = PLACES[name]
    table = read_table(write(tmp_path, name, content), name=name)
    assert ([row.place for row in table.rows], table.problems) == (places, faults)


GOOD, BAD = {"text": "Dry", "label": "good"}, {"text": "Cold, wet", "label": "bad"}
SPACY = {"text": "Ada sings", "entities": [[0, 3, "PER"]]}
SENTENCE = {"tokens": ["Ada", "sings"], "tags": ["B-PER", "O"]}
TURNS = [{"role": "user", "content": "Hi"}]

SHAPES: dict[str, tuple[bytes, list[dict[str, Any]]]] = {
    "spaced.csv": (b'text, label\n"Cold, wet", bad\nDry, good\n', [BAD, GOOD]),
    "index.csv": (b",text\n0,one\n1,two\n", [{"column 1": "0", "text": "one"}, {"column 1": "1", "text": "two"}]),
    "trailing.csv": (b'text,label,\nDry,good,\n"Cold, wet",bad\n', [GOOD | {"column 3": ""}, BAD]),
    "header.csv": (b'"text; in short"|label\nA, b; c|good\n', [{"text; in short": "A, b; c", "label": "good"}]),
    "inner.csv": (b'text,label\nA 12" screen,good\n', [GOOD | {"text": 'A 12" screen'}]),
    "escaped.csv": (b'text,label\n"\\"Cold\\", wet",bad\n', [BAD | {"text": '"Cold", wet'}]),
    "plain.tsv": (b'text\tlabel\n"half a quote\tgood\nDry\tgood\n', [GOOD | {"text": '"half a quote'}, GOOD]),
    "prose.tsv": (b"text, in English\nWell then.\n", [{"text, in English": "Well then."}]),
    "pair.json": (json.dumps([["Ada sings", {"entities": [[0, 3, "PER"]]}]]).encode(), [SPACY]),
    "one.json": (json.dumps(SPACY).encode(), [SPACY]),
    "tokens.json": (json.dumps(SENTENCE).encode(), [SENTENCE]),
    "chat.jsonl": (json.dumps(TURNS).encode(), [{"messages": TURNS}]),
    "numbers.xlsx": (
        workbook(("n", None, "text"), (2.0, True, 3.5), (None, None, "x")),
        [{"n": "2", "column 2": "True", "text": "3.5"}, {"n": None, "column 2": None, "text": "x"}],
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_usual_shapes_are_read_as_they_are_meant(tmp_path: Path, name: str) -> None:
    content, expected = SHAPES[name]
    table = read_table(write(tmp_path, name, content))
    assert (table.problems, [dict(row.fields) for row in table.rows]) == ([], expected)


KINDS = ".txt, .csv, .tsv, .json, .jsonl, .parquet, .arrow, .xlsx, .conll, .bio, .iob"

REFUSED = {
    "report.pdf": (b"%PDF-1.7", f"expected one of {KINDS} (also with .gz), found '.pdf'."),
    "photo.png": (b"\x89PNG", "found '.png'."),
    "noending": (b"x", "found 'no extension'."),
    "report.txt": (b"%PDF-1.7 text", "expected text, found a PDF."),
    "book.csv": (b"PK\3\4", "expected text, found a ZIP archive."),
    "rows.jsonl": (b"PAR1", "expected text, found Parquet."),
    "bytes.txt": (b"a\0b\0", "found NUL bytes; UTF-16 without its mark is read with --encoding utf-16-le."),
    "twice.csv": (b"text,label,text\na,b,c\n", "a different name for each column, found 'text' twice: rename one."),
    "latin.csv": (
        b"r\xe9sum\xe9,label\na,b\n",
        "expected UTF-8, found other bytes; save the file as UTF-8, or",
    ),
    "twice.json": (b'{"text": ["a"], "text": ["b"]}', "expected JSON, found two values of the name 'text'."),
    "uneven.json": (b'{"text": ["a", "b"], "label": ["c"]}', "expected columns of one length, found text 2, label 1."),
    "number.json": (b"5", "expected a JSON array of objects, found int."),
    "deep.json": (b"[" * 100_000, "expected JSON, found one nested too deeply."),
    "junk.xlsx": (b"PK\3\4junk", "expected an Excel workbook, found something else"),
    "junk.arrow": (b"junk junk junk", "expected Arrow, found something else"),
    "half.csv.gz": (
        gzip.compress(b"text\n" + 999 * b"a\n")[:-9],
        "gzip, found something else or a truncated file",
    ),
    "plain.csv.gz": (b"text\na\n", "gzip, found something else or a truncated file"),
    "half.txt": (b"\xff\xfea", "expected utf-16-le, found other bytes (truncated data)."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_refused_by_name_in_one_sentence(tmp_path: Path, name: str) -> None:
    content, sentence = REFUSED[name]
    with pytest.raises(DataError) as caught:
        read_table(write(tmp_path, name, content), name=name)
    assert str(caught.value).startswith(f"{name}: expected ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_of_one_name_are_refused_in_every_format(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    with pyarrow.ipc.new_file(tmp_path / "rows.arrow", table.schema) as writer:
        writer.write_table(table)
    write(tmp_path, "rows.xlsx", workbook(("text", "text"), ("a", "b")))
    write(tmp_path, "rows.tsv", b"text\t text \na\tb\n")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(DataError, match="found 'text' twice: rename one"):
            read_table(path)
        with pytest.raises(DataError, match="found 'text' twice: rename one"):
            read_tables([str(path)])


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Crème brûlée, très bien", "cp1252"),
        ("Очень вкусный суп", "cp1251"),
        ("とてもおいしい", "shift_jis"),
        ("非常好吃的面包", "gb18030"),
    ],
)
def test_another_encoding_is_guessed_and_can_be_given(tmp_path: Path, text: str, encoding: str) -> None:
    path = write(tmp_path, "rows.csv", f'text\nplain\n"{text}"\n'.encode(encoding))
    table = read_table(path)
    assert [row.fields["text"] for row in table.rows] == ["plain"]
    [problem] = table.problems
    assert (
        f"rows.csv:3: expected UTF-8, found other bytes; save the file as UTF-8, or give --encoding {encoding}"
        in problem
    )
    assert [row.fields["text"] for row in read_table(path, encoding=encoding).rows] == ["plain", text]
    [table] = read_tables([str(path)], DataOptions(encoding=encoding))
    assert table.rows[1].fields["text"] == text


def test_an_encoding_that_does_not_fit_or_exist(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.csv", "text\ncafé\n".encode("cp1252"))
    [problem] = read_table(path, encoding="ascii").problems
    assert "expected ascii, found other bytes" in problem
    for name in ("klingon", "hex"):
        with pytest.raises(
            DataError, match=f"--encoding: expected an encoding such as utf-8 or cp1252, found '{name}'"
        ):
            read_table(path, encoding=name)
    with_mark = write(tmp_path, "mark.csv", b"\xef\xbb\xbftext\na\n")
    assert read_table(with_mark, encoding="UTF8").columns == ("text",)


def test_a_sheet_is_read_by_its_name(tmp_path: Path) -> None:
    book, stream = openpyxl.Workbook(), io.BytesIO()
    book.active.append(("text",))
    book.create_sheet("May").append(("note",))
    book["May"].append(("late",))
    book.save(stream)
    path = write(tmp_path, "year.xlsx", stream.getvalue())
    assert [dict(row.fields) for row in read_rows(path, sheet="May")] == [{"note": "late"}]
    assert read_table(path, name="year.xlsx").notes == ["year.xlsx: only the first of 2 sheets is read (Sheet)"]
    with pytest.raises(DataError, match=r"expected a sheet 'June', found Sheet, May\."):
        read_table(path, sheet="June")


def test_limits_have_their_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlptasks.data.files.LIMIT", 20)
    monkeypatch.setattr("nlptasks.data.workbooks.LIMIT", 20)
    long = b'["a text that is long", "and another"]'
    for name in ("rows.json", "page.txt", "rows.jsonl"):
        with pytest.raises(DataError, match="million characters at once, found more: write one row a line"):
            read_table(write(tmp_path, name, long))
    with pytest.raises(DataError, match=r"GB unpacked, found .* GB: save it as \.csv"):
        read_table(write(tmp_path, "rows.xlsx", workbook()))
    monkeypatch.setattr("nlptasks.data.files.UNPACKED", 100_000)
    for name in ("rows.xlsx.gz", "rows.parquet.gz", "rows.arrow.gz"):
        with pytest.raises(DataError, match=r"expected at most 0 GB unpacked, found more: unpack it first, and name"):
            read_table(write(tmp_path, name, gzip.compress(bytes(300_000))))
    assert len(read_table(write(tmp_path, "rows.csv", b"n\n" + 50 * b"a\n"), limit=7).rows) == 7


def test_columns_are_matched_by_name_and_can_be_named(tmp_path: Path) -> None:
    assert match_columns("t", ["ID", " Review "], ["text"]) == {"text": " Review "}
    assert match_columns("t", ["text", "Text"], ["text"], {"text": "Text"}) == {"text": "Text"}
    assert match_columns("t", ["passage", "query", "text"], ["question", "context"]) == {
        "question": "query", "context": "passage"
    }  # fmt: skip
    assert match_columns("t", ["text", "note"], ["context", "text"], {"context": "NOTE"}) == {
        "context": "note", "text": "text"
    }  # fmt: skip
    with pytest.raises(DataError, match=r"t: expected a column 'rewiev', found id, review\. Did you mean 'review'\?"):
        match_columns("t", ["id", "review"], ["text"], {"text": "rewiev"})
    with pytest.raises(
        DataError, match=r"t: expected a text column \(text, sentence, .*found id\. Name it with --columns text=NAME"
    ):
        match_columns("t", ["id"], ["text"], required=["text"])
    rows = write(tmp_path, "rows.csv", b"q,passage,reply\nWho?,Ada came.,Ada\n")
    [table] = read_tables([str(rows)], DataOptions(columns={"question": "Q", "answer": "reply"}))
    assert table.rows[0].fields["question"] == "Who?"
    assert table.rows[0].fields["answer"] == "Ada"
    with pytest.raises(DataError, match="expected a column 'query', found q, passage, reply"):
        read_tables([str(rows)], DataOptions(columns={"question": "query"}))


LINE = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=30)
CELL = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=30)


@given(st.lists(LINE, max_size=8), st.sampled_from(["\n", "\r\n", "\r"]))
def test_lines_keep_their_places(lines: list[str], end: str) -> None:
    text = "".join(line + end for line in lines)
    rows = list(text_rows(io.StringIO(text, newline=None), "page", by_line=True))
    assert [(row.place, row.fields["text"]) for row in rows] == [(f"page:{n}", line) for n, line in enumerate(lines, 1)]


def test_a_semicolon_within_quoted_names_is_no_delimiter(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('"a; b","c; d; e"\n"p; q","r; s; t"\nx,y,"u; v; w"\n', encoding="utf-8")
    table = read_table(file)
    assert [dict(row.fields) for row in table.rows] == [{"a; b": "p; q", "c; d; e": "r; s; t"}]
    assert table.problems == [f"{file}:3: expected 2 fields, found 3."]


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6), delimiter=st.sampled_from(",;\t|"))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: Any, delimiter: str) -> None:
    folder = tmp_path_factory.mktemp("rows")
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("text", "note"), *rows])
    written = [{"text": text, "note": note} for text, note in rows]
    for name, content in {
        "rows.csv": stream.getvalue(),
        "rows.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in written),
        "rows.json": json.dumps(written, ensure_ascii=False),
    }.items():
        table = read_table(write(folder, name, content.encode()))
        assert (table.problems, [dict(row.fields) for row in table.rows]) == ([], written), name


@examples(150)
@given(content=st.binary(max_size=200), kind=st.sampled_from(FORMATS), packed=st.booleans())
def test_any_bytes_are_rows_or_faults(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, kind: str, packed: bool
) -> None:
    name = f"bytes{kind}{'.gz' if packed else ''}"
    path = write(tmp_path_factory.mktemp("any"), name, gzip.compress(content) if packed else content)
    try:
        table = read_table(path)
    except DataError:
        return
    for row in table.rows:
        json.dumps(list(row.fields.items()), ensure_ascii=False).encode()
    assert all(problem.startswith(str(path)) for problem in table.problems)


def write_many(path: Path, count: int) -> None:
    def texts() -> Iterator[str]:
        return (f"Row {number}: the soup was cold, and nobody said why." for number in range(count))

    if path.suffix == ".parquet":
        table = pyarrow.table({"text": list(texts()), "label": ["cold"] * count})
        pyarrow.parquet.write_table(table, path)
        return
    with path.open("w", encoding="utf-8", newline="") as stream:
        if path.suffix == ".jsonl":
            stream.writelines(json.dumps({"text": text, "label": "cold"}) + "\n" for text in texts())
        elif path.suffix == ".txt":
            stream.writelines(f"{text}\n" for text in texts())
        else:
            writer = csv.writer(stream, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerow(("text", "label"))
            writer.writerows((text, "cold") for text in texts())


def peak(path: Path) -> tuple[int, int]:
    """Rows of a file, and the most memory of a process of its own that reads them."""
    code = (
        "import resource, sys\nfrom nlptasks.data import read_rows\n"
        "rows = sum(1 for _ in read_rows(sys.argv[1], text='lines'))\n"
        "print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    rows, memory = map(int, done.stdout.split())
    return rows, memory


STREAMED = [".txt", ".csv", ".tsv", ".jsonl", ".parquet"]


def check_memory(folder: Path, kind: str, few: int, many: int) -> None:
    """Reading all rows at once would take several times as much."""
    small, large = folder / f"few{kind}", folder / f"many{kind}"
    write_many(small, few)
    write_many(large, many)
    (rows, least), (more, most) = peak(small), peak(large)
    assert (rows, more) == (few, many)
    assert most <= 1.2 * least


@pytest.mark.long
@pytest.mark.parametrize("kind", STREAMED)
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, kind: str) -> None:
    check_memory(tmp_path, kind, 10_000, 60_000)


@pytest.mark.full
@pytest.mark.parametrize("kind", STREAMED)
def test_a_million_rows_take_the_memory_of_ten_thousand(tmp_path: Path, kind: str) -> None:
    check_memory(tmp_path, kind, 10_000, 1_000_000)


def test_a_table_says_what_it_holds() -> None:
    table = Table("t")
    table.fill([Row("t:1", {"a": 1}), Row("t:2", fault="expected more.")])
    assert (len(table.rows), table.problems) == (1, ["t:2: expected more."])
