"""A base whose licence must be accepted is fetched from the web app after a tick, and never without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nlptasks.errors import DownloadError, LicenceError
from nlptasks.settings import Settings
from nlptasks.store import download
from nlptasks.store.catalog import CATALOG
from nlptasks.surfaces import sentence
from tests.fake_engine import FakeEngine
from tests.ui_browser import browser, engine, tab, url, visit  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAME = "gemma3-270m"


def test_a_tick_and_a_click_fetch_it(
    browser: Browser, url: str, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Settings] = []

    def find(name: str, settings: Settings, **_: Any) -> Any:
        asked.append(settings)
        if len(asked) == 1:
            raise DownloadError("the index does not answer")
        return download.BaseFolder(name, None, Path(), "test")

    monkeypatch.setattr(download, "find_base", find)
    with tab(browser) as page:
        visit(page, f"{url}/status")
        terms = page.locator(f"#terms-{NAME} a")
        assert terms.get_attribute("href") == CATALOG[NAME].terms
        tick = page.locator(f"#accept-{NAME} input")
        fetch = page.locator(f"#fetch-{NAME}")
        fetch.wait_for()
        assert not tick.is_checked()
        assert fetch.is_disabled()
        tick.check()
        page.wait_for_selector(f"#fetch-{NAME}:not([disabled])")
        fetch.click()
        page.wait_for_selector(f"#fetched-{NAME} [role=alert] >> text=The index does not answer.")
        fetch.click()
        page.wait_for_selector(f"#fetched-{NAME} >> text=It is on this machine")
        fetch.wait_for(state="hidden")
    assert [NAME in settings.accepted_licences for settings in asked] == [True, True]
    assert NAME not in engine.settings.accepted_licences


def test_a_page_that_needs_it_says_where(settings: Settings, tmp_path: Path) -> None:
    online = Settings(cache=tmp_path, data=tmp_path, offline=False)
    with pytest.raises(LicenceError) as caught:
        download.find_base(NAME, online)
    assert sentence(caught.value).endswith(
        f"or set NLPTASKS_ACCEPT_LICENSE={NAME}. In this app that is a tick on the page Status."
    )
