"""The list of trainings: watch them while they run, stop and continue them, and see their results.

The page holds no state of a training. It reads the training's folder at regular intervals, so that a page that is
opened later, in another tab or after a restart, shows the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nlptasks import NlptasksError
from nlptasks.surfaces import sentence
from nlptasks_ui import html
from nlptasks_ui.context import Context
from nlptasks_ui.events import LIGHT, of_request, user_of
from nlptasks_ui.training import plots, show
from nlptasks_ui.training.history import Histories
from nlptasks_ui.training.jobs import RESUMABLE, Job, Trainings
from nlptasks_ui.training.trial import Trial
from nlptasks_ui.training.uploads import named

INTERVAL = 1.5
"""Seconds between two updates of the selected training."""

Updates = dict[Any, Any]

_NONE = html.element("p", "No trainings yet: start one in the tab “New training”.", class_="nlp-note")


class Watch:
    """The components of the tab. `version` identifies what the page shows, so that only changes are sent."""

    def __init__(self, context: Context, trainings: Trainings) -> None:
        import gradio as gr

        self._trainings, self._histories = trainings, Histories()
        self.version = gr.State(())
        self.job = gr.Dropdown([], value=None, label="Training", elem_id="run-job")
        self.head = gr.HTML(_NONE, elem_id="run-head")
        with gr.Row(elem_classes="nlp-actions nlp-minor"):
            self.stop = gr.Button("Stop", variant="stop", visible=False, elem_id="run-stop")
            self.finish = gr.Button("Finish now with the best weights", visible=False, elem_id="run-finish")
            self.kill = gr.Button("Kill the process", visible=False, elem_id="run-kill")
            self.resume = gr.Button("Continue", variant="primary", visible=False, elem_id="run-resume")
            self.forget = gr.Button("Remove from this list", visible=False, elem_id="run-forget")
        self.message = gr.HTML(elem_id="run-said")
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
        self.timer = gr.Timer(INTERVAL)

    @property
    def outputs(self) -> list[Any]:
        """The components that `refresh` updates."""
        buttons = [self.stop, self.finish, self.kill, self.resume, self.forget]
        plots_ = [self.loss, self.metric, self.rate]
        return [
            self.version,
            self.job,
            self.head,
            *buttons,
            self.message,
            *plots_,
            self.result,
            self.log,
            *self.trial.outputs,
        ]

    def connect(self) -> None:
        """Connect the events of the tab."""

        def refresh(id: str | None, version: tuple[Any, ...], request: Any) -> Updates:
            return self.refresh(id, version, user_of(request))

        def choose(id: str | None, request: Any) -> Updates:
            return self.refresh(id, (), user_of(request))

        self.timer.tick(of_request(refresh), [self.job, self.version], self.outputs, **LIGHT)
        self.job.input(of_request(choose), self.job, self.outputs, **LIGHT)
        for button, action in (
            (self.stop, Trainings.stop),
            (self.finish, Trainings.finish),
            (self.kill, Trainings.kill),
            (self.resume, Trainings.resume),
            (self.forget, Trainings.forget),
        ):
            button.click(self._handler(action), self.job, self.outputs, **LIGHT)
        self.trial.connect(self._job_of, self.job)

    def opened(self, user: str) -> Updates:
        """Updates for a page that was just opened: the user's training that is running, or the newest one."""
        jobs = self._trainings.of(user).list()
        first = next((job for job in jobs if job.active), jobs[0] if jobs else None)
        return self.refresh(first.id if first else None, (), user)

    def refresh(self, id: str | None, version: tuple[Any, ...], user: str) -> Updates:
        """Updates that show the current state of a training; none if it has not changed since `version`."""
        import gradio as gr

        jobs = self._trainings.of(user).list()
        job = next((job for job in jobs if job.id == id), None)
        if job is None:
            # Removed, here or in another tab.
            return self._empty(jobs) if version != (None, len(jobs)) else self._unchanged()
        history = self._histories.read(job.events)
        titles = tuple((show.title(one), one.id) for one in jobs)
        now = (job.id, job.state, history.offset, bool(job.comparison), job.alive, titles)
        if now == version:
            return self._unchanged()
        updates: Updates = {
            self.version: now,
            self.head: show.head(job, history),
            self.log: named("\n".join(history.lines), job.plan.data),
            self.result: self._result(job),
            **self._buttons(job),
            **self._plots(history),
        }
        if not version or version[0] != job.id:
            updates[self.message] = ""
        if not version:
            updates[self.job] = gr.Dropdown(choices=list(titles), value=job.id)
        elif version[-1] != titles:
            # An update closes an open dropdown, and its value would undo a choice made while this tick was on its way.
            updates[self.job] = gr.Dropdown(choices=list(titles))
        if not version or version[:2] != now[:2]:
            updates |= self.trial.of(job)
        return updates

    def _unchanged(self) -> Updates:
        import gradio as gr

        # Gradio rejects an empty mapping as too few values.
        return {self.version: gr.skip()}

    def _empty(self, jobs: Sequence[Job]) -> Updates:
        import gradio as gr

        hidden = (self.stop, self.finish, self.kill, self.resume, self.forget)
        return {
            self.version: (None, len(jobs)),
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
        visible = {
            self.stop: state in ("starting", "running"),
            self.finish: state == "running",
            self.kill: state in ("stopping", "finishing"),
            self.resume: state in RESUMABLE,
            self.forget: not job.alive,
        }
        return {button: gr.Button(visible=on) for button, on in visible.items()}

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
            return html.status("Comparing the answers before and after on held-out rows")
        return ""

    def _handler(self, action: Callable[[Trainings, str], Any]) -> Callable[..., Updates]:
        def handle(id: str | None, request: Any) -> Updates:
            if not id:
                return self._unchanged()
            try:
                action(self._trainings.of(user_of(request)), id)
            except NlptasksError as error:
                return {self.message: html.alert(sentence(error))}
            return {**self.refresh(id, (), user_of(request)), self.message: ""}

        return of_request(handle)

    def _job_of(self, id: str | None, user: str) -> Job:
        return self._trainings.of(user).find(id or "")
