"""The same ten texts in every format that is read, with a column beside them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import openpyxl
import pyarrow
import pyarrow.parquet

TEXTS = [
    "The bread was warm.",
    "Nobody answered, twice.",
    'She said "never again"; we agreed.',
    "Ein schöner Abend | mit Musik",
    "Tea, coffee, and a view 🙂",
    "Cold soup.",
    "Worth every cent of it",
    "12345",
    "Two rooms; one key.",
    "L'été dernier",
]


def delimited(delimiter: str, end: str = "\n") -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=end)
    writer.writerows([("id", "Review"), *((str(number), text) for number, text in enumerate(TEXTS))])
    return stream.getvalue().encode()


def objects() -> list[dict[str, str]]:
    return [{"id": str(number), "review": text} for number, text in enumerate(TEXTS)]


def arrow(kind: str) -> bytes:
    table, sink = pyarrow.Table.from_pylist(objects()), pyarrow.BufferOutputStream()
    if kind == "parquet":
        pyarrow.parquet.write_table(table, sink, row_group_size=3)
    else:
        make = pyarrow.ipc.new_file if kind == "file" else pyarrow.ipc.new_stream
        with make(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=4)
    return bytes(sink.getvalue())


def workbook(*rows: tuple[Any, ...], title: str = "rows") -> bytes:
    book, stream = openpyxl.Workbook(), io.BytesIO()
    book.active.title = title
    for row in rows or (("id", "review"), *((row["id"], row["review"]) for row in objects())):
        book.active.append(row)
    book.save(stream)
    return stream.getvalue()


def columns_of_json(values: Callable[[list[str]], Any]) -> bytes:
    return json.dumps({name: values([row[name] for row in objects()]) for name in ("id", "review")}).encode()


EVERY_FORMAT = {
    "comma.csv": delimited(","),
    "semicolon.csv": delimited(";"),
    "tab.csv": delimited("\t"),
    "pipe.csv": delimited("|"),
    "comma.tsv": delimited(","),
    "tab.tsv": delimited("\t"),
    "crlf.csv": delimited(",", "\r\n"),
    "mac.csv": delimited(",", "\r"),
    "mark.csv": b"\xef\xbb\xbf" + delimited(";"),
    "utf16.csv": delimited(",").decode().encode("utf-16"),
    "utf32.csv": delimited(",").decode().encode("utf-32"),
    "list.json": json.dumps(objects(), indent=1).encode(),
    "wrapped.json": json.dumps({"version": 2, "data": objects()}).encode(),
    "columns.json": columns_of_json(list),
    "pandas.json": columns_of_json(lambda values: {str(index): value for index, value in enumerate(values)}),
    "lines.json": "".join(json.dumps(row) + "\n" for row in objects()).encode(),
    "rows.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in objects()).encode(),
    "texts.jsonl": "".join(json.dumps(text) + "\r\n" for text in TEXTS).encode(),
    "rows.parquet": arrow("parquet"),
    "file.arrow": arrow("file"),
    "stream.arrow": arrow("stream"),
    "rows.xlsx": workbook(),
    "lines.txt": ("\n".join(TEXTS) + "\n").encode(),
    "utf16.txt": "\r\n".join(TEXTS).encode("utf-16"),
    "rows.conll": "\n\n".join("\n".join(f"{word} O" for word in text.split(" ")) for text in TEXTS).encode(),
}
