"""Hostile texts in every place of the web app that shows text: no script runs, no request leaves for another server."""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

from nlptasks import Plugins, hookimpl
from nlptasks.store.adapters import MANIFEST, BaseReference, Manifest
from nlptasks.testing import FakeModel
from nlptasks_ui.training.library import card
from nlptasks_ui.training.plan import Plan
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
    until,
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

SHORT = (
    "<img src=x onerror=window.ran=1><script>window.ran=1</script>&lt;b&gt;[a](javascript:window.ran=1)"
    '<a href="javascript:window.ran=1">b</a>'
)
"""Short enough for a cell of a table, which shows 160 characters."""

FILE = "<img src=x onerror=window.ran=1>&lt;b&gt;"
"""What a file's name may hold."""

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
        completions = lambda prompt: SHORT if "unparsable" in prompt else f"TITLE: {SHORT}"  # noqa: E731
        return FakeModel(kind="causal", completions=completions, name="fake-writer", max_tokens=16384, **more)

    plugins: Plugins = installed_plugins()
    plugins.register(HostileViews(), "hostile")
    plugins.load_entry_points([EntryPoint(FILE, f"nowhere.{FILE}", "nlptasks")])
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


def expect_text(page: Page, selector: str, text: str = SHORT) -> None:
    """Wait until one of these elements shows a text as it is, or has it as its value."""

    def texts() -> list[str]:
        read = "(all) => all.map((one) => one.matches('input, textarea') ? one.value : one.textContent)"
        return [str(one) for one in page.locator(selector).evaluate_all(read)]

    end = time.monotonic() + 60
    while not any(text in one for one in texts()):
        assert time.monotonic() < end, f"expected {text!r} in {selector!r}, found {texts()}"
        page.wait_for_timeout(50)


def assert_harmless(page: Page) -> None:
    """Click where an overlay would be and on all links; nothing must have run or left."""
    page.wait_for_timeout(500)
    assert page.locator("img[src=x], [href^='javascript:']").count() == 0
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
        # The turns are drawn once more when the last event of an answer comes; then they are saved.
        page.wait_for_function(
            """(number) => Object.values(localStorage).some((text) => text.includes('"turns"') &&
                JSON.parse(text).turns.filter((turn) => turn.finished).length === number)""",
            arg=number, timeout=60_000,
        )  # fmt: skip
    assert "![i](http://127.0.0.1:" in page.locator("#chat-turns .user").first.inner_text()
    assert "<script>window.ran" in page.locator("#chat-turns .bot").nth(1).inner_text()
    page.click("#chat-turns .user button[aria-label='Edit'] >> nth=0")
    page.wait_for_function("document.querySelector('#chat-turns textarea')?.value.includes('<script>window.ran')")
    page.click("#chat-turns button[aria-label='Cancel']")
    assert_harmless(page)
    page.reload()
    page.wait_for_selector("#chat-turns .bot", timeout=60_000)
    assert_harmless(page)


