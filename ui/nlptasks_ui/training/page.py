"""The training page: start a training, watch trainings, manage adapters."""

from __future__ import annotations

from typing import Any

from nlptasks_ui import html
from nlptasks_ui.context import Context
from nlptasks_ui.events import of_request, user_of
from nlptasks_ui.training.jobs import Job, Trainings
from nlptasks_ui.training.library import Library
from nlptasks_ui.training.setup import Setup
from nlptasks_ui.training.watch import Watch

NEW, RUNS, ADAPTERS = "new", "runs", "adapters"

_MISSING = "Training needs packages that are not installed: run pip install 'nlptasks[train]' and restart the app."


def build(context: Context) -> None:
    """Add the page to the current Blocks."""
    import gradio as gr

    trainings = Trainings(context.runs, context.engine.settings)
    if not _can_train():
        gr.HTML(html.alert(_MISSING))
    with gr.Tabs(elem_id="training-tabs") as tabs:
        with gr.Tab("New training", id=NEW):
            setup = Setup(context, trainings)
        with gr.Tab("Trainings", id=RUNS):
            watch = Watch(context, trainings)
        with gr.Tab("Adapters", id=ADAPTERS) as adapters:
            library = Library(context)

    def started(job: Job) -> dict[Any, Any]:
        return {tabs: gr.Tabs(selected=RUNS), **watch.refresh(job.id, (), job.plan.user)}

    def opened(request: Any) -> dict[Any, Any]:
        user = user_of(request)
        running = any(job.active for job in trainings.of(user).list())
        selected = {tabs: gr.Tabs(selected=RUNS)} if running else {}
        return {**selected, **setup.opened(user), **watch.opened(user)}

    setup.connect(started, [tabs, *watch.outputs])
    watch.connect()
    library.connect()
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    gr.on(None, of_request(opened), None, [tabs, *setup.outputs, *watch.outputs], queue=False, **quiet)
    adapters.select(of_request(library.opened), library.choice, library.outputs, concurrency_id="files", **quiet)


def _can_train() -> bool:
    from importlib.util import find_spec

    return all(find_spec(package) for package in ("accelerate", "peft", "sklearn"))
