"""Who waits sees the place in the queue; who finds it full is told so and may ask again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from gradio_client import Client
from gradio_client.utils import Status

from nlptasks_ui.app import CONCURRENCY_LIMIT, QUEUE_SIZE
from nlptasks_ui.events import REFUSED
from tests.ui_browser import (  # noqa: F401 - fixtures
    FakeEngine,
    browser,
    built_in_makers,
    installed_plugins,
    own_settings,
    served,
    tab,
    until,
    url,
    visit,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    makers = {name: make for name, make in built_in_makers().items() if name != "sentiment"}
    with FakeEngine(own_settings(tmp_path_factory.mktemp("app")), makers, installed_plugins()) as made:
        yield made


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False, analytics_enabled=False)


@pytest.fixture(scope="module")
def page(browser: Browser, url: str) -> Iterator[Page]:
    with tab(browser) as opened:
        yield opened


@pytest.fixture
def busy(client: Client, engine: FakeEngine) -> Iterator[list[Any]]:
    """As many requests as compute at once, all of them held."""
    engine.models.clear()
    engine.gate.clear()
    jobs = [client.submit(f"Text {number}.", api_name="/sentiment") for number in range(CONCURRENCY_LIMIT)]
    until(lambda: len(engine.models) == CONCURRENCY_LIMIT, 30)
    yield jobs
    engine.gate.set()
    assert [job.result(timeout=30)["adapter"] for job in jobs] == [None] * CONCURRENCY_LIMIT


@contextmanager
def full(url: str) -> Iterator[None]:
    """Nobody may wait."""
    from gradio import Blocks

    [app] = [blocks for blocks in Blocks.get_instances() if (blocks.local_url or "").rstrip("/") == url]
    app._queue.max_size = 0
    yield
    app._queue.max_size = QUEUE_SIZE


def open_task(page: Page, url: str) -> None:
    visit(page, f"{url}/sentiment")
    page.get_by_label("Text").first.fill("I love it.")


def open_chat(page: Page, url: str) -> None:
    visit(page, f"{url}/chat")
    page.wait_for_selector("#chat-words textarea:enabled")
    page.click("#chat-new")
    page.wait_for_function("!document.querySelector('#chat-turns .bot, #chat-list input:checked')")


def say(page: Page) -> None:
    page.locator("#chat-words textarea").fill("/sentiment I love it.")
    page.locator("#chat-words textarea").press("Enter")


PAGES = [
    pytest.param(open_task, lambda page: page.click("#run-sentiment"), "#view-sentiment", ".nlp-headline", id="task"),
    pytest.param(open_chat, say, "#chat-fault", "#chat-turns .nlp-headline", id="chat"),
]


@pytest.mark.parametrize(("prepare", "ask", "place", "answer"), PAGES)
def test_who_waits_sees_the_place(
    page: Page, url: str, client: Client, engine: FakeEngine, busy: list[Any], prepare: Any, ask: Any, place: str,
    answer: str,
) -> None:  # fmt: skip
    from playwright.sync_api import expect

    before = client.submit("Another text.", api_name="/sentiment")
    until(lambda: before.status().code is Status.IN_QUEUE)
    prepare(page, url)
    ask(page)
    shown = page.locator(f"{place} .progress-text")
    expect(shown).to_contain_text("queue: 2/2")
    # Gradio hides it over HTML, by a parent without height: the style sheet brings it back.
    expect(shown).to_be_in_viewport(ratio=0.9)
    engine.gate.set()
    page.wait_for_selector(answer)
    expect(shown).to_have_count(0)
    assert before.result(timeout=30)["label"] in ("negative", "positive")


@pytest.mark.parametrize(("prepare", "ask", "place", "answer"), PAGES)
def test_a_full_queue_is_told_and_may_be_asked_again(
    page: Page, url: str, engine: FakeEngine, busy: list[Any], prepare: Any, ask: Any, place: str, answer: str
) -> None:
    prepare(page, url)
    with full(url):
        ask(page)
        page.get_by_role("alert").filter(has_text=REFUSED).wait_for()
    assert len(engine.models) == CONCURRENCY_LIMIT
    engine.gate.set()
    ask(page)
    page.wait_for_selector(answer)


def test_a_task_that_waits_can_be_stopped_and_asked_again(
    page: Page, url: str, engine: FakeEngine, busy: list[Any]
) -> None:
    open_task(page, url)
    page.click("#run-sentiment")
    page.wait_for_selector("#view-sentiment .progress-text >> text=queue: 1/1")
    page.click("#stop-sentiment")
    page.locator("#view-sentiment").get_by_text("Stopped.").wait_for()
    page.wait_for_timeout(300)
    assert page.locator("#view-sentiment").inner_text() == "Stopped."
    assert len(engine.models) == CONCURRENCY_LIMIT
    engine.gate.set()
    page.click("#run-sentiment")
    page.wait_for_selector("#view-sentiment .nlp-headline")


def test_a_question_that_waits_can_be_stopped_and_another_one_asked(
    page: Page, url: str, engine: FakeEngine, busy: list[Any]
) -> None:
    open_chat(page, url)
    say(page)
    page.wait_for_selector("#chat-fault .progress-text >> text=queue: 1/1")
    page.click("#chat-stop")
    page.wait_for_selector("#chat-turns >> text=Stopped.")
    page.locator("#chat-words textarea").fill("/help")
    page.locator("#chat-words textarea").press("Enter")
    page.wait_for_selector("#chat-turns .user >> text=/help")
    engine.gate.set()
    page.wait_for_selector("#chat-turns .bot >> text=/translate fr: text")
    page.wait_for_function("document.querySelector('#chat-stop').disabled")
    assert len(engine.models) == CONCURRENCY_LIMIT


@pytest.mark.full
def test_a_conversation_is_left_while_it_waits_and_another_one_begun(
    page: Page, url: str, engine: FakeEngine, busy: list[Any]
) -> None:
    open_chat(page, url)
    say(page)
    page.wait_for_selector("#chat-fault .progress-text >> text=queue: 1/1")
    page.click("#chat-new")
    page.wait_for_function("!document.querySelector('#chat-turns .user')")
    say(page)
    page.wait_for_selector("#chat-turns .user")
    engine.gate.set()
    page.wait_for_selector("#chat-turns .nlp-headline")
    page.wait_for_timeout(500)
    assert page.locator("#chat-turns .user").count() == 1
    assert page.locator("#chat-fault").inner_text() == ""
    assert len(engine.models) == CONCURRENCY_LIMIT + 1


@pytest.mark.long
def test_programs_see_their_place_and_are_refused_with_a_sentence(url: str, client: Client, busy: list[Any]) -> None:
    with full(url), pytest.raises(Exception, match=r"Queue is full! Please try again\."):
        client.predict("Good.", api_name="/sentiment")
    # Two clients of their own: gradio cancels all calls of an endpoint that a client has under way.
    jobs = [Client(url, verbose=False, analytics_enabled=False).submit("Good.", api_name="/sentiment") for _ in "ab"]
    until(lambda: {job.status().rank for job in jobs} == {0, 1})
    for job in jobs:
        job.cancel()
