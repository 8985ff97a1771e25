"""Hostile texts in every place of the web app that shows text: no script runs, no request leaves for another server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nlptasks import Plugins, hookimpl
from nlptasks.testing import FakeModel
from nlptasks_ui.training.library import card
from nlptasks_ui.views import cleaning
from tests.sample_tasks import Title, TitleResult
from tests.ui_browser import (  # noqa: F401 - fixtures
    FakeEngine,
    SlowModel,
    browser,
    built_in_makers,
    installed_plugins,
    own_settings,
    served,
    tab,
    visit,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OVERLAY = "position:fixed;inset:0;z-index:9999;width:100vw;height:100vh"
SCRIPT = "window.ran=1;fetch('LISTENER/stolen')"
TEXTS = (
    "![i](LISTENER/markdown)",
    "<img src=LISTENER/image>",
    f'<img src=x onerror="{SCRIPT}">',
    f"<script>{SCRIPT}</script>",
    f'<svg style="{OVERLAY}"><a href="javascript:{SCRIPT}"><rect width="100%" height="99%"/></a></svg>',
    f'<svg style="{OVERLAY}"><a xlink:href="javascript:{SCRIPT}"><rect width="100%" height="100%"/></a></svg>',
    f'<svg style="{OVERLAY}"><a><animate attributeName="href" values="javascript:{SCRIPT}"/><rect/></a></svg>',
    f'<svg><a><set attributeName="href" to="javascript:{SCRIPT}"/><text y="20">click</text></a></svg>',
    '<svg><image href="LISTENER/svg" width="9" height="9"/><use href="LISTENER/use#a"/></svg>',
    f'<svg onload="{SCRIPT}"></svg>',
    f'<svg><foreignObject><iframe srcdoc="<script>{SCRIPT}</script>"></iframe></foreignObject></svg>',
    f'<math><mtext><table><mglyph><style><img src=x onerror="{SCRIPT}"></style></mglyph></table></mtext></math>',
    "<style>@import url(LISTENER/import); body { background: url(LISTENER/style) }</style>",
    '<div style="position:fixed;inset:0;background:url(LISTENER/background)">cover</div>',
    "<meta http-equiv=refresh content='0;url=LISTENER/refresh'>",
    "<base href='LISTENER/base/'>",
    "<link rel=stylesheet href=LISTENER/sheet><link rel=prefetch href=LISTENER/prefetch>",
    f'<details open ontoggle="{SCRIPT}"><summary>s</summary>d</details>',
    "<video autoplay src=LISTENER/video poster=LISTENER/poster></video><audio autoplay src=LISTENER/audio></audio>",
    "<iframe src=LISTENER/frame></iframe><object data=LISTENER/object></object><embed src=LISTENER/embed>",
    "<form action=LISTENER/form id=h><input name=q value=1></form><button form=h formaction=LISTENER/b>go</button>",
    f"[click](javascript:{SCRIPT})",
    f'<a href="javascript:{SCRIPT}" style="{OVERLAY}">click</a>',
    f'```mermaid\ngraph TD; A-->B; click A "javascript:{SCRIPT}"\n```',
    f"```html\n<script>{SCRIPT}</script>\n```",
    f"${{{SCRIPT}}} {{{{constructor.constructor('{SCRIPT}')()}}}}",
    "$$\\includegraphics{LISTENER/katex}\\href{javascript:window.ran=1}{x}$$",
    "<picture><source srcset=LISTENER/srcset><img src=LISTENER/picture></picture>",
    f'<input autofocus onfocus="{SCRIPT}"><body onload="{SCRIPT}">',
    "[ref]: LISTENER/ref\n\n![ref]",
)

HITS: list[str] = []


class Listener(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        HITS.append(self.path)
        self.send_response(204)
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def hostile() -> Iterator[str]:
    """All texts in one, with the address of a server that counts what arrives."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield "\n\n".join(TEXTS).replace("LISTENER", f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()


class HostileViews:
    """A view that lets through what it gets."""

    @hookimpl
    def register_tasks(self, register: Any) -> None:
        register(Title())

    @hookimpl
    def register_views(self, register: Any) -> None:
        register(TitleResult, lambda result, inputs: f'<svg viewBox="0 0 9 9"><circle r="3"/></svg>{inputs.text}')


