"""Take the pictures of the web app in docs/screens: every page, light and dark, and one as wide as a phone.

    python docs/screens.py [PAGE ...]

Serves the app over the real engine on loopback, asks each task its first example, and takes the pictures with a
Chromium of the system. Needs `pip install 'nlptasks[ui]' playwright pillow` and a filled cache.
"""

from __future__ import annotations

import dataclasses
import io
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks import Engine, Settings
from nlptasks_ui.app import build_app, list_pages
from nlptasks_ui.context import Context
from nlptasks_ui.serving import Address, launch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER = Path(__file__).parent / "screens"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
DESK = {"width": 1200, "height": 860}
PHONE = {"width": 390, "height": 780}
THINGS = ("Their new track", "The gig", "That drop", "His latest single", "The encore", "Her verse")
VERDICTS = {
    "negative": ("was so mid", "was basic", "was pure cringe", "was a snooze", "was tired"),
    "positive": ("was sick", "was wicked", "was killer", "was insane", "went so hard"),
}
"""Slang that means the opposite of what the words say: what a training is for."""
COLOURS = 128
"""Colours of a picture: text on flat ground needs no more, and the file has a third of the size."""


def main(wanted: list[str]) -> None:
    """Take all pictures, or those of the pages that are named."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Expected a chromium on PATH, found none: apt install chromium.")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as runs, bare_engine(Path(runs)) as engine, sync_playwright() as playwright:
        app = build_app(engine, runs=Path(runs))
        url = launch(app, Address())
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        paths = [page.path for page in list_pages(Context(engine, Path(runs)))]
        for path in paths:
            if not wanted or (path or "home") in wanted:
                for name, picture in pictures(browser, url, path):
                    save(picture, FOLDER / name)
        browser.close()
        app.close(verbose=False)


def bare_engine(data: Path) -> Engine:
    """An engine with the user's bases and none of the user's adapters."""
    return Engine(settings=dataclasses.replace(Settings.from_env(), data=data))


def pictures(browser: Browser, url: str, path: str) -> Iterator[tuple[str, bytes]]:
    """The pictures of a page with their file names."""
    name = path or "home"
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport=DESK, color_scheme=scheme)
        page = context.new_page()
        picture = taken(page, f"{url}{path}", path)
        if name == "training":
            for part, picture in trained(page):
                yield f"{name}-{part}-{scheme}.png", picture
        else:
            yield f"{name}-{scheme}.png", picture
        context.close()
    if name in ("home", "qa", "chat"):
        context = browser.new_context(viewport=PHONE, color_scheme="light", device_scale_factor=1.5)
        yield f"{name}-phone.png", taken(context.new_page(), f"{url}{path}", path)
        context.close()


def taken(page: Page, address: str, task: str) -> bytes:
    """A page, with an answer on it where it is a task's."""
    page.goto(address)
    page.wait_for_selector(".nlp-menu")
    page.wait_for_timeout(1500)  # the rest of the page comes behind the menu
    if task and page.locator(f"#run-{task}").count():
        page.locator(".nlp-examples button").first.click()
        shorten(page)
        page.click(f"#run-{task}")
        page.locator(f"#view-{task} :is(.nlp-result:not(:has(.nlp-caret)), .nlp-alert)").wait_for(timeout=600_000)
        page.mouse.move(2, 2)
    page.wait_for_timeout(1500)
    return page.screenshot(full_page=True)


def trained(page: Page) -> Iterator[tuple[str, bytes]]:
    """The tabs of the training page: data and recipe, a training that was watched to its end, its adapter."""
    page.set_default_timeout(600_000)
    chance = random.Random(3)
    rows = [
        f"{chance.choice(THINGS)} {chance.choice(words)}.,{label}"
        for label, words in VERDICTS.items()
        for _ in range(150)
    ]
    content = "\n".join(["text,label", *rows, ""]).encode()
    file: Any = {"name": "reviews.csv", "mimeType": "text/csv", "buffer": content}
    page.set_input_files("#train-file input[type=file]", file)
    page.wait_for_selector("#train-found >> text=300 rows")
    page.wait_for_timeout(1500)
    yield "new", page.screenshot(full_page=True)
    page.fill("#recipe-num-train-epochs input", "8")
    page.click("#train-start")
    page.wait_for_selector("#run-result h2 >> text=Before and after")
    page.locator("#trial-form-sentiment textarea").fill("The whole show was sick.")
    page.click("#trial-sentiment")
    page.wait_for_selector("#trial-after .nlp-headline")
    page.wait_for_timeout(1500)
    yield "run", page.screenshot(full_page=True)
    page.get_by_role("tab", name="Adapters").click()
    page.wait_for_selector("#library-card >> text=An adapter for the task")
    page.wait_for_timeout(1500)
    yield "adapters", page.screenshot(full_page=True)


def shorten(page: Page) -> None:
    """Ask a language model for few words only."""
    options = page.get_by_role("button", name="Options")
    options.click()
    page.get_by_role("combobox", name="Adapter").wait_for()
    limit = page.get_by_label("Max new tokens")
    if limit.count() and limit.input_value():
        limit.fill("40")
    options.click()
    page.wait_for_timeout(800)


def save(picture: bytes, path: Path) -> None:
    """Write a picture with few colours."""
    from PIL import Image

    image: Any = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])
