"""The batch page: start a run over the rows of a file, watch runs, and look at their answers."""

from __future__ import annotations

from typing import Any

from nlptasks_ui.batch.runs import Run, Runs
from nlptasks_ui.batch.setup import Setup
from nlptasks_ui.batch.watch import Watch
from nlptasks_ui.context import Context
from nlptasks_ui.events import LIGHT, of_request, user_of

NEW, RUNS = "new", "runs"


def build(context: Context) -> None:
    """Add the page to the current Blocks."""
    import gradio as gr

    runs = Runs(context.engine, context.runs)
    context.closing.append(runs.close)
    with gr.Tabs(elem_id="batch-tabs") as tabs:
        with gr.Tab("New run", id=NEW):
            setup = Setup(context, runs)
        with gr.Tab("Runs", id=RUNS):
            watch = Watch(context, runs)

    def started(run: Run, user: str) -> dict[Any, Any]:
        return {tabs: gr.Tabs(selected=RUNS), **watch.opened(user, run.id)}

    def opened(request: Any) -> dict[Any, Any]:
        user = user_of(request)
        active = any(runs.status(run).active for run in runs.list(user))
        return {**({tabs: gr.Tabs(selected=RUNS)} if active else {}), **watch.opened(user)}

    setup.connect(started, [tabs, *watch.outputs])
    watch.connect()
    gr.on(None, of_request(opened), None, [tabs, *watch.outputs], **LIGHT)
