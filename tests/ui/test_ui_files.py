"""Uploads and files to download: kept for a day and as long as the app runs, not needed by what computes."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.ui.test_ui_batch import download, load
from tests.ui_browser import FakeEngine, browser, free_port, installed_plugins, own_settings, served, tab, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser"]

DAY = 24 * 3600


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the app keeps files."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "files"))
    return tmp_path / "files"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(own_settings(tmp_path), plugins=installed_plugins()) as made:
        yield made


def running(url: str) -> Any:
    from gradio import Blocks

    [app] = [blocks for blocks in Blocks.get_instances() if (blocks.local_url or "").rstrip("/") == url]
    return app


def clean(url: str, monkeypatch: pytest.MonkeyPatch, later: float) -> None:
    """What gradio does each hour, so many seconds from now."""
    from gradio import route_utils

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime.datetime:
            return datetime.datetime.now(tz) + datetime.timedelta(seconds=later)

    monkeypatch.setattr(route_utils, "datetime", Clock)
    route_utils.delete_files_created_by_app(running(url), running(url).delete_cache[1])


def files(folder: Path) -> list[str]:
    # Gradio leaves an empty file with a name of its own for an upload of a browser.
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


@pytest.mark.long
def test_uploads_go_after_a_day_and_with_the_app(
    engine: FakeEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(engine) as url:
        for name in ("one.csv", "two.csv"):
            upload = httpx.post(f"{url}/gradio_api/upload", files={"files": (name, name.encode())})
            assert upload.is_success
            until(lambda: files(folder))
            clean(url, monkeypatch, DAY - 60)
            assert files(folder) == [name]
            if name == "one.csv":
                clean(url, monkeypatch, DAY + 60)
                assert files(folder) == []
    until(lambda: files(folder) == [])


@pytest.mark.long
def test_the_app_cleans_up_by_itself(engine: FakeEngine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nlptasks_ui import app

    assert app.DELETE_CACHE == (3600, DAY)
    monkeypatch.setattr(app, "DELETE_CACHE", (1, 1))
    with served(engine) as url:
        httpx.post(f"{url}/gradio_api/upload", files={"files": ("one.csv", b"one")}).raise_for_status()
        assert files(folder) == ["one.csv"]
        until(lambda: files(folder) == [], 20)


@pytest.mark.full
def test_a_batch_outlives_its_file_and_its_results_are_there(
    browser: Browser, engine: FakeEngine, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "reviews.csv"
    rows = [f"{number},Film {number} was what it was.,none" for number in range(500)]
    source.write_text("\n".join(["id,review,note", *rows]), encoding="utf-8")
    with served(engine) as url, tab(browser) as page:
        load(page, url, source)
        until(lambda: files(folder) == ["reviews.csv"])
        engine.seconds = 0.01
        page.click("#batch-run")
        engine.hold(after=4)
        clean(url, monkeypatch, DAY + 60)
        assert files(folder) == []
        engine.gate.set()
        page.wait_for_selector("#batch-progress >> text=Done: 500 rows")
        lines = download(page, "jsonl", tmp_path).read_text("utf-8").splitlines()
        assert [json.loads(line)["id"] for line in lines] == [str(number) for number in range(500)]
        clean(url, monkeypatch, DAY - 60)
        assert files(folder) == ["reviews-sentiment.jsonl"]
        clean(url, monkeypatch, DAY + 60)
        assert files(folder) == []


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
@pytest.mark.parametrize("ending", [pytest.param(signal.SIGINT, marks=pytest.mark.full), signal.SIGTERM])
def test_whoever_ends_the_command_its_uploads_go(folder: Path, tmp_path: Path, ending: signal.Signals) -> None:
    own = {"NLPTASKS_CACHE": str(tmp_path / "cache"), "NLPTASKS_DATA": str(tmp_path / "data"), "HF_HUB_OFFLINE": "1"}
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "nlptasks", "ui", "--port", str(port)]
    with subprocess.Popen(command, env={**os.environ, **own}, stderr=subprocess.PIPE, text=True) as app:
        try:
            assert app.stderr
            until(lambda: f"Open {url}" in app.stderr.readline(), 60)
            httpx.post(f"{url}/gradio_api/upload", files={"files": ("one.csv", b"one")}).raise_for_status()
            assert files(folder) == ["one.csv"]
            app.send_signal(ending)
            assert app.wait(30) == 0
        finally:
            app.kill()
    assert files(folder) == []


def test_files_that_a_killed_process_left_go_after_a_day(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nlptasks_ui.pages import files as kept

    left = folder / "nlptasks" / "0123" / "left.csv"
    left.parent.mkdir(parents=True)
    left.write_text("left", encoding="utf-8")
    other = folder / "other-app.csv"
    other.write_text("another program's", encoding="utf-8")
    kept.keep_for(DAY, tmp_path / "unused", 3600)
    until(lambda: os.environ["GRADIO_TEMP_DIR"] == str(folder / "nlptasks"))
    kept.sweep(folder / "nlptasks", DAY)
    assert files(folder) == ["left.csv", "other-app.csv"]
    tomorrow = time.time() + DAY + 60
    monkeypatch.setattr(kept.time, "time", lambda: tomorrow)
    kept.sweep(folder / "nlptasks", DAY)
    assert files(folder) == ["other-app.csv"]
    assert list((folder / "nlptasks").iterdir()) == []
