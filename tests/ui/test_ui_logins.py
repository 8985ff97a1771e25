"""Two logins on one app: what one uploads, trains and downloads is not the other's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.ui_browser import FakeEngine, browser, built_in_makers, installed_plugins, own_settings, tab, visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["browser"]

pytestmark = pytest.mark.long

LOGINS = [("ada", "one"), ("bob", "two")]
ROWS = "text,label\n" + "".join(f"Ada's row {i} was fine.,{('negative', 'positive')[i % 2]}\n" for i in range(40))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from nlptasks_ui.app import build_app
    from nlptasks_ui.serving import Address, launch
    from tests.ui_browser import free_port

    folder = tmp_path_factory.mktemp("app")
    with (
        pytest.MonkeyPatch.context() as patch,
        FakeEngine(own_settings(folder), built_in_makers(), installed_plugins()) as engine,
    ):
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "files"))
        app = build_app(engine, logins=True)
        try:
            yield launch(app, Address(port=free_port()), logins=LOGINS).rstrip("/")
        finally:
            app.close(verbose=False)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "adas-rows.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


@contextlib.contextmanager
def client(url: str, name: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url) as made:
        made.post("/login", data={"username": name, "password": dict(LOGINS)[name]}).raise_for_status()
        yield made


@contextlib.contextmanager
def user(browser: Browser, url: str, name: str) -> Iterator[Page]:
    with tab(browser) as page:
        log_in(page, url, name)
        yield page


def log_in(page: Page, url: str, name: str) -> None:
    page.goto(url)
    page.get_by_label("username").fill(name)
    page.get_by_label("password").fill(dict(LOGINS)[name])
    page.get_by_role("button", name="Login").click()
    page.wait_for_selector(".nlp-menu")


def ask(page: httpx.Client, path: str) -> Any:
    """Send a file's path to the app as the component for attached files would."""
    data = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}], "fn_index": 0, "session_hash": "x"}
    return page.post("/gradio_api/queue/join", json=data)


def test_a_file_is_for_its_user_only(url: str, rows: Path) -> None:
    with client(url, "ada") as ada, client(url, "bob") as bob, httpx.Client(base_url=url) as nobody:
        [path] = ada.post("/gradio_api/upload", files={"files": (rows.name, rows.read_bytes())}).json()
        assert ada.get(f"/gradio_api/file={path}").text == ROWS
        folder, name = path.rsplit("/", 1)
        spellings = (path, f"{folder}/./{name}", f"{folder}/../{folder.rsplit('/', 1)[1]}/{name}", "/" + path)
        for spelling in spellings:
            for place in ("/gradio_api/file=", "/gradio_api/file/"):
                assert "Ada's row" not in bob.get(place + spelling.replace("/.", "/%2E")).text
        assert bob.get(f"/gradio_api/file={path}").json() == {
            "detail": "This file belongs to another user, or no longer exists."
        }
        assert ask(bob, path).status_code == 403
        assert ask(ada, path).status_code != 403
        assert nobody.get(f"/gradio_api/file={path}").status_code in (401, 403)
        # Whoever has the same file has uploaded it.
        assert bob.post("/gradio_api/upload", files={"files": (rows.name, rows.read_bytes())}).json() == [path]
        assert bob.get(f"/gradio_api/file={path}").text == ROWS


def earlier(page: Page, url: str) -> list[str]:
    """The names of the files that the training page offers; it offers at least one."""
    visit(page, f"{url}/training")
    choices = page.locator("#train-earlier [role=option]")
    for _ in range(40):
        page.locator("#train-earlier input").click()
        page.wait_for_timeout(250)
        if choices.count():
            return [words.split(",")[0].strip("✓ \n") for words in choices.all_inner_texts()]
        page.keyboard.press("Escape")
        page.locator("h1").first.click()
    raise AssertionError("no file is offered")


def upload(page: Page, url: str, file: Path) -> None:
    visit(page, f"{url}/training")
    page.set_input_files("#train-file input[type=file]", str(file))
    page.wait_for_selector("#train-found >> text=40 rows: about 36 for training")


@pytest.mark.full
def test_data_files_are_their_users_and_can_be_deleted(browser: Browser, url: str, rows: Path, tmp_path: Path) -> None:
    other = tmp_path / "others-rows.csv"
    other.write_text(ROWS, encoding="utf-8")
    with user(browser, url, "ada") as ada, user(browser, url, "bob") as bob:
        upload(ada, url, rows)
        upload(ada, url, other)  # the same content does not replace the first file
        upload(bob, url, other)
        assert earlier(bob, url) == ["others-rows.csv"]
        assert earlier(ada, url) == ["others-rows.csv", "adas-rows.csv"]
        ada.get_by_role("option", name="adas-rows.csv").click()
        ada.wait_for_selector("#train-found >> text=40 rows")
        ada.click("#train-delete")
        ada.click("#train-keep")
        ada.click("#train-delete")
        ada.click("#train-really")
        ada.wait_for_selector("#train-found >> text=Deleted adas-rows.csv.")
        ada.wait_for_selector("#train-start:disabled")
        ada.wait_for_selector("#train-delete", state="hidden")
        assert earlier(ada, url) == ["others-rows.csv"]
        assert earlier(bob, url) == ["others-rows.csv"]


@pytest.mark.full
def test_results_of_a_batch_are_for_its_user_only(browser: Browser, url: str, rows: Path) -> None:
    with user(browser, url, "ada") as page, client(url, "bob") as bob:
        visit(page, f"{url}/batch")
        page.set_input_files("#batch-file input[type=file]", str(rows))
        page.wait_for_selector("#batch-found >> text=40 rows")
        page.get_by_role("button", name="Run", exact=True).click()
        page.wait_for_selector("#batch-csv:visible")
        with page.expect_download() as started:
            page.click("#batch-csv")
        assert "Ada's row 3" in Path(started.value.path()).read_text("utf-8")
        assert bob.get(started.value.url).status_code == 403
        with user(browser, url, "bob") as other:
            visit(other, f"{url}/batch")
            other.get_by_role("tab", name="Runs").click()
            other.wait_for_selector("#batch-progress >> text=No runs yet")


def test_an_attached_document_is_read_in_an_app_with_logins(browser: Browser, url: str, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("It lasts two days at most.", encoding="utf-8")
    with user(browser, url, "ada") as page:
        visit(page, f"{url}/chat")
        page.set_input_files("#chat-words input[type=file]", str(note))
        page.wait_for_selector("#chat-words button[aria-label='Remove file']", state="attached")
        page.locator("#chat-words textarea").fill("/qa How long?")
        page.keyboard.press("Enter")
        page.wait_for_selector("#chat-turns mark >> text=two days")


def test_a_link_logs_out(browser: Browser, url: str) -> None:
    with user(browser, url, "ada") as page:
        visit(page, f"{url}/sentiment")
        page.get_by_role("link", name="Log out").click()
        page.get_by_label("password").wait_for()
        page.goto(f"{url}/training")
        page.get_by_label("password").wait_for()
        log_in(page, url, "bob")
