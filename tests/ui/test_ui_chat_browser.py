"""The chat page in a real headless Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.ui.test_ui_chat import makers
from tests.ui_browser import (  # noqa: F401 - fixtures
    PHONE,
    FakeEngine,
    SlowModel,
    browser,
    installed_plugins,
    own_settings,
    served,
    tab,
    until,
    url,
    visit,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

LONG = "Once there was a **lamp** that would not go out. " + "It shone and shone. " * 200
ANSWERS = "#chat-turns .bot"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    def writer(**more: Any) -> SlowModel:
        # Minutes of writing for one question, so that a slow machine can stop it in time; no pause for the others.
        said = lambda prompt: LONG if prompt.rstrip().endswith("lamp.") else "A short answer."  # noqa: E731
        return SlowModel(pause=0.1, kind="causal", completions=said, name="fake-writer", max_tokens=4096, **more)

    folder = tmp_path_factory.mktemp("chat")
    with FakeEngine(
        replace(own_settings(folder), profile="embedded"), makers() | {"generation": writer}, installed_plugins()
    ) as made:
        yield made


@pytest.fixture(scope="module")
def page(browser: Browser, url: str) -> Iterator[Page]:
    """One tab for all tests: each begins a conversation of its own in it."""
    with tab(browser, accept_downloads=True) as opened:
        visit(opened, f"{url}/chat")
        opened.wait_for_selector("#chat-words textarea:enabled")
        yield opened


def fresh(page: Page) -> None:
    with page.expect_response("**/run/predict"):
        page.click("#chat-new")
    page.wait_for_function("!document.querySelector('#chat-turns .bot, #chat-list input:checked')")


def say(page: Page, words: str) -> Locator:
    """Say something and wait until it is answered and kept; the last answer."""
    before = page.locator(ANSWERS).count()
    send(page, words)
    page.wait_for_function(f"document.querySelectorAll('{ANSWERS}').length > {before}")
    rest(page)
    page.wait_for_function(
        """(words) => Object.values(localStorage).some((kept) =>
            kept.includes(words) && JSON.parse(kept).turns.every((turn) => turn.finished))""",
        arg=json.dumps(words, ensure_ascii=False)[1:-1],
    )
    return page.locator(ANSWERS).last


def browser_keeps(page: Page, words: str, wanted: bool = True) -> None:
    """Wait until the browser's storage has these words, or not: a script writes it after the page has changed."""
    page.wait_for_function(
        "([words, wanted]) => Object.values(localStorage).some((kept) => kept.includes(words)) === wanted",
        arg=[json.dumps(words, ensure_ascii=False)[1:-1], wanted],
    )


def send(page: Page, words: str) -> None:
    box = page.locator("#chat-words textarea")
    box.fill(words)
    box.press("Enter")


def rest(page: Page) -> None:
    """Wait until nothing is being answered."""
    page.wait_for_function("document.querySelector('#chat-stop').disabled")
    page.wait_for_function("!document.querySelector('#chat-turns .nlp-status')")


def test_a_chat_streams_and_stop_ends_the_computation(page: Page, engine: FakeEngine) -> None:
    fresh(page)
    send(page, "Tell me about a lamp.")
    page.wait_for_selector(f"{ANSWERS} strong")
    [model] = [made for made in engine.models if isinstance(made, SlowModel) and made.steps]
    shown = len(page.locator(ANSWERS).last.inner_text())
    until(lambda: len(page.locator(ANSWERS).last.inner_text()) > shown)
    # What is asserted is the model: from the click's arrival at most one more step.
    page.click("#chat-stop")
    until(lambda: model.token.cancelled)
    written = model.steps
    page.wait_for_selector("#chat-turns >> text=Stopped.")
    page.wait_for_timeout(500)
    assert model.steps <= written + 1
    assert model.steps < len(LONG.split())
    assert page.locator(ANSWERS).first.inner_text().startswith("Once there was a lamp")


