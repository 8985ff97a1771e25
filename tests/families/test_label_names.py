"""Names that a caller gives to labels: every form that is read, and one sentence for every fault."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from nlptasks.families.label_names import MAX_LABELS, LabelNames

ADAPTER = TypeAdapter(LabelNames)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (["billing", "bug"], {"billing": "", "bug": ""}),
        (("ein  Fehler ", "請求"), {"ein Fehler": "", "請求": ""}),
        ({"billing": "payments, refunds", "bug": None}, {"billing": "payments, refunds", "bug": ""}),
        ("billing, bug", {"billing": "", "bug": ""}),
        ("billing: payments, refunds\nbug", {"billing": "payments, refunds", "bug": ""}),
        ("billing: payments, refunds; bug: it breaks", {"billing": "payments, refunds", "bug": "it breaks"}),
        ("10:30, 11:15", {"10:30": "", "11:15": ""}),
        ("one", {"one": ""}),
        ({"a{b}": "braces {0}"}, {"a{b}": "braces {0}"}),
    ],
)
def test_names_are_read_in_every_form(value: Any, names: dict[str, str]) -> None:
    read = ADAPTER.validate_python(value)
    assert read == names
    assert list(read) == list(names)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], f"expected 1 to {MAX_LABELS} names, counted 0"),
        ("  ", f"expected 1 to {MAX_LABELS} names, counted 0"),
        ([str(i) for i in range(300)], f"expected 1 to {MAX_LABELS} names, counted 300"),
        (["a", "a"], "expected names once, not 'a' and 'a'"),
        (["Bug", "bug"], "expected names that differ in more than letter case, not 'Bug' and 'bug'"),
        (["STRASSE", "straße"], "expected names that differ in more than letter case, not 'STRASSE' and 'straße'"),
        (["a", " "], "expected a name with at least one visible character, not ''"),
        (["a", 3], "expected a name with at least one visible character, not 3"),
        (
            {"a": " ", "b": "x"},
            "expected a description of 'a', not an empty text: write one, or name the labels in a list",
        ),
        ({"a": 1.5}, "expected a text that describes 'a', not 1.5"),
        ({"a": "x" * 1001}, "expected a description of 'a' with at most 1000 characters, not 1001"),
        (["x" * 201], f"expected a name of at most 200 characters, not {'x' * 37 + '...'!r}"),
        (7, "expected a list of names, or names with descriptions"),
        (["{x}", "{X}"], "expected names that differ in more than letter case, not '{x}' and '{X}'"),
    ],
)
def test_each_fault_is_one_sentence(value: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(value)
    assert [fault["msg"] for fault in caught.value.errors()] == [sentence]
