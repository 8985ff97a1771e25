"""The web app in the server of `nlptasks serve --ui`: one engine, the server's keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser

from tests.serving import served
from tests.ui_browser import FakeEngine, browser, built_in_makers, installed_plugins, own_settings, tab, visit

__all__ = ["browser"]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("app")
    keys = folder / "keys"
    keys.write_text("ada:first-key\nbob:second-key\n")
    with (
        pytest.MonkeyPatch.context() as patch,
        FakeEngine(own_settings(folder), built_in_makers(), installed_plugins()) as engine,
    ):
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "files"))
        with served(engine, ui=True, api_key_file=keys, requests_a_minute=5) as address:
            yield address


def login(key: str) -> dict[str, str]:
    return {"username": "anybody", "password": key}


def test_without_a_key_there_is_no_page_and_the_browser_asks_for_it(url: str) -> None:
    for path in ("/ui/", "/ui/sentiment", "/ui/config", "/ui/gradio_api/info", "/ui/assets/index.js"):
        answer = httpx.get(url + path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
    assert httpx.get(f"{url}/ui", auth=("anybody", "first-key")).headers["location"] == f"{url}/ui/"


@pytest.mark.browser
def test_a_task_and_a_batch_run_in_a_browser(browser: Browser, url: str, tmp_path: Path) -> None:
    rows = tmp_path / "adas-rows.csv"
    rows.write_text("text\nI love it.\nIt broke.\n")
    with tab(browser, http_credentials=login("first-key")) as page:
        visit(page, f"{url}/ui/sentiment")
        page.locator("textarea").first.fill("I love it.")
        page.click("#run-sentiment")
        page.wait_for_selector("#view-sentiment .nlp-result >> text=positive")
        page.click(".nlp-menu >> text=Batch")
        page.wait_for_url(f"{url}/ui/batch")
        page.set_input_files("#batch-file input[type=file]", str(rows))
        page.wait_for_selector("#batch-preview td")
        page.click("#batch-run")
        page.wait_for_selector("#batch-progress >> text=/Done: 2 rows/", timeout=120_000)
    # Each key has runs of its own.
    with tab(browser, http_credentials=login("second-key")) as page:
        visit(page, f"{url}/ui/batch")
        page.get_by_role("tab", name="Runs").click()
        page.wait_for_selector("text=No runs yet")
        assert page.locator("#batch-runs label").count() == 0


def test_both_surfaces_answer_and_a_page_of_another_site_may_not_post(url: str) -> None:
    with httpx.Client(base_url=url, auth=("anybody", "first-key")) as client:
        answer = client.post("/v1/tasks/sentiment", json={"text": "I love it."})
        assert answer.json()["label"] == "positive"
        assert client.get("/ui/gradio_api/user").json() == "ada"
        for path in ("/v1/tasks/sentiment", "/ui/gradio_api/queue/join", "/ui/gradio_api/upload"):
            refused = client.post(path, json={"text": "I love it."}, headers={"Origin": "https://evil.example"})
            assert refused.status_code == 403
            assert refused.json()["error"]["message"] == (
                "Expected a page of this server as Origin, found 'https://evil.example': see --cors-origin."
            )
        page = client.get("/metrics").text
    assert "/ui/gradio_api/user" in page
