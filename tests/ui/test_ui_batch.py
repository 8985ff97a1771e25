"""The batch page in a real browser: 500 rows with progress, stop and download; a tab that is closed; a phone."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fake_engine import FakeEngine
from tests.ui_browser import PHONE, browser, installed_plugins, own_settings, served, tab, until, visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["browser"]

ROWS = 500


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    plugins = installed_plugins()
    plugins.load_entry_points([EntryPoint("weather", "nowhere.at_all", "nlptasks")])
    with FakeEngine(settings=own_settings(tmp_path_factory.mktemp("app")), plugins=plugins) as made:
        yield made


@pytest.fixture(scope="module")
def url(engine: FakeEngine) -> Iterator[str]:
    with served(engine) as address:
        yield address


@pytest.fixture(autouse=True)
def fresh(engine: FakeEngine) -> None:
    engine.models.clear()
    engine.seconds = 0.0
    engine.gate.set()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "reviews.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "review", "note"])
        writer.writerows([i, f"Film {i} was what it was." if i != 7 else "", "=1+1"] for i in range(ROWS))
    return path


@pytest.fixture(scope="module")
def loaded(browser: Browser, url: str, file: Path) -> Iterator[Page]:
    """A tab with the file in it."""
    with tab(browser) as page:
        load(page, url, file)
        yield page


def load(page: Page, url: str, file: Path, task: str = "sentiment") -> None:
    visit(page, f"{url}/batch")
    page.set_input_files("#batch-file input[type=file]", str(file))
    page.wait_for_selector("#batch-found >> text=500 rows in 3 columns.")
    page.get_by_label("Task", exact=True).click()
    page.get_by_role("option", name=f"{task}:").click()
    page.wait_for_selector(f"#batch-{task}-text")


def download(page: Page, kind: str, folder: Path) -> Path:
    with page.expect_download() as started:
        page.click(f"#batch-{kind}")
    target = folder / started.value.suggested_filename
    started.value.save_as(target)
    return target


def run(page: Page) -> None:
    page.get_by_role("button", name="Run", exact=True).click()


@pytest.mark.full
def test_five_hundred_rows_from_file_to_files(loaded: Page, engine: FakeEngine, tmp_path: Path) -> None:
    engine.seconds = 0.02
    page = loaded
    page.wait_for_selector("#batch-preview >> text=Film 0 was what it was.")
    assert page.get_by_label("Column for text").input_value() == "review"
    run(page)
    page.wait_for_selector("#batch-progress >> text=/rows.s, .* left/")
    page.wait_for_selector("#batch-progress >> text=/Done: 500 rows .* 1 row failed: see the error column/")
    table = download(page, "csv", tmp_path)
    lines = [json.loads(line) for line in download(page, "jsonl", tmp_path).read_text("utf-8").splitlines()]
    page.wait_for_selector("#batch-chart-0 canvas, #batch-chart-0 svg")
    page.get_by_text("Chart data as tables").click()
    counts = page.locator("#batch-counts table").first.inner_text()
    assert table.name == "reviews-sentiment.csv"
    with table.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == [str(i) for i in range(ROWS)]
    assert [row["id"] for row in rows if not row["sentiment.label"]] == ["7"]
    assert rows[0]["note"] == "'=1+1"
    expected = engine.run("sentiment", [row["review"] for row in rows if row["review"]])
    assert [row["sentiment.label"] for row in rows if row["review"]] == [result.label for result in expected]
    assert [line["result"]["score"] for line in lines if line["result"]] == [result.score for result in expected]
    negative = sum(result.label == "negative" for result in expected)
    assert f"negative\t{negative}" in counts


def test_stop_ends_the_computation_within_one_step_and_keeps_what_is_done(
    loaded: Page, engine: FakeEngine, tmp_path: Path
) -> None:
    engine.seconds = 0.05
    run(loaded)
    engine.hold(after=8)
    loaded.get_by_role("button", name="Stop", exact=True).click()
    until(lambda: engine.models[-1].token.cancelled, 30)
    seen = engine.steps
    engine.gate.set()
    loaded.wait_for_selector("#batch-progress >> text=/Stopped. .* of 500 rows processed; their results are below/")
    rows = download(loaded, "jsonl", tmp_path).read_text("utf-8").splitlines()
    loaded.wait_for_selector("#batch-run:enabled")
    assert engine.steps <= seen + 1
    assert 8 < len(rows) < ROWS


def test_a_closed_tab_ends_the_computation(browser: Browser, url: str, engine: FakeEngine, file: Path) -> None:
    with tab(browser) as page:
        load(page, url, file)
        engine.seconds = 0.05
        run(page)
        engine.hold(after=4)
    until(lambda: engine.models[-1].token.cancelled, 30)
    seen = engine.steps
    engine.gate.set()
    time.sleep(0.3)
    assert engine.steps <= seen + 1


def test_what_is_wrong_is_said_and_lines_may_be_pasted_on_a_phone(browser: Browser, url: str, tmp_path: Path) -> None:
    bad, useless = tmp_path / "bad.csv", tmp_path / "empty.csv"
    bad.write_text("text,label\nfine,1\nlonely\n", encoding="utf-8")
    useless.write_text("text\n", encoding="utf-8")
    with tab(browser, viewport=PHONE) as page:
        visit(page, f"{url}/batch")
        page.set_input_files("#batch-file input[type=file]", str(useless))
        page.wait_for_selector("#batch-found [role=alert] >> text=empty.csv: expected rows, found none.")
        assert page.get_by_role("button", name="Run", exact=True).is_disabled()
        page.get_by_label("Clear").click()
        page.set_input_files("#batch-file input[type=file]", str(bad))
        page.wait_for_selector("#batch-found >> text=bad.csv:3: expected 2 fields, found 1.")
        page.wait_for_selector("#batch-run:enabled")

        page.get_by_role("tab", name="Pasted lines").click()
        page.get_by_label("One text per line").fill("Who?\nWhen?\n")
        page.get_by_role("button", name="Use these lines").click()
        page.wait_for_selector("#batch-found >> text=2 rows in 1 column.")
        page.get_by_label("Task", exact=True).click()
        page.get_by_role("option", name="qa:").click()
        page.wait_for_selector("#batch-qa-context")
        assert page.get_by_label("Column for question").input_value() == "text"
        assert page.get_by_label("Column for context").input_value() == "The same for all rows"
        run(page)
        page.wait_for_selector("#batch-progress >> text=/expected a column for context, found none: choose it above/i")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_status_shows_a_broken_plugin_and_the_machine(browser: Browser, url: str) -> None:
    with tab(browser, viewport=PHONE) as page:
        visit(page, f"{url}/status")
        alert = page.locator("#status-plugins [role=alert]")
        assert "weather" in alert.inner_text()
        assert "which does not exist" in alert.inner_text()
        page.locator("#status-plugins summary").click()
        assert page.locator("#status-plugins pre").is_visible()
        page.wait_for_selector("#status-live >> text=No base model is in memory.")
        page.wait_for_selector("#status-machine >> text=/cpu, because|cuda, because|mps, because/", timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
