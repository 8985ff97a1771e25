"""Input fields of any type: each has a component, and a page that cannot be built leaves the others alone."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from pydantic import Field, SecretStr

from nlptasks import Plugins, TextInput, hookimpl
from nlptasks.task import Task, TaskOptions
from nlptasks.testing import FakeModel
from nlptasks_ui import forms
from tests.sample_tasks import TitleResult
from tests.ui_browser import FakeEngine, browser, own_settings, served, tab, visit

__all__ = ["browser"]


class Tone(Enum):
    WARM = "warm"
    COOL = "cool"


class Letter(TextInput):
    tone: Tone = Field(default=Tone.COOL, description="How it sounds.")
    other: Tone | None = Field(default=None, description="Another tone.")
    tones: tuple[Tone, ...] = Field(default=(Tone.WARM,), description="Tones.")
    day: date = Field(default=date(2026, 5, 1), description="When.")
    price: Decimal = Field(default=Decimal("1.50"), description="How much.")
    delay: timedelta = Field(default=timedelta(hours=1), description="How late.")
    copies: int = Field(default=1, ge=1, le=5, description="How many.")
    key: SecretStr = Field(default=SecretStr("hunter2"), description="A key.")


class Letters(Task[Letter, TaskOptions, TitleResult]):
    """Write a letter."""

    name = "letters"
    input_type = Letter
    options_type = TaskOptions
    result_type = TitleResult
    examples = ({"text": "To Ada", "tone": Tone.WARM, "day": date(2026, 1, 2)},)

    def run(self, inputs: Any, options: TaskOptions, model: Any) -> list[TitleResult]:
        return [
            TitleResult(title=f"{one.tone.name} {one.day:%d.%m.} {one.price} {one.delay} {one.key.get_secret_value()}")
            for one in inputs
        ]


def fail() -> str:
    raise RuntimeError("no default today")


class BrokenInput(TextInput):
    word: str = Field(default_factory=fail, description="A word.")


class Broken(Letters):
    """A task whose form cannot be built."""

    name = "broken"
    input_type = BrokenInput
    examples = ()


class Plugin:
    @hookimpl
    def register_tasks(self, register: Any) -> None:
        register(Letters())
        register(Broken())


@pytest.fixture
def form() -> forms.Form:
    import gradio as gr

    with gr.Blocks():
        return forms.form_of(Letters())


def test_types_beyond_json_have_components_and_come_back(form: forms.Form) -> None:
    components = {entry.name: entry.component for entry in form.entries}
    assert {name: type(one).__name__ for name, one in components.items()} == {
        "text": "Textbox", "tone": "Radio", "other": "Radio", "tones": "Dropdown", "day": "Textbox",
        "price": "Textbox", "delay": "Textbox", "copies": "Number", "key": "Textbox",
    }  # fmt: skip
    assert [one for one, _ in components["tone"].choices] == ["warm", "cool"]
    assert [one for one, _ in components["tones"].choices] == ["warm", "cool"]
    assert (components["tone"].value, components["day"].value, components["price"].value) == (
        "cool", "2026-05-01", "1.50"
    )  # fmt: skip
    assert (components["key"].type, components["key"].value) == ("password", "**********")
    assert form.fields(form.values({})) == {}
    [fields] = [form.fields(form.values(Letters.examples[0]))]
    assert fields == {"text": "To Ada", "tone": "warm", "day": "2026-01-02"}
    [letter] = Letters().validate([fields])
    assert (letter.tone, letter.day, letter.key.get_secret_value()) == (Tone.WARM, date(2026, 1, 2), "hunter2")


@pytest.mark.long
def test_a_page_that_cannot_be_built_leaves_the_others_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import httpx

    plugins = Plugins(own_settings(tmp_path))
    plugins.register(Plugin(), "letters")
    assert plugins.failures == []
    with (
        FakeEngine(own_settings(tmp_path), {"letters": FakeModel}, plugins) as engine,
        served(engine) as address,
    ):
        page = httpx.get(f"{address}/broken").text
        assert "This page cannot be shown (RuntimeError: no default today). The other pages work" in page
        assert "run-letters" in httpx.get(f"{address}/letters").text
        assert "batch-file" in httpx.get(f"{address}/batch").text
        assert "the page 'Broken' cannot be built" in caplog.text
        client = Client(address, verbose=False, analytics_enabled=False)
        answer = client.predict("To Ada", tone="warm", price="2.5", api_name="/letters")
        assert answer["title"] == "WARM 01.05. 2.5 1:00:00 hunter2"
        assert "/broken" not in client.view_api(return_format="dict", print_info=False)["named_endpoints"]


def test_a_refused_value_is_named(browser: Any, tmp_path: Path) -> None:
    plugins = Plugins(own_settings(tmp_path))
    plugins.register(Plugin(), "letters")
    with (
        FakeEngine(own_settings(tmp_path), {"letters": FakeModel}, plugins) as engine,
        served(engine) as address,
        tab(browser) as page,
    ):
        visit(page, f"{address}/letters")
        page.get_by_label("Text", exact=False).first.fill("To Ada")
        for value, problem in (("-5", "greater than or equal to 1"), ("2.5", "valid integer")):
            page.get_by_label("Copies").first.fill(value)
            page.click("#run-letters")
            alert = page.locator("#view-letters").get_by_role("alert").filter(has_text=problem)
            alert.wait_for()
            assert "Input 'copies'" in alert.inner_text()