def test_an_answer_goes_on_while_another_conversation_is_open(page: Page, engine: FakeEngine) -> None:
    fresh(page)
    before = len(engine.models)
    send(page, "Tell me of a lamp.")
    page.wait_for_selector(f"{ANSWERS} strong")
    fresh(page)
    [model] = [made for made in engine.models[before:] if isinstance(made, SlowModel) and made.steps]
    page.wait_for_timeout(500)
    assert page.locator(ANSWERS).count() == 0
    assert page.locator("#chat-fault").inner_text() == ""
    assert "A short answer." in say(page, "Good evening").inner_text()
    written = model.steps
    until(lambda: model.steps > written)
    page.click("#chat-list label:has-text('Tell me of a lamp') input")
    page.wait_for_selector(f"{ANSWERS} strong")
    page.reload()
    page.click("#chat-list label:has-text('Tell me of a lamp') input")
    page.wait_for_selector(f"{ANSWERS} strong")
    assert page.locator("#chat-turns .user").inner_text().strip() == "Tell me of a lamp."
    page.click("#chat-stop")
    until(lambda: model.token.cancelled)
    page.wait_for_selector("#chat-turns >> text=Stopped.")
    rest(page)
    browser_keeps(page, "Stopped.")
    assert page.locator(ANSWERS).first.inner_text().startswith("Once there was a lamp")


def test_commands_plain_words_and_one_click(page: Page) -> None:
    fresh(page)
    assert "95.3 %" in say(page, "/sentiment I love this lamp.").inner_text()
    routed = say(page, "what is the mood of: Ada saw Oslo").inner_text()
    assert "Chosen task: sentiment (similarity 1.00)." in routed
    assert "negative" in routed
    page.click("#chat-turns button:has-text('Run ner')")
    page.wait_for_selector("#chat-turns mark:has-text('Ada')")
    rest(page)
    assert page.locator(ANSWERS).count() == 2
    assert "Did you mean '/sentiment'?" in say(page, "/sentimant Good.").inner_text()
    assert "/translate fr: text" in say(page, "/help").inner_text()


def test_an_attached_document_is_asked(page: Page) -> None:
    fresh(page)
    data = b"The phone weighs 180 grams. Its battery lasts two days, and a full charge takes 40 minutes."
    file: Any = {"name": "phone.txt", "mimeType": "text/plain", "buffer": data}
    page.set_input_files("#chat-words input[type=file]", files=[file])
    page.wait_for_selector("#chat-words button[aria-label='Remove file']", state="attached")
    assert "two days" in say(page, "/qa How long does it last?").inner_text()
    assert "two days" in page.locator("#chat-turns mark").inner_text()
    assert "phone.txt" in page.locator("#chat-turns .user").first.inner_text()


def test_undo_retry_and_edit(page: Page, engine: FakeEngine) -> None:
    fresh(page)
    say(page, "/sentiment I love it.")
    say(page, "Good morning")
    page.click("#chat-turns button[aria-label='Retry']")
    until(lambda: engine.models[-1].decodings and engine.models[-1].decodings[-1].do_sample)
    rest(page)
    assert page.locator("#chat-turns .nlp-earlier summary").inner_text() == "1 earlier answer"
    page.click("#chat-turns button[aria-label='Undo']")
    page.wait_for_function(f"document.querySelectorAll('{ANSWERS}').length === 1")
    page.wait_for_function("document.querySelector('#chat-words textarea')?.value === 'Good morning'")
    page.click("#chat-turns button[aria-label='Edit']")
    page.locator("#chat-turns textarea").fill("/sentiment I hate it.")
    page.click("#chat-turns button[aria-label='Submit']")
    page.wait_for_selector("#chat-turns .nlp-headline:has-text('negative')")
    rest(page)
    assert page.locator("#chat-turns .user").first.inner_text().strip() == "/sentiment I hate it."
    # What was edited is still there.
    page.click("#chat-list label:has-text('I love it.')")
    page.wait_for_selector("#chat-turns .nlp-headline:has-text('positive')")


