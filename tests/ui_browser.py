"""The web app for tests: fake models for the built-in tasks, the app on loopback, a headless Chromium of the system."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nlptasks import Engine, Plugins, Settings
from nlptasks.testing import FakeModel
from tests.fake_engine import FakeEngine, Make, SlowModel

pytest.importorskip("gradio", reason="the web app needs pip install 'nlptasks[ui]'")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE = {"width": 390, "height": 844}

STORY = "Once there was a lamp that would not go out. " * 20


def find(words: str) -> Callable[[str, str], tuple[int, int] | None]:
    """Answers that are these words of a context, where they stand in it."""

    def answer(_: str, context: str) -> tuple[int, int] | None:
        start = context.find(words)
        return None if start < 0 else (start, start + len(words))

    return answer


def built_in_makers(pause: float = 0.05) -> dict[str, Make]:
    """A fake model for each built-in task; `pause` is in seconds, after each piece of a story."""

    def sentiment(**more: Any) -> FakeModel:
        scores = lambda text: (0.0, 3.0) if "love" in str(text).lower() else (3.0, 0.0)  # noqa: E731
        return FakeModel(labels=("negative", "positive"), scores=scores, name="fake-encoder", adapter="fake", **more)

    def ner(**more: Any) -> FakeModel:
        names = {"Ada": "B-PER", "Lovelace": "I-PER", "Oslo": "B-LOC"}
        tags = lambda text: [names.get(word.strip(".,"), "O") for word in text.split()]  # noqa: E731
        return FakeModel(labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"), tags=tags, name="fake-encoder", **more)

    def writer(text: str, pause: float = 0.0) -> Make:
        def make(**more: Any) -> FakeModel:
            completions = lambda _: text  # noqa: E731
            return SlowModel(pause=pause, kind="causal", completions=completions, name="fake-writer", **more)

        return make

    def translator(**more: Any) -> FakeModel:
        french = {"Good morning.": "Bonjour.", "See you soon.": "À bientôt."}
        completions = lambda prompt: next((v for k, v in french.items() if k in prompt), "?")  # noqa: E731
        return FakeModel(
            kind="seq2seq", completions=completions, languages=("en", "fr"), name="fake-translator", **more
        )  # fmt: skip

    return {
        "sentiment": sentiment,
        "ner": ner,
        "qa": lambda **more: FakeModel(answers=find("two days"), name="fake-encoder", max_tokens=64, **more),
        "summarization": writer("The lamp never went out."),
        "translation": translator,
        "generation": writer(STORY, pause=pause),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(engine: Engine, **arguments: Any) -> Iterator[str]:
    """The address of the app of an engine, for as long as the block lasts."""
    from nlptasks_ui.app import build_app
    from nlptasks_ui.serving import Address, launch

    app = build_app(engine, **arguments)
    url = launch(app, Address(port=free_port()))
    try:
        yield url.rstrip("/")
    finally:
        app.close(verbose=False)


def own_settings(folder: Path) -> Settings:
    return Settings(cache=folder / "cache", data=folder / "data", offline=True)


def installed_plugins() -> Plugins:
    plugins = Plugins()
    plugins.load_entry_points()
    return plugins


@contextmanager
def opened() -> Iterator[Browser]:
    """A Chromium of the system; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt install chromium, or put one on PATH")
    sync_api = pytest.importorskip("playwright.sync_api", reason="browser tests need pip install playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(browser: Browser, **arguments: Any) -> Iterator[Page]:
    """A new tab with a storage of its own.

    At its end it, and tabs opened beside it, must have asked for nothing outside loopback, and its scripts must not
    have complained.
    """
    arguments.setdefault("viewport", {"width": 1280, "height": 900})
    context = browser.new_context(**arguments)
    page = context.new_page()
    outside: list[str] = []
    faults: list[str] = []

    def note(request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "about:")):
            outside.append(request.url)

    def complain(message: Any) -> None:
        # Gradio's own `base` is refused as well, and is not needed.
        if "Content Security Policy" in message.text and "base URI" not in message.text:
            faults.append(message.text)

    context.on("request", note)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", complain)
    try:
        yield page
        assert outside == [], "the app must work without a network"
        assert faults == []
    finally:
        with contextlib.suppress(Exception):
            context.close()


def visit(page: Page, url: str) -> None:
    """Open a page of the app and wait until its components are there."""
    page.goto(url)
    page.wait_for_selector(".nlp-menu")
    page.wait_for_load_state("load")


def until(holds: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait for something that other threads bring about."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s"
        threading.Event().wait(0.02)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    with FakeEngine(own_settings(tmp_path_factory.mktemp("app")), built_in_makers(), installed_plugins()) as made:
        yield made


@pytest.fixture(scope="module")
def url(engine: FakeEngine) -> Iterator[str]:
    """The app over fake models, one for all tests of a file."""
    with served(engine) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened() as found:
        yield found
