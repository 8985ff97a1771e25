"""The task pages in a real browser, over fake models: what a user fills, sees, stops and reads back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from nlptasks import Plugins, TextInput, hookimpl
from nlptasks.task import Task, TaskOptions
from nlptasks.testing import FakeModel
from tests.sample_tasks import TitleResult
from tests.ui_browser import (  # noqa: F401 - fixtures
    PHONE,
    FakeEngine,
    SlowModel,
    browser,
    engine,
    own_settings,
    served,
    tab,
    until,
    url,
    visit,
)

LONG = "Nothing happens here. " * 60 + "It lasts two days at most. " + "Nothing happens here. " * 60


@pytest.fixture(scope="module")
def page(browser: Any, url: str) -> Iterator[Any]:
    """One tab for all tests that need nothing special; a page is loaded for each."""
    with tab(browser) as opened:
        yield opened


def fill(page: Any, **fields: str) -> None:
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " ").capitalize(), exact=False).first.fill(value)


def run(page: Any, task: str) -> Any:
    """Press Run and wait for the result."""
    page.click(f"#run-{task}")
    view = page.locator(f"#view-{task}")
    view.locator(".nlp-result:not(:has(.nlp-caret))").wait_for()
    return view


def test_sentiment_shows_bars_facts_and_the_other_ways_in(page: Any, url: str) -> None:
    visit(page, f"{url}/sentiment")
    page.get_by_role("button", name="Options").click()  # what is only looked at must stay unset
    page.get_by_label("Threshold").wait_for()
    fill(page, text="I love it.")
    view = run(page, "sentiment")
    assert view.locator(".nlp-headline").inner_text() == "positive"
    assert view.get_by_role("meter", name="positive").get_attribute("aria-valuenow") == "0.953"
    assert "adapter fake" in page.locator("#facts-sentiment").inner_text()
    assert '"label": "positive"' in page.locator("#json-sentiment").inner_text()
    page.get_by_role("tab", name="As Python").click()
    page.wait_for_selector("#as-python-sentiment .cm-line")
    assert "result = nlptasks.run('sentiment', 'I love it.')" in page.locator("#as-python-sentiment").inner_text()
    page.get_by_role("tab", name="As curl").click()
    page.wait_for_selector("#as-curl-sentiment .cm-line")
    assert f"{url}/gradio_api/call/v2/sentiment" in page.locator("#as-curl-sentiment").inner_text()
    page.get_by_role("tab", name="As CLI").click()
    page.wait_for_selector("#as-cli-sentiment .cm-line")
    assert "nlptasks run sentiment 'I love it.' --json" in page.locator("#as-cli-sentiment").inner_text()


def test_ner_marks_the_text(page: Any, url: str) -> None:
    visit(page, f"{url}/ner")
    page.get_by_role("button", name="Ada Lovelace wrote").click()
    until(lambda: page.get_by_label("Text").first.input_value().startswith("Ada Lovelace wrote"))
    fill(page, text="Ada Lovelace saw Oslo again")
    view = run(page, "ner")
    assert view.locator("mark").all_inner_texts() == ["Ada LovelacePER", "OsloLOC"]
    assert view.get_by_role("list", name="Entity types").inner_text().split("\n") == ["PER 1", "LOC 1"]


def test_qa_brings_the_answer_into_sight(page: Any, url: str) -> None:
    visit(page, f"{url}/qa")
    fill(page, question="How long?", context=LONG)
    view = run(page, "qa")
    assert view.locator(".nlp-headline").inner_text().startswith("two days")
    until(lambda: view.locator(".nlp-scroll").evaluate("part => part.scrollTop") > 200)
    assert view.locator("mark").evaluate(
        "mark => { const m = mark.getBoundingClientRect(), p = mark.closest('.nlp-scroll').getBoundingClientRect();"
        " return m.top >= p.top && m.bottom <= p.bottom }"
    )


def test_summarization_stands_beside_its_source(page: Any, url: str) -> None:
    visit(page, f"{url}/summarization")
    fill(page, text="A lamp shone. It was red. It never went out, whatever they tried.")
    view = run(page, "summarization")
    panes = view.locator(".nlp-pane")
    assert "The lamp never went out." in panes.nth(0).inner_text()
    assert "It was red." in panes.nth(1).inner_text()


def test_a_long_summary_shows_the_parts_that_were_read(
    page: Any, url: str, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(**more: Any) -> SlowModel:
        return SlowModel(pause=0.5, kind="causal", completions=lambda _: "The lamp never went out.", **more)

    monkeypatch.setitem(engine.makers, "summarization", slow)
    visit(page, f"{url}/summarization")
    fill(page, text="The keeper lit the lamp and wrote down the hour in a book. " * 300)
    page.click("#run-summarization")
    view = page.locator("#view-summarization")
    view.get_by_text(re.compile(r"[1-9]\d* of \d+ parts processed")).wait_for()


def also_full(*values: str) -> list[Any]:
    """Parameters of which the first two are in the suite, and the others in `make full` only."""
    return [*values[:2], *(pytest.param(value, marks=pytest.mark.full) for value in values[2:])]


@pytest.mark.parametrize(
    "path",
    [
        *also_full("", "/batch", "/sentiment", "/status"),
        *also_full("/sentiment?view=api", "/status?view=api", "/?view=api", "/batch?view=api"),
    ],
)
def test_use_via_api_lists_all_tasks_on_every_page(page: Any, url: str, path: str) -> None:
    visit(page, f"{url}{path}")
    if "?" not in path:
        page.get_by_role("button", name="Use via API").click()
    docs = page.locator(".api-docs")
    for task in ("sentiment", "ner", "qa", "summarization", "translation", "generation"):
        docs.get_by_text(f"/{task}", exact=True).first.wait_for(timeout=10_000)
    assert page.url.endswith("?view=api")
    page.keyboard.press("Escape")


def test_translation_lights_up_sentences_that_belong_together(page: Any, url: str) -> None:
    visit(page, f"{url}/translation")
    fill(page, text="Good morning. See you soon.", source_language="en", target_language="fr")
    page.keyboard.press("Tab")
    view = run(page, "translation")
    left, right = view.locator(".nlp-pane").all()
    left.locator("span[data-pair]").nth(1).hover()
    until(lambda: right.locator(".nlp-lit").count())
    assert right.locator(".nlp-lit").inner_text() == "À bientôt."


def test_generation_streams_and_stop_ends_the_computation(page: Any, url: str, engine: FakeEngine) -> None:
    visit(page, f"{url}/generation")
    fill(page, prompt="A story:")
    before = len(engine.models)
    page.click("#run-generation")
    page.locator("#view-generation .nlp-caret").wait_for()
    until(lambda: "Once there was" in page.locator("#view-generation").inner_text())
    page.evaluate("void (document.querySelector('#leave-generation').onclick = () => { window.left = true; })")
    page.click("#stop-generation")
    page.locator("#view-generation").get_by_text("Stopped.").wait_for()
    [model] = engine.models[before:]
    until(lambda: model.token.cancelled)
    done = model.steps
    page.wait_for_timeout(300)
    assert model.steps <= done + 1
    assert model.steps < 150
    [first, *_, last] = page.locator("#view-generation").inner_text().splitlines()
    assert (first.startswith("Once there was"), last) == (True, "Stopped.")
    # To take what ran out of the queue as well could overtake its last words.
    assert not page.evaluate("window.left")


def test_a_closed_tab_ends_the_computation(browser: Any, url: str, engine: FakeEngine) -> None:
    before = len(engine.models)
    with tab(browser) as page:
        visit(page, f"{url}/generation")
        fill(page, prompt="A story:")
        page.click("#run-generation")
        page.locator("#view-generation .nlp-caret").wait_for()
    [model] = engine.models[before:]
    until(lambda: model.token.cancelled, 5)
    assert model.steps < 150


@pytest.mark.parametrize("task", also_full("ner", "translation", "qa", "summarization", "generation"))
def test_options_that_are_only_looked_at_stay_unset(page: Any, url: str, task: str) -> None:
    visit(page, f"{url}/{task}")
    page.get_by_role("button", name="Options").click()
    page.get_by_role("combobox", name="Adapter").wait_for()
    page.locator(".nlp-examples button").last.click()
    until(lambda: page.locator("textarea").first.input_value())
    page.click(f"#run-{task}")
    page.get_by_role("tab", name="As Python").click()
    code = page.locator(f"#as-python-{task}")
    until(lambda: "nlptasks.run(" in code.inner_text())
    assert not re.search(
        r"(threshold|temperature|top_|seed|penalty|tokens|beams|stride|labels|length)=", code.inner_text()
    )
    page.click(f"#stop-{task}")


def test_an_error_is_a_sentence_on_the_page(page: Any, url: str) -> None:
    visit(page, f"{url}/sentiment")
    page.click("#run-sentiment")
    alert = page.locator("#view-sentiment").get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == "Input 'text': expected a text, found none."


def test_the_start_page_leads_everywhere_by_keyboard(page: Any, url: str) -> None:
    visit(page, url)
    for name in ("Sentiment", "NER", "QA", "Summarization", "Translation", "Generation"):
        assert page.locator(".nlp-card", has_text=name).count() >= 1
    page.locator(".nlp-menu a", has_text="Sentiment").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/sentiment")
    page.locator("#run-sentiment").wait_for()
    assert page.locator(".nlp-menu [aria-current]").inner_text() == "Sentiment"


def test_a_phone_shows_a_page_without_scrolling_sideways(browser: Any, url: str) -> None:
    with tab(browser, viewport=PHONE) as page:
        for path in ("", "qa", "generation"):
            visit(page, f"{url}/{path}")
            page.wait_for_timeout(200)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        fill(page, prompt="A story:")
        form, answer = page.locator(".nlp-form").bounding_box(), page.locator(".nlp-answer").bounding_box()
        assert answer["y"] >= form["y"] + form["height"]


class Letter(TextInput):
    """What a letter is made of."""

    tone: Literal["warm", "cool"] = Field(default="warm", description="How it sounds.")
    copies: int = Field(default=1, ge=1, le=5, description="How many.")


class LetterOptions(TaskOptions):
    shout: bool = Field(default=False, description="Capital letters.")


class Letters(Task[Letter, LetterOptions, TitleResult]):
    """Write a letter."""

    name = "config"  # also a route of the server
    input_type = Letter
    options_type = LetterOptions
    result_type = TitleResult
    examples = ({"text": "To Ada", "tone": "cool", "copies": 2},)

    def run(self, inputs: Any, options: LetterOptions, model: Any) -> list[TitleResult]:
        [item] = inputs
        said = f"{item.text}, {item.tone}, {item.copies}"
        return [TitleResult(title=said.upper() if options.shout else said)]


class LetterPlugin:
    @hookimpl
    def register_tasks(self, register: Any) -> None:
        register(Letters())

    @hookimpl
    def register_views(self, register: Any) -> None:
        register(TitleResult, lambda result, inputs: f'<p class="letter">{result.title}!</p>')


def test_a_plugin_has_a_form_and_a_broken_one_a_banner(browser: Any, tmp_path: Path) -> None:
    from importlib.metadata import EntryPoint

    plugins = Plugins(own_settings(tmp_path))
    plugins.register(LetterPlugin(), "letters")
    plugins.load_entry_points([EntryPoint("broken", "nowhere.at.all", "nlptasks")])
    lent = FakeEngine(own_settings(tmp_path), {"config": FakeModel}, plugins)
    with served(lent) as address, tab(browser) as page:
        visit(page, address)
        banner = page.get_by_role("alert")
        assert "1 plugin is disabled" in banner.inner_text()
        assert "names the module 'nowhere.at.all', which does not exist." in banner.inner_text()
        page.locator(".nlp-card", has_text="Write a letter.").click()
        page.locator("#run-config").wait_for()
        page.get_by_role("button", name="To Ada | cool | 2").click()
        until(lambda: page.get_by_label("Text").first.input_value() == "To Ada")
        page.get_by_role("button", name="Options").click()
        page.get_by_label("Shout").check()
        assert run(page, "config").locator(".letter").inner_text() == "TO ADA, COOL, 2!"
