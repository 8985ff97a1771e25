"""Reading data: formats, columns, labels, bad rows with their lines, splits without leaks."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlptasks.data import splits
from nlptasks.data.entities import read_entities
from nlptasks.data.labelled_texts import DataOptions, Examples, read_examples, read_texts
from nlptasks.data.tables import read_tables
from nlptasks.errors import DataError

LABELS = ("negative", "positive")
ROWS = [("What a fine day", 1), ('She said "no", twice', 0), ("Zwei\nZeilen, ça va 🙂", 1)]


def read(*sources: Path | str, labels: tuple[str, ...] = LABELS, **options: Any) -> Examples:
    tables = read_tables([str(source) for source in sources])
    return read_examples(tables, labels=labels, options=DataOptions(**options))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def write_rows(path: Path, objects: list[dict[str, Any]]) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in objects))


def pairs(examples: Examples) -> list[tuple[str, Any]]:
    return [(row.text, row.label) for row in examples.rows]


def in_every_format(folder: Path) -> list[Path]:
    import csv

    import openpyxl
    import pyarrow
    import pyarrow.parquet

    objects = [{"text": text, "label": LABELS[label]} for text, label in ROWS]
    for name, delimiter in (("rows.csv", ","), ("rows.tsv", "\t")):
        with (folder / name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter=delimiter)
            writer.writerows([("text", "label"), *((row["text"], row["label"]) for row in objects)])
    write_rows(folder / "rows.jsonl", objects)
    write(folder / "rows.json", json.dumps(objects))
    write(folder / "wrapped.json", json.dumps({"version": 1, "data": objects}))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(objects), folder / "rows.parquet")
    with pyarrow.ipc.new_stream(folder / "rows.arrow", pyarrow.Table.from_pylist(objects).schema) as writer:
        writer.write_table(pyarrow.Table.from_pylist(objects))
    book = openpyxl.Workbook()
    for row in [("text", "label"), *((row["text"], row["label"]) for row in objects)]:
        book.active.append(row)
    book.save(folder / "rows.xlsx")
    (folder / "utf16.csv").write_text((folder / "rows.csv").read_text(encoding="utf-8"), encoding="utf-16", newline="")
    for name in ("rows.csv", "rows.jsonl", "rows.parquet", "rows.xlsx"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
    (folder / "bom.csv").write_bytes(b"\xef\xbb\xbf" + (folder / "rows.csv").read_bytes())
    return sorted(folder.iterdir())


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    files = in_every_format(tmp_path)
    assert len(files) == 14
    for file in files:
        assert pairs(read(file)) == ROWS, file.name
    joined = read(*files)
    assert len(joined.rows) == 42
    assert [source["rows"] for source in joined.sources] == [3] * 14
    assert all(len(source["sha256"]) == 64 for source in joined.sources)


def test_unquoted_tsv_keeps_its_quotes(tmp_path: Path) -> None:
    file = write(tmp_path / "sst.tsv", 'sentence\tlabel\n"half a quote\t1\nfine\t0\n')
    assert pairs(read(file)) == [('"half a quote', 1), ("fine", 0)]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (("Sentence", "Sentiment"), "'Sentence', label in 'Sentiment'"),
        (("id", "review", "label", "label_text"), "'review', label in 'label_text'"),
        (("CONTENT", "class"), "'CONTENT', label in 'class'"),
        (("title", "text", "category"), "'text', label in 'category'"),
    ],
)
def test_columns_are_found_by_common_names(tmp_path: Path, header: tuple[str, ...], found: str) -> None:
    values = dict.fromkeys(header, "a text") | {header[-1]: "positive", "label": "1"}
    rows = [{name: values[name] for name in header}]
    examples = read(write_rows(tmp_path / "rows.jsonl", rows))
    assert found in examples.notes[0]
    assert pairs(examples) == [("a text", 1)]


def test_columns_can_be_named(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.csv", "body_en,score\ngood,1\n")
    assert pairs(read(file, text_column="body_en", label_column="score")) == [("good", 1)]
    with pytest.raises(DataError, match=r"expected a column 'body_em', found body_en, score\. Did you mean 'body_en'"):
        read(file, text_column="body_em", label_column="score")
    with pytest.raises(DataError, match=r"a label column .* found body_en, score\. Name it with --columns label=NAME"):
        read(file, text_column="body_en")


def test_every_bad_row_is_listed_with_its_line(tmp_path: Path) -> None:
    file = write(
        tmp_path / "rows.csv",
        'text,label\nfine,positive\n"two\nlines",negative\n ,negative\nhm,negativ\nwell,7\nshort\nso,\nok,0\n"open,1\n',
    )
    with pytest.raises(DataError) as caught:
        read(file)
    assert [problem.removeprefix(str(tmp_path)) for problem in caught.value.problems] == [
        "/rows.csv:5: text: expected a text, found none.",
        "/rows.csv:6: label: unknown label 'negativ'; did you mean 'negative'.",
        "/rows.csv:7: label: expected a number from 0 to 1 or a label's name, found 7.",
        "/rows.csv:8: expected 2 fields, found 1.",
        "/rows.csv:9: label: expected a label, found none.",
        "/rows.csv:11: expected fields separated by ',', found a quote that is never closed.",
    ]
    assert "6 bad rows; nothing was loaded" in str(caught.value)


def test_bad_rows_of_jsonl_and_of_several_files(tmp_path: Path) -> None:
    lines = ['{"text": "a", "label": 0}', '{"text": "a"', "[1]", '{"text": 5, "label": true}', '{"label": null}', ""]
    first = tmp_path / "a.jsonl"
    first.write_bytes("\n".join(lines).encode() + b'\n{"text": "caf\xe9", "label": 1}\n')
    second = write(tmp_path / "b.csv", "text,label\n,1\n")
    with pytest.raises(DataError) as caught:
        read(first, second)
    assert [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems] == [
        "a.jsonl:2: expected a JSON object, found broken JSON (Expecting ',' delimiter).",
        "a.jsonl:3: expected a JSON object, found list.",
        "a.jsonl:4: text: expected a text, found 5 (int); label: unknown label 'True'; labels are negative, positive.",
        "a.jsonl:5: text: expected a text, found none; label: expected a label, found none.",
        "a.jsonl:7: expected UTF-8, found other bytes; "
        "save the file as UTF-8, or give --encoding cp1252, which reads 'café'.",
        "b.csv:2: text: expected a text, found none.",
    ]


def test_sources_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "notes.md").touch()
    with pytest.raises(DataError) as caught:
        read(tmp_path / "gone.csv", tmp_path, tmp_path / "notes.md", "hub:a/b/c")
    assert len(caught.value.problems) == 4
    with pytest.raises(DataError, match="expected a header line and rows, found an empty file"):
        read(write(tmp_path / "empty.csv", ""))
    with pytest.raises(DataError, match="expected rows, found none"):
        read(write(tmp_path / "head.csv", "text,label\n"))
    with pytest.raises(DataError, match="expected gzip"):
        read(write(tmp_path / "rows.csv.gz", "text,label\n"))
    with pytest.raises(DataError, match="expected Parquet"):
        read(write(tmp_path / "rows.parquet", "text,label\n"))
    with pytest.raises(DataError, match=r"rows\.json:2: expected JSON"):
        read(write(tmp_path / "rows.json", '[\n{"text": }]'))


def test_labels_are_names_numbers_or_names_in_another_case(tmp_path: Path) -> None:
    values = ["positive", "Negative", "1", 0, 1.0, "NEGATIVE "]
    file = write_rows(tmp_path / "rows.jsonl", [{"text": f"t{i}", "label": v} for i, v in enumerate(values)])
    assert [label for _, label in pairs(read(file))] == [1, 0, 1, 0, 1, 0]
    renamed = read(write(tmp_path / "n.csv", "text,label\na,0\nb,2\n"), labels=("low", "normal", "high"))
    assert pairs(renamed) == [("a", 0), ("b", 2)]
    assert "numbers are read as 0 = low, 1 = normal, 2 = high" in renamed.notes[1]


def test_label_names_are_required(tmp_path: Path) -> None:
    numbers = write(tmp_path / "n.csv", "text,label\na,0\nb,1\n")
    with pytest.raises(DataError, match=r"Label names are required: the data has 0, 1\. .*--labels negative,positive"):
        read(numbers, labels=())
    with pytest.raises(DataError, match="Label names are required"):
        read(write(tmp_path / "l.csv", "text,label\na,LABEL_0\nb,LABEL_1\n"), labels=())
    given = read_examples(read_tables([str(numbers)]), labels=(), options=DataOptions(labels=("no", "yes")))
    assert given.labels == ("no", "yes")
    named = read(write(tmp_path / "names.csv", "text,label\na,red\nb,blue\nc,red\n"), labels=())
    assert named.labels == ("blue", "red")
    with pytest.raises(DataError, match="at least two, found red"):
        read(write(tmp_path / "one.csv", "text,label\na,red\n"), labels=())
    with pytest.raises(DataError, match="expected different names"):
        read_examples(read_tables([str(numbers)]), labels=(), options=DataOptions(labels=("no", "no")))


def test_several_labels_in_a_row(tmp_path: Path) -> None:
    objects = [{"text": "a", "labels": ["x", "z"]}, {"text": "b", "labels": []}, {"text": "c", "labels": "z|y"}]
    file = write_rows(tmp_path / "rows.jsonl", objects)
    examples = read_examples(read_tables([str(file)]), labels=("x", "y", "z"), multi_label=True)
    assert pairs(examples) == [("a", (0, 2)), ("b", ()), ("c", (1, 2))]
    assert examples.counts == {"x": 1, "y": 1, "z": 2}


def test_conflicting_duplicates_and_unused_labels_are_warned_of(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.csv", "text,label\nGood film!,1\ngood  film,0\ngood film,1\n")
    warnings = read(file, labels=("negative", "positive", "mixed")).warnings
    assert warnings[0].startswith("1 row with the text of another and another label: ")
    assert "rows.csv:2 and " in warnings[0]
    assert "rows.csv:3" in warnings[0]
    assert warnings[1] == "no row has the label mixed"


def test_hub_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[Any] = []
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    data = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)

    def load(repo: str, **options: Any) -> Any:
        asked.append((repo, options["revision"], options["split"], options["download_config"].local_files_only))
        if repo == "org/gone":
            raise FileNotFoundError("Couldn't find org/gone")
        return data

    monkeypatch.setattr(datasets, "load_dataset", load)
    tables = read_tables(["hub:org/name@v1:validation", "hub:imdb"], offline=True, split="test")
    found = read_examples(tables, labels=())
    assert found.labels == ("neg", "pos")
    assert pairs(found) == [("a", 1), ("b", 0)] * 2
    assert asked == [("org/name", "v1", "validation", True), ("imdb", None, "test", True)]
    assert found.sources[0] == {"name": "hub:org/name@v1:validation", "rows": 2, "revision": "v1"}
    with pytest.raises(DataError, match=r"hub:org/gone: the split 'train' cannot be loaded: Couldn't find org/gone"):
        read_tables(["hub:org/gone"])


@pytest.mark.parametrize("kind", ["hub", "parquet", "old parquet"])
def test_tags_of_a_hub_data_set_have_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    import datasets
    import pyarrow
    import pyarrow.parquet

    names = datasets.ClassLabel(names=["O", "B-LOC"])
    shape = {"tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": datasets.Sequence(names)}
    content = {"tokens": [["in", "Oslo"]], "ner_tags": [[0, 1]]}
    source = str(tmp_path / "rows.parquet")
    if kind == "old parquet":
        features = {"ner_tags": [{"_type": "ClassLabel", "names": ["O", "B-LOC"]}], "tokens": None}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        pyarrow.parquet.write_table(pyarrow.table(content).replace_schema_metadata(metadata), source)
    else:
        data = datasets.Dataset.from_dict(content, features=datasets.Features(shape))
        data.to_parquet(source)
        monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: data)
    [row] = read_entities(read_tables([source if "parquet" in kind else "hub:org/name"], split="test")).rows
    assert [(span.label, span.start, span.end) for span in row.spans] == [("LOC", 3, 7)]


@pytest.mark.parametrize("metadata", [None, {"huggingface": "no JSON"}, {"huggingface": "[]"}, {"pandas": "{}"}])
def test_numbers_of_other_parquet_files_have_no_names(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"text": ["a", "b"], "label": [1, 0]}).replace_schema_metadata(metadata)
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    [found] = read_tables([str(tmp_path / "rows.parquet")])
    assert (found.class_names, found.columns) == ({}, ("text", "label"))


def test_texts_without_labels(tmp_path: Path) -> None:
    file = write(tmp_path / "test.csv", "sentence\none\ntwo\n")
    assert read_texts([str(file)], DataOptions()) == ["one", "two"]


TEXTS = st.text(alphabet="ab C!.\n", min_size=1, max_size=6)
LABELLED = st.lists(st.tuples(TEXTS, st.integers(0, 2)), max_size=60)
SHARES = st.floats(0.05, 0.6)


def text(row: tuple[str, int]) -> str:
    return row[0]


def label(row: tuple[str, int]) -> int:
    return row[1]


@given(LABELLED, SHARES, st.integers(0, 99))
def test_a_split_loses_nothing_and_leaks_nothing(rows: list[tuple[str, int]], share: float, seed: int) -> None:
    training, held_out = splits.split(rows, share, seed, text=text, label=label)
    assert sorted(training + held_out) == sorted(rows)
    assert not {splits.normalised(t) for t, _ in training} & {splits.normalised(t) for t, _ in held_out}
    assert (training, held_out) == splits.split(rows, share, seed, text=text, label=label)


@given(st.integers(2, 200), SHARES, st.integers(0, 99))
def test_a_split_keeps_the_shares_of_labels(count: int, share: float, seed: int) -> None:
    rows = [(f"text {index}", index % 2) for index in range(count)]
    _, held_out = splits.split(rows, share, seed, text=text, label=label)
    for value in (0, 1):
        total = sum(label(row) == value for row in rows)
        held = sum(label(row) == value for row in held_out)
        assert held == min(total - 1, max(1, round(share * total)))


@given(LABELLED, st.integers(1, 70))
def test_a_sample_has_the_asked_size_and_order(rows: list[tuple[str, int]], count: int) -> None:
    rows = [(f"{index} {value}", label) for index, (value, label) in enumerate(rows)]
    chosen = splits.sample(rows, count, 1, label=label)
    assert len(chosen) == min(count, len(rows))
    assert [row for row in rows if row in set(chosen)] == chosen


def test_a_sample_keeps_the_shares_of_labels() -> None:
    rows = [(str(index), int(index % 10 == 0)) for index in range(200)]
    assert sum(label(row) for row in splits.sample(rows, 50, 3, label=label)) == 5


@given(LABELLED, st.lists(TEXTS, max_size=10))
def test_exclusion_leaves_no_excluded_words(rows: list[tuple[str, int]], texts: list[str]) -> None:
    kept = splits.without(rows, texts, text=text)
    bad = {splits.normalised(value) for value in texts}
    assert kept == [row for row in rows if splits.normalised(text(row)) not in bad]


def test_texts_of_the_same_words_are_the_same() -> None:
    same = ["A fine film.", "a fine   FILM", "a fine film !"]
    assert len({splits.normalised(value) for value in same}) == 1
    assert splits.normalised("🙂 ") == "🙂"
    assert splits.normalised("🙂") != splits.normalised("🙁")


def test_semicolons_and_columns_without_a_name(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.csv", ';text\n1;"one, two; three"\n')
    [table] = read_tables([str(file)])
    assert [dict(record.fields) for record in table.rows] == [{"column 1": "1", "text": "one, two; three"}]
