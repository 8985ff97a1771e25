"""The training page in a real browser: 200 rows become an adapter that is tried, with a reload midway."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nlptasks import Engine, Settings
from tests.ui_browser import PHONE, browser, installed_plugins, own_settings, served, tab, visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["browser"]

LONG = 240_000
"""Milliseconds for what needs a process of its own on a busy machine."""

OUT_OF_RANGE = (
    ("num-train-epochs", "Epochs", "-1", r"input should be greater than 0, found -1"),
    ("num-train-epochs", "Epochs", "0", r"input should be greater than 0, found 0"),
    ("learning-rate", "Learning rate", "0", r"input should be greater than 0, found 0"),
    ("learning-rate", "Learning rate", "", r"expected a value, found none"),
    ("per-device-train-batch-size", "Batch size", "2.5", r"input should be a valid integer.*"),
)
"""A setting, its label, a value that it cannot have, and what the page says."""

THINGS = ("The staff", "Our room", "The soup", "That phone", "Her speech", "The last chapter")
SAID = {"negative": ("dull", "a waste", "tedious", "a mess"), "positive": ("a joy", "charming", "superb", "a delight")}


def write_reviews(path: Path) -> Path:
    chance = random.Random(3)
    labels = [("negative", "positive")[i % 2] for i in range(200)]
    rows = [
        f"{chance.choice(THINGS)} was {chance.choice(SAID[label])} on day {i}.,{label}"
        for i, label in enumerate(labels)
    ]
    path.write_text("\n".join(["review,mood", *rows]) + "\n", encoding="utf-8")
    return path


def take_mood_as_label(page: Page) -> None:
    """No label column has a common name: the page says so, and the user chooses one."""
    page.wait_for_selector("#train-found [role=alert] >> text=expected a label column")
    assert "Name it with “Label column”" in page.locator("#train-found").inner_text()
    page.get_by_label("Label column").click()
    page.get_by_role("option", name="mood").click()
    page.wait_for_selector("#train-found >> text=200 rows: about 180 for training, 20 held out")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with tab(browser) as opened:
        opened.set_default_timeout(LONG)
        yield opened


@pytest.mark.full
@pytest.mark.long
@pytest.mark.embedded
def test_two_hundred_rows_become_an_adapter_that_is_tried(
    page: Page, embedded_settings: Settings, tmp_path: Path
) -> None:
    settings = replace(embedded_settings, data=tmp_path / "data")  # with no adapter of another test
    with Engine(settings=settings, plugins=installed_plugins()) as engine, served(engine) as url:
        visit(page, f"{url}/training")
        page.set_input_files("#train-file input[type=file]", str(write_reviews(tmp_path / "reviews.csv")))
        take_mood_as_label(page)
        assert page.get_by_label("Text column").input_value() == "review"
        assert str(tmp_path.parent) not in page.content()
        page.fill("#recipe-num-train-epochs input", "4")
        page.wait_for_selector("#train-start:enabled")
        page.click("#train-start")
        page.wait_for_selector("#run-loss canvas, #run-loss svg")

        page.reload()
        page.wait_for_selector("#run-loss canvas, #run-loss svg")
        page.wait_for_selector("#run-rate canvas, #run-rate svg")
        page.wait_for_selector("#run-head >> text=/The adapter 'reviews' is (ready|saved), after 92 steps/")
        page.wait_for_selector("#run-result h2 >> text=Before and after")
        assert page.locator("#run-result .nlp-matrix").count() == 2
        assert "accuracy" in page.locator("#run-result").inner_text()

        page.locator("#trial-form-classify textarea").first.fill("The soup was a mess.")
        page.click("#trial-classify")
        page.wait_for_selector("#trial-after .nlp-headline >> text=negative")
        assert "adapter reviews" in page.locator("#trial-after").inner_text()
        assert "adapter classify" in page.locator("#trial-before").inner_text()

        page.get_by_role("tab", name="Adapters").click()
        page.wait_for_selector("#library-card >> text=An adapter for the task")
        with page.expect_download() as started:
            page.click("#library-download")
        started.value.save_as(tmp_path / "got.zip")
        page.fill("#library-name input, #library-name textarea", "second")
        page.click("#library-rename")
        page.wait_for_selector("#library-said >> text=Renamed reviews to second.")
        page.click("#library-delete")
        page.click("#library-really")
        page.wait_for_selector("#library-said >> text=Deleted second.")
        page.wait_for_selector("#library-list >> text=No adapters yet")
        page.get_by_text("Upload an adapter").click()
        page.set_input_files("#library-file input[type=file]", str(tmp_path / "got.zip"))
        page.wait_for_selector("#library-file >> text=got.zip")
        page.click("#library-take")
        page.wait_for_selector("#library-said >> text=Imported reviews for classify.")
    with zipfile.ZipFile(tmp_path / "got.zip") as archive:
        [manifest] = [name for name in archive.namelist() if name.endswith("nlptasks.json")]
        assert json.loads(archive.read(manifest))["metrics"]["accuracy"] > 0.9


def test_what_is_wrong_is_said_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    settings = own_settings(tmp_path)
    bad = tmp_path / "bad.csv"
    bad.write_text("text,label\nfine,positive\n,negative\nodd,\n", encoding="utf-8")
    with (
        Engine(settings=settings, plugins=installed_plugins()) as engine,
        served(engine) as url,
        tab(browser, viewport=PHONE) as page,
    ):
        visit(page, f"{url}/training")
        assert page.locator("#train-start").is_disabled()
        page.set_input_files("#train-file input[type=file]", str(bad))
        page.wait_for_selector("#train-found [role=alert] >> text=This data cannot be used for training:")
        told = page.locator("#train-found").inner_text()
        assert "bad.csv:3" in told
        assert "bad.csv:4" in told
        assert str(tmp_path) not in told
        assert page.locator("#train-start").is_disabled()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

        page.get_by_label("Clear").first.click()
        page.set_input_files("#train-file input[type=file]", str(write_reviews(tmp_path / "reviews.csv")))
        take_mood_as_label(page)
        page.wait_for_selector("#train-start:enabled")
        page.fill("#train-name input, #train-name textarea", "Bad Name")
        page.click("#train-start")
        page.wait_for_selector("#train-said >> text=Adapter name: expected lower-case letters")
        page.fill("#train-name input, #train-name textarea", "fine")
        for setting, label, value, fault in OUT_OF_RANGE:
            field = page.locator(f"#recipe-{setting} input")
            before = field.input_value()
            field.fill(value)
            page.click("#train-start")
            page.wait_for_selector(f"#train-said [role=alert] >> text=/^{label}: {fault}\\.$/")
            field.fill(before)

        page.get_by_role("tab", name="Trainings").click()
        page.wait_for_selector("#run-head >> text=No trainings yet")
        page.get_by_role("tab", name="Adapters").click()
        page.wait_for_selector("#library-list >> text=No adapters yet")
        page.get_by_text("Upload an adapter").click()
        page.click("#library-take")
        page.wait_for_selector("#library-said >> text=Choose a .zip file first.")