def test_conversations_survive_a_reload_and_are_saved_as_files(page: Page) -> None:
    fresh(page)
    say(page, "/sentiment I love tea.")
    page.click("#chat-list label:has-text('I love tea') input")
    fresh(page)
    say(page, "Good morning")
    page.reload()
    page.wait_for_selector(f"{ANSWERS} >> text=A short answer.")
    page.click("#chat-list label:has-text('I love tea')")
    page.wait_for_selector("#chat-turns .nlp-headline:has-text('positive')")
    with page.expect_download() as download:
        page.click("#chat-json")
    read = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert [message["role"] for message in read["messages"]] == ["user", "assistant"]
    with page.expect_download() as download:
        page.click("#chat-markdown")
    assert download.value.suggested_filename == "conversation.md"
    assert "/sentiment I love tea." in Path(download.value.path()).read_text(encoding="utf-8")
    page.click("#chat-delete")
    page.click("#chat-keep")
    page.click("#chat-delete")
    page.click("#chat-really")
    page.wait_for_function("document.querySelector('#chat-list')?.innerText.includes('tea') === false")


@pytest.mark.full
def test_two_tabs_keep_what_each_of_them_says(browser: Browser, url: str) -> None:
    with tab(browser) as page:
        visit(page, f"{url}/chat")
        page.wait_for_selector("#chat-words textarea:enabled")
        other = page.context.new_page()
        visit(other, f"{url}/chat")
        other.wait_for_selector("#chat-words textarea:enabled")
        say(page, "/sentiment I love tea.")
        say(other, "/sentiment I love rain.")
        say(page, "/sentiment I love tea again.")
        titles = "#chat-list label"
        fresh(other)
        until(lambda: len(other.locator(titles).all_inner_texts()) == 2)
        assert {title.strip() for title in page.locator(titles).all_inner_texts()} == {
            "/sentiment I love tea.",
            "/sentiment I love rain.",
        }
        # Both go on with one conversation: there are two of it then, and the page says so.
        other.click(f"{titles}:has-text('tea')")
        other.wait_for_selector("#chat-turns .user >> text=I love tea again.")
        say(page, "/sentiment I love cups.")
        say(other, "/sentiment I love pots.")
        other.wait_for_selector(
            "#chat-fault >> text=This conversation was continued in another tab: both versions are kept."
        )
        until(lambda: len(other.locator(titles).all_inner_texts()) == 3)
        other.close()
        page.reload()
        page.wait_for_selector("#chat-turns .user >> text=I love pots.")
        assert page.locator(titles).all_inner_texts()[0].strip() == "/sentiment I love tea."
        page.locator(titles).nth(1).click()
        page.wait_for_selector("#chat-turns .user >> text=I love cups.")
        assert page.locator("#chat-turns .user").count() == 3
        page.click("#chat-delete")
        page.click("#chat-really")
        until(lambda: page.locator(titles).count() == 2)
        browser_keeps(page, "I love cups.", wanted=False)
        page.reload()
        page.wait_for_selector("#chat-turns .user >> text=I love pots.")
        assert page.locator(titles).count() == 2


def test_a_browser_without_room_says_so(browser: Browser, url: str) -> None:
    with tab(browser) as page:
        visit(page, f"{url}/chat")
        page.wait_for_selector("#chat-words textarea:enabled")
        page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full'); } }")
        send(page, "/sentiment I love tea.")
        page.wait_for_selector(
            "#chat-fault [role=alert] >> text=The browser's storage is full, so this conversation is not saved"
        )


def test_a_closed_tab_keeps_the_question_and_the_answer(browser: Browser, url: str, engine: FakeEngine) -> None:
    with tab(browser, viewport=PHONE) as page:
        visit(page, f"{url}/chat")
        page.wait_for_selector("#chat-words textarea")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        send(page, "Tell me about a lamp.")
        page.wait_for_selector(f"{ANSWERS} >> text=lamp")
        model = engine.models[-1]
        context = page.context
        page.close()
        again = context.new_page()
        written = model.steps
        until(lambda: model.steps > written + 2)
        visit(again, f"{url}/chat")
        again.wait_for_selector(f"{ANSWERS} >> text=lamp")
        again.click("#chat-stop")
        until(lambda: model.token.cancelled, 30)
