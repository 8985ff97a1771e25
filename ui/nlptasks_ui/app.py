"""The app: its pages, its menu, and the frame around every page. `serving` launches it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.surfaces import Downloads
from nlptasks_ui import api, html
from nlptasks_ui.batch.runs import RUNS_AT_ONCE
from nlptasks_ui.context import Context, Page
from nlptasks_ui.pages import home
from nlptasks_ui.pages import task as task_page
from nlptasks_ui.pages.building import build_part

if TYPE_CHECKING:
    from nlptasks import Engine

TITLE = "nlptasks"

TASKS, TOOLS = "Tasks", "Tools"
"""The groups of pages on the start page."""

_TOOL_PAGES = (
    ("Chat", "chat", "Chat with a language model and run any task in one conversation.", "nlptasks_ui.chat.page"),
    ("Batch", "batch", "Run a task on every row of a file.", "nlptasks_ui.batch.page"),
    ("Training", "training", "Train an adapter on your own labelled data.", "nlptasks_ui.training.page"),
    ("Status", "status", "Models in memory, the queue, plugins and versions.", "nlptasks_ui.status"),
)

QUEUE_SIZE = 64
"""The most requests that may wait; further ones are refused with a message."""

PLACES = 8
"""The most computations at the same time: they share the batches of the resident models."""

CONCURRENCY_LIMIT = PLACES - RUNS_AT_ONCE
"""The most requests of pages that run at the same time; the other places are those of batch runs."""

DELETE_CACHE = (3600, 24 * 3600)
"""Seconds between two clean-ups of uploads and downloads, and the age in seconds at which a file is deleted. A
computation reads its file before it starts, so the age only has to leave users time to press Run or to download."""


def build_app(engine: Engine, *, runs: Path | None = None, loads: Downloads | None = None, logins: bool = False) -> Any:
    """All pages over one engine, as a `gradio.Blocks` that is not launched yet; loads no model.

    `runs` is the folder for trainings and batches, by default in the user's data folder. `loads` is the engine's
    `on_progress`, if it has one: pages then report downloads. With `logins`, the menu has a link to log out.
    """

    context = Context(engine, runs or engine.settings.data / "ui", loads or Downloads(), engine.plugins.views(), logins)
    pages = list_pages(context)
    with api.blocks()(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=DELETE_CACHE) as app:
        for page in pages:
            _select_page(app, page)
            _build_page(context, pages, page)
        _select_page(app, pages[0])
        for task in engine.plugins.tasks.values():
            build_part(f"the endpoint of {task.name}", partial(api.add, context, task))
    app.closing = context.closing
    app.queue(max_size=QUEUE_SIZE, default_concurrency_limit=CONCURRENCY_LIMIT)
    return app


def _select_page(app: Any, page: Page) -> None:
    """Make the components that are added next part of this page.

    `Blocks.route` does the same, but also builds a whole server and the configuration of all pages each time it exits:
    0.7 s of CPU time for nine pages.
    """
    if page.path and page.path not in (path for path, *_ in app.pages):
        app.pages.append((page.path, page.title, False))
    app.current_page = page.path


def list_pages(context: Context) -> list[Page]:
    """The start page, one page per task, and the tool pages that are installed, in menu order."""
    from gradio.routes import INTERNAL_ROUTES

    taken = {*INTERNAL_ROUTES, *(path for _, path, *_ in _TOOL_PAGES)}
    tasks = [
        Page(
            title_of(name),
            f"{name}-task" if name in taken else name,
            partial(task_page.build, task=task),
            TASKS,
            task.summary,
        )
        for name, task in context.engine.plugins.tasks.items()
    ]
    tools = [
        Page(title, path, _lazy(module), TOOLS, summary)
        for title, path, summary, module in _TOOL_PAGES
        if _exists(module)
    ]
    pages = [*tasks, *tools]
    return [Page("Home", "", partial(home.build, pages=pages)), *pages]


def title_of(task: str) -> str:
    """A task's name as a title; names of up to three letters are taken for abbreviations."""
    words = task.replace("-", " ").replace("_", " ")
    return words.upper() if len(words) <= 3 else words.capitalize()


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _lazy(module: str) -> Callable[[Context], None]:
    """The `build` function of a page's module, which is imported when the page is built."""

    def build(context: Context) -> None:
        import_module(module).build(context)

    return build


def _build_page(context: Context, pages: Sequence[Page], page: Page) -> None:
    """The menu, the banner and the heading that every page has, then the page itself."""
    import gradio as gr

    gr.HTML(_menu(pages, page, logout=context.logins), elem_classes="nlp-top")
    broken = _broken(context)
    if broken:
        gr.HTML(broken)
    title = TITLE if page.path == "" else page.title
    lead = html.element("p", html.text(page.summary), class_="nlp-lead") if page.summary else ""
    gr.HTML(html.element("h1", html.text(title)) + lead)
    error = build_part(f"the page {title!r}", partial(page.build, context))
    if error:
        reason = f"{type(error).__name__}: {error}"
        gr.HTML(html.alert(f"This page cannot be shown ({reason}). The other pages work; the log has the traceback."))


def _menu(pages: Sequence[Page], here: Page, *, logout: bool) -> str:
    links = [
        html.element("a", html.text(page.title), href=page.path or "./", aria_current="page" if page is here else None)
        for page in pages
    ]
    if logout:
        links.append(html.element("a", "Log out", href="logout", class_="nlp-logout"))
    return html.element("nav", *links, class_="nlp-menu", aria_label="Pages")


def _broken(context: Context) -> str:
    """A banner that lists disabled plugins and names in dispute, with the reasons; empty when there are none."""
    plugins = context.engine.plugins
    notice = plugins.failure_notice()
    if not notice:
        return ""
    entries = [
        html.element(
            "li",
            html.element("strong", html.text(failure.distribution or failure.name)),
            " ",
            html.text(failure.reason),
        )
        for failure in plugins.failures
    ]
    entries += [
        html.element("li", html.text(conflict.reason)) for conflict in plugins.conflicts if not conflict.preferred
    ]
    return html.box("banner", html.element("p", html.text(notice)), html.element("ul", *entries), role="alert")