def write_rows(path: Path, heads: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([heads, *rows])
    return path


def test_a_batch_shows_names_cells_and_results_as_text(page: Page, url: str, tmp_path: Path) -> None:
    heads = [f"{SHORT} one", f"{SHORT} two"]
    row = [f"{SHORT} unparsable", SHORT]
    visit(page, f"{url}/batch")
    page.set_input_files(
        "#batch-file input[type=file]", str(write_rows(tmp_path / f"{FILE}.csv", heads, [row, ["a", "b", "c"]]))
    )
    expect_text(page, "#batch-file", FILE)
    expect_text(page, "#batch-found li", ".csv:3: expected 2 fields, found 3.")
    expect_text(page, "#batch-preview th", heads[0])
    expect_text(page, "#batch-preview td")
    for runs, (task, column) in enumerate((("ner", 0), (Title.name, 1), (Title.name, 0))):
        page.get_by_role("tab", name="New run").click()
        page.get_by_label("Task", exact=True).click()
        page.get_by_role("option", name=f"{task}:").click()
        page.click(f"#batch-{task}-text input")
        expect_text(page, "[role=option]", heads[column])
        page.get_by_role("option", name=heads[column]).click()
        page.click("#batch-run")
        until(lambda count=runs + 1: page.locator("#batch-runs label").count() == count, 120)
        page.get_by_role("tab", name="Runs").click()
        page.wait_for_selector("#batch-progress >> text=/Done: 2 rows/", timeout=120_000)
        expect_text(page, "#batch-results th", heads[column])
        expect_text(page, "#batch-results td", row[column])
        if task == "ner":
            page.wait_for_selector("#batch-chart-0 canvas, #batch-chart-0 svg")
            page.hover("#batch-chart-0 canvas, #batch-chart-0 svg", position={"x": 150, "y": 150})
            page.click("#batch-counts summary")
            expect_text(page, "#batch-counts th", "<img src=x onerror=window.ran=1>")
        elif column == 1:
            cells = page.locator("#batch-results td").all_text_contents()
            assert sum(SHORT in cell for cell in cells) == 3, cells  # the row's two cells and the title of one
    expect_text(page, "#batch-results td", "the model answered '<img src=x onerror=window.ran=1><script>")
    assert_harmless(page)


def hostile_training(data: Path) -> None:
    """A finished training, as a worker would have left it, with hostile text wherever there is some."""
    folder = data / "ui" / "trainings" / "20260102-030405"
    folder.mkdir(parents=True)
    plan = Plan(task="sentiment", name=SHORT, data=f"/data/{FILE}")
    (folder / "plan.json").write_text(plan.as_json(), encoding="utf-8")
    events = (
        {"event": "note", "text": f"{SHORT} note"},
        {"event": "start", "steps": 2, "epochs": 1, "metric": SHORT, "headline": SHORT, "done": 0},
        {"event": "step", "step": 1, "loss": 0.5, "lr": 0.1},
        {"event": "step", "step": 2, "loss": 0.4, "lr": 0.1},
        {
            "event": "evaluation", "step": 2, "epoch": 1, "train_loss": 0.4, "metrics": {SHORT: 0.5, "loss": 1.0},
            "best": True,
        },
        {"event": "warning", "text": f"{SHORT} warning"},
    )  # fmt: skip
    lines = (json.dumps({"time": 1.8e9 + place, **event}) for place, event in enumerate(events))
    (folder / "events.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    report = {
        "metrics": {SHORT: 0.5}, "headline": SHORT, "held_out_rows": 3, "stopped_early": False, "method": "lora",
        "steps": 2, "seconds": 1.0, "path": SHORT,
    }  # fmt: skip
    (folder / "outcome.json").write_text(json.dumps({"state": "finished", "report": report}), encoding="utf-8")
    side = {
        "title": SHORT, "metrics": {SHORT: 0.5}, "table": [], "labels": [SHORT, "b"], "confusion": [[1, 0], [0, 1]],
        "problem": SHORT,
    }  # fmt: skip
    row = dict.fromkeys(("text", "right", "before", "after"), SHORT)
    values = {"before": side, "after": side, "rows": [row], "held_out": 1}
    (folder / "comparison.json").write_text(json.dumps(values), encoding="utf-8")
    failed = folder.with_name("20260102-030406")
    failed.mkdir()
    (failed / "plan.json").write_text(Plan(task="sentiment", name="failed", data=SHORT).as_json(), encoding="utf-8")
    (failed / "outcome.json").write_text(json.dumps({"state": "failed", "text": SHORT}), encoding="utf-8")
    crashed = folder.with_name("20260102-030407")
    crashed.mkdir()
    (crashed / "plan.json").write_text(Plan(task="sentiment", name="crashed", data=SHORT).as_json(), encoding="utf-8")
    (crashed / "log.txt").write_text(SHORT, encoding="utf-8")


def hostile_adapter(folder: Path, card: str) -> None:
    """An adapter whose card, base and metrics are hostile."""
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(f"# Hostile\n\n{card}\n\n`{SHORT}`", encoding="utf-8")
    config = {"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": SHORT}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = {f"base_model.model.a.lora_{one}.weight": torch.zeros(1, 1) for one in "AB"}
    weights["base_model.model.classifier.weight"] = torch.zeros(2, 1)
    save_file(weights, folder / "adapter_model.safetensors")
    base = BaseReference(id=SHORT, fingerprint="0" * 64, model_type="bert")
    manifest = Manifest(
        name=SHORT, task="sentiment", family="text_classification", verb="classify", base=base, metrics={SHORT: 0.5},
        labels=("negative", "positive"), created=SHORT,
    )  # fmt: skip
    (folder / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")


@pytest.mark.full
def test_trainings_and_adapters_show_files_logs_and_cards_as_text(
    page: Page, engine: FakeEngine, url: str, hostile: str, tmp_path: Path
) -> None:
    hostile_training(engine.settings.data)
    hostile_adapter(engine.settings.adapters / "sentiment" / FILE, hostile)
    visit(page, f"{url}/training")
    rows = [[SHORT, SHORT], ["fine", "positive"], ["dull", "negative"]]
    page.set_input_files(
        "#train-file input[type=file]", str(write_rows(tmp_path / f"{FILE}.csv", ["text", "label"], rows))
    )
    expect_text(page, "#train-file", FILE)
    expect_text(page, "#train-found", "<img src=x onerror=window.ran=1>")
    expect_text(page, "#train-preview td")
    page.fill("#train-name input, #train-name textarea", SHORT)
    page.get_by_label("Clear").click()
    page.set_input_files(
        "#train-file input[type=file]", str(write_rows(tmp_path / "fine.csv", [SHORT, "label"], rows[1:] * 9))
    )
    expect_text(page, "#train-preview th")
    page.click("#train-text input")
    page.get_by_role("option", name=SHORT).click()
    page.wait_for_selector("#train-start:enabled")
    page.click("#train-start")
    page.wait_for_selector("#train-said [role=alert]")
    expect_text(page, "#train-said")
    assert_harmless(page)

    page.get_by_role("tab", name="Trainings").click()
    for name, place in (("crashed", "#run-head pre"), ("failed", "#run-head [role=alert]"), (SHORT, "#run-head p")):
        page.click("#run-job input")
        page.get_by_role("option", name=name).click()
        expect_text(page, place)
    for place in ("#run-result th", "#run-result td", "#run-result caption", "#run-result [role=alert]"):
        expect_text(page, place)
    expect_text(page, "#trial-after")
    page.wait_for_selector("#run-metric canvas, #run-metric svg")
    page.hover("#run-metric canvas, #run-metric svg", position={"x": 150, "y": 120})
    page.get_by_text("Log", exact=True).click()
    for text in (f"{SHORT} note", f"Warning: {SHORT} warning", f"validation {SHORT} 0.5"):
        expect_text(page, "#run-log textarea", text)
    assert_harmless(page)

    page.get_by_role("tab", name="Adapters").click()
    expect_text(page, "#library-list th", FILE)
    expect_text(page, "#library-list td")
    expect_text(page, "#library-card code")
    page.fill("#library-name input, #library-name textarea", SHORT)
    page.click("#library-rename")
    expect_text(page, "#library-said", f"Unknown adapter '{FILE}'")
    assert_harmless(page)


def test_the_status_page_shows_a_broken_plugin_as_text(page: Page, url: str) -> None:
    visit(page, f"{url}/status")
    expect_text(page, "#status-plugins [role=alert]", FILE)
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
