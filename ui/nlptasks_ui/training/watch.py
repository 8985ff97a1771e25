"""The trainings that there are: watched while they run, stopped and continued, and what came of them.

Nothing of a training is kept here. The page asks the training's folder again and again, so that a page that is opened
anew, in another tab or after a restart, shows the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nlptasks import NlptasksError
from nlptasks.surfaces import sentence
from nlptasks_ui import html
from nlptasks_ui.context import Context
from nlptasks_ui.events import LIGHT
from nlptasks_ui.training import plots, show
from nlptasks_ui.training.history import Histories
from nlptasks_ui.training.jobs import RESUMABLE, Job, Trainings
from nlptasks_ui.training.shelf import named
from nlptasks_ui.training.trial import Trial

EVERY = 1.5
"""Seconds between two looks at the training that is shown."""

Updates = dict[Any, Any]

_NONE = html.element("p", "No training yet: start one in the tab beside.", class_="nlp-note")


class Watch:
    """The components of the tab. `shown` remembers what this page has last been told, so that only news are sent."""

    def __init__(self, context: Context, trainings: Trainings) -> None:
        import gradio as gr

        self._trainings, self._histories = trainings, Histories()
        self.shown = gr.State(())
        self.job = gr.Dropdown([], value=None, label="Training", elem_id="run-job")
        self.head = gr.HTML(_NONE, elem_id="run-head")
        with gr.Row(elem_classes="nlp-actions nlp-minor"):
            self.stop = gr.Button("Stop", variant="stop", visible=False, elem_id="run-stop")
            self.finish = gr.Button("End now, keep the best", visible=False, elem_id="run-finish")
            self.kill = gr.Button("End the process at once", visible=False, elem_id="run-kill")
            self.resume = gr.Button("Continue", variant="primary", visible=False, elem_id="run-resume")
            self.forget = gr.Button("Remove from this list", visible=False, elem_id="run-forget")
        self.said = gr.HTML(elem_id="run-said")
        with gr.Row():
            self.loss = gr.LinePlot(visible=False, height=260, min_width=320, elem_id="run-loss")
            self.metric = gr.LinePlot(visible=False, height=260, min_width=320, elem_id="run-metric")
            self.rate = gr.LinePlot(visible=False, height=260, min_width=320, elem_id="run-rate")
        self.result = gr.HTML(elem_id="run-result")
        self.trial = Trial(context)
        with gr.Accordion("Log", open=False):
            self.log = gr.Textbox(
                label="Log", show_label=False, lines=12, max_lines=12, interactive=False, autoscroll=True,
                elem_id="run-log",
            )  # fmt: skip
        self.timer = gr.Timer(EVERY)

    @property
    def outputs(self) -> list[Any]:
        """The components that a look at a training updates."""
        buttons = [self.stop, self.finish, self.kill, self.resume, self.forget]
        plots_ = [self.loss, self.metric, self.rate]
        return [
            self.shown,
            self.job,
            self.head,
            *buttons,
            self.said,
            *plots_,
            self.result,
            self.log,
            *self.trial.outputs,
        ]

    def connect(self) -> None:
        """Connect the events of the tab."""

        def look(id: str | None, shown: tuple[Any, ...]) -> Updates:
            return self.look(id, shown)

        self.timer.tick(look, [self.job, self.shown], self.outputs, **LIGHT)
        self.job.input(lambda id: self.look(id, ()), self.job, self.outputs, **LIGHT)
        for button, act in (
            (self.stop, self._trainings.stop),
            (self.finish, self._trainings.finish),
            (self.kill, self._trainings.end),
            (self.resume, self._trainings.resume),
            (self.forget, self._trainings.forget),
        ):
            button.click(self._doing(act), self.job, self.outputs, **LIGHT)
        self.trial.connect(self._job_of, self.job)

    def opened(self) -> Updates:
        """What a page that was just opened shows: the training that runs, or the newest."""
        jobs = self._trainings.list()
        first = next((job for job in jobs if job.active), jobs[0] if jobs else None)
        return self.look(first.id if first else None, ())

    def look(self, id: str | None, shown: tuple[Any, ...]) -> Updates:
        """A training as it is now; nothing where `shown` is still true."""
        import gradio as gr

        jobs = self._trainings.list()
        job = next((job for job in jobs if job.id == id), None)
        if job is None:
            # Forgotten, here or in another tab.
            return self._nothing(jobs) if shown != (None, len(jobs)) else self._unchanged()
        history = self._histories.read(job.events)
        titles = tuple((show.title(one), one.id) for one in jobs)
        now = (job.id, job.state, history.offset, bool(job.comparison), job.alive, titles)
        if now == shown:
            return self._unchanged()
        updates: Updates = {
            self.shown: now,
            self.head: show.head(job, history),
            self.log: named("\n".join(history.lines), job.plan.data),
            self.result: self._result(job),
            **self._buttons(job),
            **self._plots(history),
        }
        if not shown or shown[0] != job.id:
            updates[self.said] = ""
        if not shown or shown[0] != job.id or shown[-1] != titles:
            # An open list would close at each update.
            updates[self.job] = gr.Dropdown(choices=list(titles), value=job.id)
        if not shown or shown[:2] != now[:2]:
            updates |= self.trial.of(job)
        return updates

    def _unchanged(self) -> Updates:
        import gradio as gr

        # Gradio takes an empty mapping for too few values.
        return {self.shown: gr.skip()}

    def _nothing(self, jobs: list[Job]) -> Updates:
        import gradio as gr

        hidden = (self.stop, self.finish, self.kill, self.resume, self.forget)
        return {
            self.shown: (None, len(jobs)),
            self.job: gr.Dropdown(choices=[(show.title(job), job.id) for job in jobs], value=None),
            self.head: _NONE if not jobs else "",
            self.result: "",
            self.log: "",
            **{button: gr.Button(visible=False) for button in hidden},
            **{plot: gr.LinePlot(visible=False) for plot in (self.loss, self.metric, self.rate)},
            **self.trial.hidden(),
        }

    def _buttons(self, job: Job) -> Updates:
        import gradio as gr

        state = job.state
        shown = {
            self.stop: state in ("starting", "running"),
            self.finish: state == "running",
            self.kill: state in ("stopping", "finishing"),
            self.resume: state in RESUMABLE,
            self.forget: not job.alive,
        }
        return {button: gr.Button(visible=visible) for button, visible in shown.items()}

    def _plots(self, history: Any) -> Updates:
        import gradio as gr

        if not history.steps:
            return {plot: gr.LinePlot(visible=False) for plot in (self.loss, self.metric, self.rate)}
        measured = plots.metric(history) if history.evaluations else gr.LinePlot(visible=False)
        return {self.loss: plots.loss(history), self.rate: plots.rate(history), self.metric: measured}

    def _result(self, job: Job) -> str:
        if job.comparison:
            return show.comparison(job.comparison)
        if job.state == "finished" and job.alive:
            return html.status("Held-out rows are answered before and after, to be compared")
        return ""

    def _doing(self, act: Callable[[str], Any]) -> Callable[[str | None], Updates]:
        def do(id: str | None) -> Updates:
            if not id:
                return self._unchanged()
            try:
                act(id)
            except NlptasksError as error:
                return {self.said: html.alert(sentence(error))}
            return {**self.look(id, ()), self.said: ""}

        return do

    def _job_of(self, id: str | None) -> Job:
        return self._trainings.find(id or "")
