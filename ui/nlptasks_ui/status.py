"""The status page: plugins that are on and off, bases in memory and on their way there, who waits, versions."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from nlptasks import NlptasksError, Plugins
from nlptasks_ui import html, licences
from nlptasks_ui.amounts import count, megabytes
from nlptasks_ui.context import MODEL_QUEUE, Context
from nlptasks_ui.errors import sentence
from nlptasks_ui.events import LIGHT

if TYPE_CHECKING:
    from nlptasks import Engine

PACKAGES = ("nlptasks", "torch", "transformers", "peft", "tokenizers", "gradio", "pydantic", "openpyxl")
REFRESH = 2.0
"""Seconds between two looks at what changes."""


@dataclass(frozen=True)
class Base:
    """A base that the engine holds, or is about to: `state` in words, `size` in bytes, calls that wait for it."""

    name: str
    state: str
    size: int
    placed: str
    waiting: int


def build(context: Context) -> None:
    """Add the page to the Blocks that is open."""
    import gradio as gr
    from gradio.context import Context as Building

    app, engine = Building.root_block, context.engine

    def live() -> str:
        return live_part(bases(engine), context.loads.line(), queue_of(app))

    moving = gr.HTML(elem_id="status-live")
    plugins = gr.HTML(plugins_part(engine.plugins), elem_id="status-plugins")
    licences.build(context)
    machine = gr.HTML(html.status("Looking at this machine"), elem_id="status-machine")
    # Once the page is open: the first look at the device imports torch, which takes seconds.
    gr.on(None, lambda: plugins_part(engine.plugins), None, plugins, **LIGHT)
    gr.on(None, lambda: machine_part(engine), None, machine, **LIGHT)
    gr.on(None, live, None, moving, **LIGHT)
    gr.Timer(REFRESH).tick(live, None, moving, **LIGHT)


def bases(engine: Engine) -> list[Base]:
    """The engine's bases, the one that was used last first."""
    words = {"idle": "in memory", "loading": "being read into memory"}
    return [
        Base(base.name, words.get(base.state, base.state), base.num_bytes, base.placement, base.waiting)
        for base in reversed(engine.resident())
    ]


def queue_of(app: Any) -> tuple[int, int]:
    """How many requests of the app are under way with a model, and how many wait for their turn."""
    queue = app._queue.event_queue_per_concurrency_id.get(MODEL_QUEUE)
    return (queue.current_concurrency, len(queue.queue)) if queue else (0, 0)


def live_part(found: Sequence[Base], download: str, queue: tuple[int, int]) -> str:
    """What changes while the app runs."""
    running, waiting = queue
    loading = [f"{base.name} is {base.state}" for base in found if "read" in base.state]
    news = [download] if download else loading
    rows = [
        (base.name, base.state, megabytes(base.size) if base.size else "", base.placed, f"{base.waiting}")
        for base in found
    ]
    none = "No base is in memory. Each one is loaded when it is first asked for."
    total = f"Together {megabytes(sum(base.size for base in found))}." if len(found) > 1 else ""
    return "".join(
        (
            *(html.status(f"{line} …") for line in news),
            html.element("h2", "Models in memory"),
            html.table(("Base", "State", "Memory", "Numbers", "Calls waiting"), rows) if rows else paragraph(none),
            paragraph(total) if total else "",
            html.element("h2", "Queue"),
            paragraph(f"{count(running, 'request')} under way, {waiting} waiting."),
        )
    )


def plugins_part(plugins: Plugins) -> str:
    """Every plugin: what it brought, or why it is off."""
    parts = [html.element("h2", "Plugins")]
    for failure in plugins.failures:
        trace = (
            html.element("pre", html.text(failure.traceback), class_="nlp-trace", tabindex="0")
            if failure.traceback
            else ""
        )
        parts.append(html.alert(f"{failure.plugin} ({_origin(failure)}) is off: {failure.reason}"))
        if trace:
            parts.append(html.element("details", html.element("summary", "Traceback"), trace))
    rows = [
        (record.name, _origin(record), ", ".join(record.tasks) or "none", ", ".join(record.commands) or "none")
        for record in plugins.records
    ]
    if rows:
        parts.append(html.table(("Plugin", "Comes from", "Tasks", "Commands"), rows))
    if plugins.left_out:
        parts.append(paragraph(f"NLPTASKS_LOAD_PLUGINS leaves out {', '.join(plugins.left_out)}."))
    return "".join(parts)


def machine_part(engine: Engine) -> str:
    """Where bases are computed and why there, the folders, the versions."""
    try:
        placement = engine.placement()
        computing = [
            ("Device", f"{placement.device}, because {placement.device_reason}"),
            ("Numbers", f"{placement.dtype}, because {placement.dtype_reason}"),
        ]
    except NlptasksError as error:
        computing = [("Device", sentence(error))]
    settings = engine.settings
    folders = [
        ("Network", "never used" if settings.offline else "used for what is not on this machine yet"),
        ("Base models", str(settings.bases)),
        ("Your adapters", str(settings.adapters)),
    ]
    versions = [("Python", platform.python_version()), *((name, _version(name)) for name in PACKAGES)]
    return "".join(
        (
            html.element("h2", "This machine"),
            html.pairs([*computing, *folders]),
            html.element("h2", "Versions"),
            html.pairs(versions),
        )
    )


def paragraph(words: str) -> str:
    """A line of text."""
    return html.element("p", html.text(words))


def _origin(plugin: Any) -> str:
    return f"{plugin.distribution} {plugin.version or ''}".rstrip() if plugin.distribution else "no distribution"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
