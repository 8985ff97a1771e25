"""Outputs for spreadsheets: no text becomes a formula, and what a cell cannot hold is named."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlptasks.batches import OUTPUTS, PartTable, write_csv

openpyxl = pytest.importorskip("openpyxl")


def written(folder: Path, *texts: str) -> PartTable:
    part = folder / "part.jsonl"
    part.write_text("".join(json.dumps({"row": 1, "text": text}) + "\n" for text in texts), encoding="utf-8")
    return PartTable([part], {"mood.label": "string"})


@given(st.text(max_size=12).flatmap(lambda text: st.sampled_from([text, f"={text}", f"-{text}", f"\t{text}"])))
def test_no_text_becomes_a_formula(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    stream = io.BytesIO()
    write_csv(stream, written(tmp_path_factory.getbasetemp(), text), spreadsheet=True)
    [line] = csv.DictReader(io.StringIO(stream.getvalue().decode("utf-8-sig"), newline=""))
    assert line["text"] in (text, f"'{text}")
    if line["text"].startswith(tuple("=+-@\t\r\n")):
        float(line["text"].rstrip("%").replace(",", "."))


def test_a_workbook_holds_texts_as_texts_and_says_what_it_cuts(tmp_path: Path) -> None:
    stream = io.BytesIO()
    OUTPUTS[".xlsx"](stream, written(tmp_path, "=1+1", "-5", "\x07bell", "x" * 40_000))
    sheet = openpyxl.load_workbook(stream).active
    cells = [row[1] for row in sheet.iter_rows(min_row=2)]
    assert [cell.value for cell in cells[:3]] == ["=1+1", "-5", "\ufffdbell"]
    assert [(cell.data_type, bool(cell.quotePrefix)) for cell in cells[:3]] == [("s", True), ("s", True), ("s", False)]
    assert len(cells[3].value) == 32_767
    assert cells[3].value.endswith(" [truncated: JSONL, CSV and Parquet have the full text]")