@pytest.fixture(scope="module")
def engine(hostile: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    def writer(**more: Any) -> SlowModel:
        return SlowModel(
            pause=0, kind="causal", completions=lambda _: hostile, name="fake-writer", max_tokens=16384, **more
        )

    def tagger(**more: Any) -> FakeModel:
        labels = ("O", "B-<img src=x onerror=window.ran=1>")
        return FakeModel(labels=labels, tags=lambda text: [labels[1]] * len(text.split()), name="fake-tagger", **more)

    def titler(**more: Any) -> FakeModel:
        return FakeModel(kind="causal", completions=lambda _: "TITLE: x", name="fake-writer", max_tokens=16384, **more)

    plugins: Plugins = installed_plugins()
    plugins.register(HostileViews(), "hostile")
    makers = built_in_makers() | {"generation": writer, "ner": tagger, Title.name: titler}
    with FakeEngine(own_settings(tmp_path_factory.mktemp("app")), makers, plugins) as made:
        yield made


@pytest.fixture(scope="module")
def url(engine: FakeEngine) -> Iterator[str]:
    with served(engine) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with tab(browser) as opened:
        yield opened


def assert_harmless(page: Page) -> None:
    """Click where an overlay would be and on all links; nothing must have run or left."""
    page.wait_for_timeout(500)
    assert page.evaluate("document.querySelector('svg a, form[action^=http], iframe, [style*=fixed] svg')") is None
    assert page.evaluate(
        "[...document.images].every((one) => !one.src.includes('127.0.0.1:') || one.src.startsWith(origin))"
    )
    page.mouse.click(640, 450)
    page.wait_for_timeout(200)
    assert page.evaluate("window.ran") is None
    assert HITS == []


@pytest.mark.parametrize("task", ["sentiment", "ner", "generation", Title.name])
def test_a_result_shows_hostile_text_as_text(page: Page, url: str, hostile: str, task: str) -> None:
    visit(page, f"{url}/{task}")
    page.locator("textarea").first.fill(hostile)
    page.click(f"#run-{task}")
    page.locator(f"#view-{task} .nlp-result:not(:has(.nlp-caret))").wait_for(timeout=60_000)
    assert_harmless(page)
    if task == Title.name:
        assert page.locator(f"#view-{task} svg circle").count() == 1


def test_the_chat_shows_messages_as_text_and_answers_without_html(page: Page, url: str, hostile: str) -> None:
    visit(page, f"{url}/chat")
    for number, message in enumerate(
        (hostile, f"/chat {hostile}", '/ner --labels "<img src=x onerror=window.ran=1>" a'), 1
    ):
        page.wait_for_selector("#chat-words textarea:enabled")
        page.fill("#chat-words textarea", message)
        page.keyboard.press("Enter")
        page.wait_for_function(f"document.querySelectorAll('#chat-turns .bot').length === {number}", timeout=60_000)
        page.wait_for_function("document.querySelector('#chat-stop').disabled", timeout=60_000)
        page.wait_for_function("!document.querySelector('#chat-turns .nlp-status')", timeout=60_000)
    assert "![i](http://127.0.0.1:" in page.locator("#chat-turns .user").first.inner_text()
    assert "<script>window.ran" in page.locator("#chat-turns .bot").nth(1).inner_text()
    page.click("#chat-turns .user button[aria-label='Edit'] >> nth=0")
    page.wait_for_function("document.querySelector('#chat-turns textarea').value.includes('<script>window.ran')")
    page.click("#chat-turns button[aria-label='Cancel']")
    assert_harmless(page)
    page.reload()
    page.wait_for_selector("#chat-turns .bot", timeout=60_000)
    assert_harmless(page)


def test_the_policy_stands_behind_every_page(browser: Browser, url: str, hostile: str) -> None:
    page = browser.new_page()  # whose complaints are wanted here
    visit(page, url)
    policy = page.request.get(url).headers["content-security-policy"].split("; ")
    rules = {"object-src 'none'", "base-uri 'none'", "form-action 'self'", "connect-src 'self'"}
    assert {*rules, "img-src 'self' data: blob:"} <= {*policy}
    assert not any("unsafe-inline" in rule for rule in policy if rule.startswith("script-src"))
    page.evaluate(
        "(html) => { document.body.insertAdjacentHTML('beforeend', html); }", hostile.replace("http-equiv", "x")
    )
    page.evaluate(
        "() => { const one = document.createElement('script'); one.text = 'ran = 1'; document.body.append(one); }"
    )
    page.wait_for_timeout(500)
    page.keyboard.press("Tab")
    page.mouse.click(640, 450)
    page.wait_for_timeout(300)
    assert page.evaluate("window.ran") is None
    assert HITS == []
    assert "script-src" in page.request.get(f"{url}/config").headers["content-security-policy"]
    page.close()


def test_a_card_keeps_its_text_and_loses_what_acts(hostile: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(
        f"---\nlicense: mit\n---\n# Title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n{hostile}"
    )
    shown = card(tmp_path)
    assert "<h1>Title</h1>" in shown
    assert "<td>1</td>" in shown
    assert "license" not in shown
    lower = shown.lower().replace("&lt;", "").replace("&quot;", "")
    for part in (
        "<script",
        "<svg",
        "<style",
        "<form",
        "<iframe",
        "<base",
        "<link",
        "<meta",
        "<video",
        'src="http',
        "style=",
    ):
        assert part not in lower, part
    assert 'href="javascript' not in lower
    assert ' onerror="' not in shown.partition("<pre>")[0]


@pytest.mark.long
def test_a_view_keeps_its_look() -> None:
    mark = '<mark class="nlp-span" style="--hue:210" data-pair="a">x</mark>'
    seen = f'<svg viewBox="0 0 9 9"><path d="M0 0"></path></svg>{mark}'
    assert cleaning.view(seen) == seen
    assert cleaning.view('<b onclick="x()" style="position:fixed;color:red">x</b><img src="http://a/b">') == (
        '<b style="color:red">x</b><img>'
    )
    assert cleaning.view('<svg><a href="https://a/"><rect fill="url(http://a)"></rect></a></svg>') == (
        "<svg><rect></rect></svg>"
    )
    assert 'href="https://a/"' in cleaning.view('<a href="https://a/">x</a>')
