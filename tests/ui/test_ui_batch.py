"""The batch page in a real browser: runs that are stopped, left, killed and continued; their answers; a phone."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pandas
import pytest

from tests.fake_engine import FakeEngine
from tests.ui_browser import (
    PHONE,
    browser,
    built_in_makers,
    free_port,
    installed_plugins,
    own_settings,
    served,
    tab,
    until,
    visit,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["browser"]

ROWS = 500


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    plugins = installed_plugins()
    plugins.load_entry_points([EntryPoint("weather", "nowhere.at_all", "nlptasks")])
    makers = {"qa": built_in_makers()["qa"]}
    with FakeEngine(own_settings(tmp_path_factory.mktemp("app")), makers, plugins) as made:
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
    return reviews(tmp_path_factory.mktemp("rows") / "reviews.csv", ROWS)


def reviews(path: Path, rows: int) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "review", "note"])
        writer.writerows([i, f"Film {i} was what it was." if i != 7 else "", "=1+1"] for i in range(rows))
    return path


def load(page: Page, url: str, file: Path, task: str = "sentiment") -> None:
    visit(page, f"{url}/batch")
    page.get_by_role("tab", name="New run").click()
    page.set_input_files("#batch-file input[type=file]", str(file))
    page.wait_for_selector("#batch-found >> text=More than 100 rows in 3 columns.")
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


def shown(page: Page) -> list[str]:
    """The numbers of the rows in the table."""
    return page.locator("#batch-results tbody th").all_inner_texts()


@pytest.mark.full
def test_five_hundred_rows_from_file_to_files(
    browser: Browser, url: str, engine: FakeEngine, file: Path, tmp_path: Path
) -> None:
    engine.seconds = 0.02
    with tab(browser) as page:
        load(page, url, file)
        page.wait_for_selector("#batch-preview >> text=Film 0 was what it was.")
        assert page.get_by_label("Column for text").input_value() == "review"
        run(page)
        page.wait_for_selector("#batch-progress >> text=/rows.s, .* left/")
        page.wait_for_selector("#batch-progress >> text=/Done: 500 rows .* 1 row without an answer/")
        files = {kind: download(page, kind, tmp_path) for kind in ("csv", "jsonl", "parquet", "xlsx")}
        page.wait_for_selector("#batch-chart-0 canvas, #batch-chart-0 svg")
        page.get_by_text("Chart data as tables").click()
        counts = page.locator("#batch-counts table").first.inner_text()
    assert files["csv"].name == "reviews-sentiment.csv"
    with files["csv"].open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == [str(i) for i in range(ROWS)]
    assert [row["id"] for row in rows if not row["sentiment.label"]] == ["7"]
    assert rows[0]["note"] == "'=1+1"
    expected = engine.run("sentiment", [row["review"] for row in rows if row["review"]])
    assert [row["sentiment.label"] for row in rows if row["review"]] == [result.label for result in expected]
    lines = [json.loads(line) for line in files["jsonl"].read_text("utf-8").splitlines()]
    scores = [line["sentiment.score"] for line in lines]
    assert [score for score in scores if score] == [result.score for result in expected]
    for frame in (pandas.read_parquet(files["parquet"]), pandas.read_excel(files["xlsx"])):
        assert frame["sentiment.score"].dropna().tolist() == pytest.approx([result.score for result in expected])
    negative = sum(result.label == "negative" for result in expected)
    assert f"negative\t{negative}" in counts


@pytest.mark.full
def test_rows_are_paged_and_filtered_and_a_run_is_deleted(
    browser: Browser, url: str, engine: FakeEngine, file: Path
) -> None:
    with tab(browser) as page:
        load(page, url, file)
        run(page)
        page.wait_for_selector("#batch-place >> text=Rows 1 to 50 of 500")
        assert shown(page) == [str(number) for number in range(1, 51)]
        heads = page.locator("#batch-results thead th").all_inner_texts()
        assert heads[:3] == ["row", "sentiment.label", "sentiment.score"]
        assert heads[-3:] == ["review", "id", "note"]
        page.click("#batch-next")
        page.wait_for_selector("#batch-place >> text=Rows 51 to 100 of 500")
        page.get_by_label("Only rows with an error").check()
        page.wait_for_selector("#batch-place >> text=Rows 1 to 1 of 1")
        assert shown(page) == ["8"]
        page.get_by_label("Only rows with an error").uncheck()
        page.get_by_label("Label", exact=True).click()
        page.get_by_role("option", name="negative").click()
        page.get_by_label("Lowest score").fill("0.9")
        wanted = "(row) => row.cells[1].innerText === 'negative' && +row.cells[2].innerText >= 0.9"
        page.wait_for_function(f"[...document.querySelectorAll('#batch-results tbody tr')].every({wanted})")
        assert len(shown(page)) > 1

        page.click("#batch-delete")
        page.click("#batch-keep")
        page.click("#batch-delete")
        before = page.locator("#batch-runs input").count()
        page.click("#batch-really")
        page.wait_for_function(f"document.querySelectorAll('#batch-runs input').length === {before - 1}")


@pytest.mark.full
def test_stop_ends_the_computation_within_one_step_and_continue_goes_on(
    browser: Browser, url: str, engine: FakeEngine, file: Path, tmp_path: Path
) -> None:
    engine.seconds = 0.05
    with tab(browser) as page:
        load(page, url, file)
        run(page)
        engine.hold(after=34)  # in the ninth part
        page.wait_for_selector("#batch-place >> text=of 256")
        page.get_by_role("button", name="Stop", exact=True).click()
        page.wait_for_selector("#batch-progress >> text=/Stopped after/")
        assert engine.models[-1].token.cancelled
        seen = engine.steps
        assert len(download(page, "jsonl", tmp_path).read_text("utf-8").splitlines()) == 256
        engine.seconds = 0.0
        engine.gate.set()
        page.get_by_role("button", name="Continue").click()
        page.wait_for_selector("#batch-progress >> text=Done: 500 rows")
        lines = download(page, "jsonl", tmp_path).read_text("utf-8").splitlines()
    assert [json.loads(line)["row"] for line in lines] == list(range(1, ROWS + 1))
    assert engine.steps - seen == -(-(ROWS - 256) // 8)


def test_a_run_survives_its_tab_and_its_server(browser: Browser, file: Path, tmp_path: Path) -> None:
    with FakeEngine(settings=own_settings(tmp_path), plugins=installed_plugins()) as engine, served(engine) as url:
        engine.seconds = 0.02
        with tab(browser) as page:
            load(page, url, file)
            run(page)
            engine.hold(after=4)
        engine.gate.set()
        engine.hold(after=34)  # it went on without a tab
        with tab(browser) as page:
            visit(page, f"{url}/batch")
            page.wait_for_selector("#batch-place >> text=of 256")
    with FakeEngine(settings=own_settings(tmp_path), plugins=installed_plugins()) as engine, served(engine) as url:
        with tab(browser) as page:
            visit(page, f"{url}/batch")
            page.get_by_role("tab", name="Runs").click()
            page.wait_for_selector("#batch-runs >> text=stopped")
            page.get_by_role("button", name="Continue").click()
            page.wait_for_selector("#batch-progress >> text=Done: 500 rows")
            lines = download(page, "jsonl", tmp_path).read_text("utf-8").splitlines()
        assert engine.steps == -(-(ROWS - 256) // 8)
    assert [json.loads(line)["id"] for line in lines] == [str(number) for number in range(ROWS)]


@contextmanager
def process(data: Path, port: int) -> Iterator[str]:
    """The app in a process of its own, which is killed at the end of the block."""
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, "-m", "tests.ui.batch_app", str(data), str(port)]) as app:
        try:
            until(lambda: answers(url), 90)
            yield url
        finally:
            app.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/batch").is_success
    except httpx.TransportError:
        return False


@pytest.mark.full
def test_twenty_thousand_rows_a_closed_tab_a_killed_server_and_continue(browser: Browser, tmp_path: Path) -> None:
    file, port = reviews(tmp_path / "reviews.csv", 20_000), free_port()
    with process(tmp_path, port) as url:
        with tab(browser) as page:
            load(page, url, file)
            run(page)
            page.wait_for_selector("#batch-place >> text=Rows 1 to 50 of")
        [folder] = (tmp_path / "data" / "ui" / "batches").iterdir()
        parts = folder / "answers.parts"
        until(lambda: len(list(parts.glob("part-*"))) > 60, 120)
    finished = len(list(parts.glob("part-*")))
    assert finished < 20_000 // 32, "killed before it was over"
    with process(tmp_path, port) as url, tab(browser) as page:
        visit(page, f"{url}/batch")
        page.get_by_role("tab", name="Runs").click()
        page.wait_for_selector("#batch-runs >> text=stopped")
        page.wait_for_selector(f"#batch-place >> text=of {32 * finished:,}")
        page.get_by_role("button", name="Continue").click()
        page.wait_for_selector("#batch-progress >> text=Done: 20,000 rows", timeout=180_000)
        page.wait_for_selector("#batch-place >> text=of 20,000")
        lines = download(page, "jsonl", tmp_path).read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["id"] for row in rows] == [str(number) for number in range(20_000)]
    assert [row["row"] for row in rows if not row["sentiment.label"]] == [8]


def test_what_is_wrong_is_said_and_lines_may_be_pasted_on_a_phone(browser: Browser, url: str, tmp_path: Path) -> None:
    bad, useless = tmp_path / "bad.csv", tmp_path / "empty.csv"
    bad.write_text("text,label\nfine,1\nlonely\n", encoding="utf-8")
    useless.write_text("text\n", encoding="utf-8")
    with tab(browser, viewport=PHONE) as page:
        visit(page, f"{url}/batch")
        page.get_by_role("tab", name="New run").click()
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
        page.wait_for_selector("#batch-message >> text=/expected a column for context, found none: choose it above/i")
        page.get_by_role("textbox", name="Context").fill("It was in May.")
        run(page)
        page.wait_for_selector("#batch-progress >> text=Done: 2 rows")
        page.wait_for_selector("#batch-results >> text=Who?")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_status_shows_a_broken_plugin_and_the_machine(browser: Browser, url: str) -> None:
    with tab(browser, viewport=PHONE) as page:
        visit(page, f"{url}/status")
        alert = page.locator("#status-plugins [role=alert]")
        assert "weather" in alert.inner_text()
        assert "which does not exist" in alert.inner_text()
        page.locator("#status-plugins summary").click()
        page.wait_for_selector("#status-plugins pre")
        page.wait_for_selector("#status-live >> text=No base model is in memory.")
        page.wait_for_selector("#status-machine >> text=/cpu, because|cuda, because|mps, because/", timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
