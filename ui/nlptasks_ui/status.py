"""The status page: base models in memory, the queue, plugins, the machine and versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlptasks import NlptasksError, Plugins
from nlptasks.surfaces import origin, sentence, versions
from nlptasks_ui import html
from nlptasks_ui.amounts import count, megabytes
from nlptasks_ui.context import MODEL_QUEUE, Context
from nlptasks_ui.events import LIGHT

if TYPE_CHECKING:
    from nlptasks import Engine

REFRESH = 2.0
"""Seconds between two updates of the live part."""

LOADING = "loading"


@dataclass(frozen=True)
class Base:
    """A base of the engine: its `state` in words, `size` in bytes, dtype and device, and the calls that wait for it."""

    name: str
    state: str
    size: int
    placement: str
    waiting: int


def build(context: Context) -> None:
    """Add the page to the current Blocks."""
    import gradio as gr
    from gradio.context import Context as Building

    app, engine = Building.root_block, context.engine

    def live() -> str:
        return live_part(bases(engine), context.loads.line(), queue_of(app))

    live_html = gr.HTML(elem_id="status-live")
    plugins = gr.HTML(plugins_part(engine.plugins), elem_id="status-plugins")
    machine = gr.HTML(html.status("Checking this machine"), elem_id="status-machine")
    # Once the page is open: the first look at the device imports torch, which takes seconds.
    gr.on(None, lambda: plugins_part(engine.plugins), None, plugins, **LIGHT)
    gr.on(None, lambda: machine_part(engine), None, machine, **LIGHT)
    gr.on(None, live, None, live_html, **LIGHT)
    gr.Timer(REFRESH).tick(live, None, live_html, **LIGHT)


def bases(engine: Engine) -> list[Base]:
    """The engine's bases, the one that was used last first."""
    words = {"idle": "in memory", "loading": "being read into memory"}
    return [
        Base(base.name, words.get(base.state, base.state), base.num_bytes, base.placement, base.waiting)
        for base in reversed(engine.resident())
    ]


def queue_of(app: Any) -> tuple[int, int]:
    """The number of requests that run with a model, and of those that wait in the queue."""
    queue = app._queue.event_queue_per_concurrency_id.get(MODEL_QUEUE)
    return (queue.current_concurrency, len(queue.queue)) if queue else (0, 0)


def live_part(bases: Sequence[Base], download: str, queue: tuple[int, int]) -> str:
    """The part that changes while the app runs: downloads, base models and the queue."""
    running, waiting = queue
    loading = [f"Loading {base.name}" for base in bases if base.state == LOADING]
    activities = [download] if download else loading
    rows = [
        (base.name, base.state, megabytes(base.size) if base.size else "", base.placement, f"{base.waiting}")
        for base in bases
    ]
    none = "No base model is in memory. Each is loaded on first use."
    total = f"Total: {megabytes(sum(base.size for base in bases))}." if len(bases) > 1 else ""
    return "".join(
        (
            *(html.status(f"{line} …") for line in activities),
            html.element("h2", "Models in memory"),
            html.table(("Base model", "State", "Memory", "Dtype and device", "Waiting calls"), rows)
            if rows
            else paragraph(none),
            paragraph(total) if total else "",
            html.element("h2", "Queue"),
            paragraph(f"{count(running, 'request')} running, {waiting} waiting."),
        )
    )


def plugins_part(plugins: Plugins) -> str:
    """Every plugin: the tasks and commands that it adds, or why it is disabled."""
    parts = [html.element("h2", "Plugins")]
    for failure in plugins.failures:
        trace = (
            html.element("pre", html.text(failure.traceback), class_="nlp-trace", tabindex="0")
            if failure.traceback
            else ""
        )
        parts.append(html.alert(f"{failure.name} ({origin(failure)}) is disabled: {failure.reason}"))
        if trace:
            parts.append(html.element("details", html.element("summary", "Traceback"), trace))
    parts += [html.alert(conflict.reason) for conflict in plugins.conflicts if not conflict.preferred]
    rows = [
        (record.name, origin(record), ", ".join(record.tasks) or "none", ", ".join(record.commands) or "none")
        for record in plugins.records
    ]
    if rows:
        parts.append(html.table(("Plugin", "Package", "Tasks", "Commands"), rows))
    if plugins.left_out:
        parts.append(paragraph(f"Not listed in NLPTASKS_LOAD_PLUGINS, so not loaded: {', '.join(plugins.left_out)}."))
    return "".join(parts)


def machine_part(engine: Engine) -> str:
    """The device and dtype with the reasons for them, the folders, and the versions of packages."""
    try:
        placement = engine.placement()
        computing = [
            ("Device", f"{placement.device}, because {placement.device_reason}"),
            ("Number format (dtype)", f"{placement.dtype}, because {placement.dtype_reason}"),
        ]
    except NlptasksError as error:
        computing = [("Device", sentence(error))]
    settings = engine.settings
    folders = [
        ("Network", "offline: nothing is downloaded" if settings.offline else "online: missing files are downloaded"),
        ("Folder of base models", str(settings.bases)),
        ("Folder of your adapters", str(settings.adapters)),
    ]
    return "".join(
        (
            html.element("h2", "This machine"),
            html.pairs([*computing, *folders]),
            html.element("h2", "Versions"),
            html.pairs(versions().items()),
        )
    )


def paragraph(words: str) -> str:
    """A paragraph of text."""
    return html.element("p", html.text(words))
