"""Tables in memory are read as rows: pandas, Arrow, datasets, and whatever can do what polars can."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import datasets
import numpy
import pandas
import pyarrow
import pytest

from nlptasks import QuestionAnswering
from nlptasks.errors import InvalidInputError
from nlptasks.requests import read_request
from tests.sample_tasks import Mood

ROWS = {"id": [1, 2], "Review": ["a fine day", "never again"], "note": ["x", "y"]}


class Polars:
    """The part of a polars DataFrame that is used."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = list(columns)
        self._values = columns

    def iter_rows(self) -> Iterator[tuple[Any, ...]]:
        return iter(zip(*self._values.values(), strict=True))


class Reading(QuestionAnswering):
    """Questions."""

    name = "reading"


FRAMES = {
    "pandas": pandas.DataFrame,
    "polars": Polars,
    "arrow": pyarrow.table,
    "batch": lambda rows: pyarrow.RecordBatch.from_pydict(rows),
    "datasets": datasets.Dataset.from_dict,
}


def texts(value: Any, **fields: Any) -> list[str]:
    request = read_request(Mood(), value, fields)
    assert not request.single
    return [one.text for one in request.inputs]


@pytest.mark.parametrize("kind", FRAMES)
def test_a_table_is_read_as_rows(kind: str) -> None:
    assert texts(FRAMES[kind](ROWS)) == ["a fine day", "never again"]
    assert texts(FRAMES[kind]({"text": ["one"], "Review": ["two"]})) == ["one"], "the field's own name comes first"
    assert texts(FRAMES[kind]({"text": []})) == []
    pairs = read_request(Reading(), FRAMES[kind]({"query": ["Who?"], "passage": ["Ada came."], "n": [1]}), {})
    assert [(one.question, one.context) for one in pairs.inputs] == [("Who?", "Ada came.")]
    shared = read_request(Reading(), FRAMES[kind]({"question": ["Who?", "When?"]}), {"context": "Ada came."})
    assert [one.context for one in shared.inputs] == ["Ada came."] * 2


@pytest.mark.parametrize("kind", FRAMES)
def test_a_table_without_a_text_is_refused_by_its_columns(kind: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_request(Mood(), FRAMES[kind]({"id": [1], "remark": ["fine"]}), {})
    [problem] = caught.value.problems
    assert "expected a text column (text, sentence, review, content, tweet, ...), found id, remark." in problem
    assert problem.endswith("Give one column, as in table['review'], or rename it.")


def test_two_columns_of_one_name_are_refused() -> None:
    frame = pandas.DataFrame([["a", "b"]], columns=["text", "text"])
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    for twice in (frame, table):
        with pytest.raises(InvalidInputError, match="found 'text' twice: rename one"):
            read_request(Mood(), twice, {})


def test_bad_cells_are_faults_of_their_rows() -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_request(Mood(), pandas.DataFrame({"text": ["fine", float("nan"), None]}), {})
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["input 1 'text'", "input 2 'text'"]


@pytest.mark.parametrize(
    "column",
    [
        pandas.Series(["a fine day", "never again"], index=[5, 3]),
        pandas.Series(["a fine day", "never again"], dtype="string"),
        pandas.Series(["a fine day", "never again"], dtype="category"),
        numpy.array(["a fine day", "never again"]),
        numpy.array(["a fine day", "never again"], dtype=object),
        pyarrow.array(["a fine day", "never again"]),
        pyarrow.chunked_array([["a fine day"], ["never again"]]),
        datasets.Dataset.from_dict(ROWS)["Review"],
    ],
)
def test_a_column_alone_is_a_list_of_texts(column: Any) -> None:
    assert texts(column) == ["a fine day", "never again"]


def test_one_text_of_numpy_is_one_text() -> None:
    for value in (numpy.array("fine"), numpy.str_("fine")):
        request = read_request(Mood(), value, {})
        assert (request.single, request.inputs[0].text) == (True, "fine")


@pytest.mark.parametrize("value", [b"fine", bytearray(b"fine"), memoryview(b"fine")])
def test_bytes_are_one_fault(value: Any) -> None:
    for inputs, place in ((value, "input"), ([value], "input"), (["fine", value], "input 1")):
        with pytest.raises(InvalidInputError) as caught:
            read_request(Mood(), inputs, {})
        [problem] = caught.value.problems
        kind = type(value).__name__
        assert problem == f'{place}: expected a text, found {kind}; decode it, as in value.decode("utf-8").'


def test_nothing_is_imported_to_know_a_table() -> None:
    code = (
        "import sys\nfrom nlptasks.data import read_rows\nfrom nlptasks.data.frames import task_inputs\n"
        "print([name for name in ('pandas', 'pyarrow', 'openpyxl', 'numpy', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
