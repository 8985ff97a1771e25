"""docs/attention.md says what the resident base does: its examples are run, and its picture is the one they draw."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "attention.md"


@pytest.mark.embedded
@pytest.mark.long
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8").replace("```", "")
    report: list[str] = []
    test = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    result = doctest.DocTestRunner().run(test, out=report.append)
    assert result.failed == 0, "".join(report)
    assert result.attempted > 20
    assert (tmp_path / "attention.png").stat().st_size > 10_000
    assert (PAGE.parent / "attention.png").is_file()
