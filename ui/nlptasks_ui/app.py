"""The app: its pages, its menu and what stands on every page. `serving` opens it to a browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.surfaces import Downloads
from nlptasks_ui import api, html
from nlptasks_ui.context import Context, Page
from nlptasks_ui.pages import home
from nlptasks_ui.pages import task as task_page

if TYPE_CHECKING:
    from nlptasks import Engine

TITLE = "nlptasks"

TASKS, WORK = "Tasks", "Work"

_ROOMS = (
    ("Chat", "chat", "One conversation over all tasks.", "nlptasks_ui.chat.page"),
    ("Batch", "batch", "A task on every row of a file.", "nlptasks_ui.batch.page"),
    ("Training", "training", "An adapter from labelled rows.", "nlptasks_ui.training.page"),
    ("Status", "status", "Plugins, models in memory, versions.", "nlptasks_ui.status"),
)

QUEUE_SIZE = 64
"""Requests that may wait; the next one is refused with a sentence."""

AT_ONCE = 8
"""Requests that compute at the same time: they share the batches of the resident models."""

CLEANING = (3600, 24 * 3600)
"""Seconds between two cleanings of uploads and files to download, and the age from which they go. What computes has
read its file before it starts, so that an age of a day is for the user: to press Run, or to come for the results."""


def build_app(engine: Engine, *, runs: Path | None = None, loads: Downloads | None = None) -> Any:
    """All pages over one engine, as a `gradio.Blocks` that is not launched yet; no model is loaded.

    `runs` is where trainings and batches are kept, by default in the user's data folder. `loads` is the `on_progress`
    of the engine, if it has one: pages then tell what is being downloaded.
    """
    import gradio as gr

    context = Context(engine, runs or engine.settings.data / "ui", loads or Downloads(), engine.plugins.views())
    pages = list_pages(context)
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=CLEANING) as app:
        for page in pages:
            _turn_to(app, page)
            _frame(context, pages, page)
        _turn_to(app, pages[0])
        for task in engine.plugins.tasks.values():
            api.add(context, task)
    app.queue(max_size=QUEUE_SIZE, default_concurrency_limit=AT_ONCE)
    return app


def _turn_to(app: Any, page: Page) -> None:
    """What is added from now on is on this page.

    As `Blocks.route` does it, which makes a whole server and the configuration of all pages each time it is left: with
    nine pages 0.7 s of CPU time.
    """
    if page.path and page.path not in (path for path, *_ in app.pages):
        app.pages.append((page.path, page.title, False))
    app.current_page = page.path


def list_pages(context: Context) -> list[Page]:
    """The start page, one page a task, and the rooms that are there, in the order of the menu."""
    from gradio.routes import INTERNAL_ROUTES

    taken = {*INTERNAL_ROUTES, *(path for _, path, *_ in _ROOMS)}
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
    rooms = [Page(title, path, _room(module), WORK, told) for title, path, told, module in _ROOMS if _exists(module)]
    pages = [*tasks, *rooms]
    return [Page("Home", "", partial(home.build, pages=pages)), *pages]


def title_of(task: str) -> str:
    """A task's name as a title; short ones are abbreviations."""
    words = task.replace("-", " ").replace("_", " ")
    return words.upper() if len(words) <= 3 else words.capitalize()


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _room(module: str) -> Callable[[Context], None]:
    """The `build` of a page's module, imported when the page is built."""

    def build(context: Context) -> None:
        import_module(module).build(context)

    return build


def _frame(context: Context, pages: Sequence[Page], page: Page) -> None:
    """What stands on every page, around the page itself."""
    import gradio as gr

    gr.HTML(_menu(pages, page), elem_classes="nlp-top")
    broken = _broken(context)
    if broken:
        gr.HTML(broken)
    title = TITLE if page.path == "" else page.title
    lead = html.element("p", html.text(page.summary), class_="nlp-lead") if page.summary else ""
    gr.HTML(html.element("h1", html.text(title)) + lead)
    page.build(context)


def _menu(pages: Sequence[Page], here: Page) -> str:
    links = [
        html.element("a", html.text(page.title), href=page.path or "./", aria_current="page" if page is here else None)
        for page in pages
    ]
    return html.element("nav", *links, class_="nlp-menu", aria_label="Pages")


def _broken(context: Context) -> str:
    """A banner for the plugins that are off, with the reason of each."""
    failures = context.engine.plugins.failures
    if not failures:
        return ""
    entries = [
        html.element(
            "li",
            html.element("strong", html.text(failure.distribution or failure.plugin)),
            " ",
            html.text(failure.reason),
        )
        for failure in failures
    ]
    said = "1 plugin is off" if len(entries) == 1 else f"{len(entries)} plugins are off"
    return html.box("banner", html.element("p", said), html.element("ul", *entries), role="alert")
