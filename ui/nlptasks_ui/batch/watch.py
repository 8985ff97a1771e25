"""The second tab of the batch page: a user's runs, how far one is, and its answers.

The page holds no state of a run. It reads its folder at regular intervals, so that a page that is opened later, in
another tab or after a restart, shows the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from typing import Any

from nlptasks import NlptasksError
from nlptasks.surfaces import sentence, waiting_for
from nlptasks_ui import html
from nlptasks_ui.batch import show
from nlptasks_ui.batch.answers import PAGE_ROWS, AnswerCache, Answers, Filter
from nlptasks_ui.batch.downloads import Downloads
from nlptasks_ui.batch.runs import ACTIVE, RESUMABLE, Run, Runs, Status
from nlptasks_ui.context import Context
from nlptasks_ui.events import LIGHT, of_request, user_of

INTERVAL = 1.0
"""Seconds between two updates of the open run."""

CHARTS = 4
"""The most charts of a run."""

_GROWTH = 1.2
"""The charts of an active run are drawn anew when it has so many times the rows."""

_ALL = Filter()

Updates = dict[Any, Any]


@dataclass(frozen=True)
class _View:
    """What the user looks at: a run, a page of its rows counted from 0, and a filter."""

    run: str | None
    number: int = 0
    wanted: Filter = _ALL


@dataclass(frozen=True)
class _Seen:
    """What the page shows, so that only changes are sent.

    All but the list name their run: the answer to a tick for one run may arrive after the user chose another, and what
    both show alike would not be sent again.
    """

    runs: tuple[Any, ...] = ()
    head: tuple[str, str] = ("", "")
    state: tuple[Any, ...] = ()
    filters: tuple[Any, ...] = ()
    rows: tuple[Any, ...] = ()
    charted: tuple[Any, int] = (None, -1)


class Watch:
    """The components of the tab."""

    def __init__(self, context: Context, runs: Runs) -> None:
        import gradio as gr

        self._context, self._runs, self._answers = context, runs, AnswerCache()
        self.seen = gr.State(_Seen())
        self.number = gr.State(0)
        self.run = gr.Radio([], label="Runs", visible=False, elem_id="batch-runs", elem_classes="nlp-choices")
        self.head = gr.HTML(show.NO_RUNS, elem_id="batch-progress")
        with gr.Row(elem_classes="nlp-actions nlp-minor"):
            self.stop = gr.Button("Stop", variant="stop", visible=False, elem_id="batch-stop")
            self.resume = gr.Button("Continue", variant="primary", visible=False, elem_id="batch-resume")
            self.restart = gr.Button("Start over", visible=False, elem_id="batch-restart")
            self.delete = gr.Button("Delete", visible=False, elem_id="batch-delete")
            self.really = gr.Button("Delete permanently", variant="stop", visible=False, elem_id="batch-really")
            self.keep = gr.Button("Cancel", visible=False, elem_id="batch-keep")
        self.message = gr.HTML(elem_id="batch-said")
        with gr.Column(visible=False, elem_id="batch-answers") as self.area:
            self._add_answers()
        self.timer = gr.Timer(INTERVAL)

    def _add_answers(self) -> None:
        import gradio as gr

        self.downloads = Downloads(self._context.engine, self._runs)
        with gr.Row():
            self.label = gr.Dropdown([], label="Label", visible=False, min_width=140, elem_id="batch-label")
            self.lowest = gr.Number(None, label="Lowest score", visible=False, min_width=120, step=0.05)
            self.highest = gr.Number(None, label="Highest score", visible=False, min_width=120, step=0.05)
            self.errors = gr.Checkbox(label="Only rows with an error", min_width=160, elem_id="batch-errors")
        self.table = gr.HTML(elem_id="batch-results", elem_classes="nlp-grid")
        with gr.Row(elem_classes="nlp-actions nlp-minor", equal_height=True):
            self.previous = gr.Button("Previous", size="sm", elem_id="batch-previous")
            self.next = gr.Button("Next", size="sm", elem_id="batch-next")
            self.place = gr.HTML(elem_id="batch-place")
        with gr.Row():
            self.plots = [
                gr.BarPlot(visible=False, height=280, min_width=320, elem_id=f"batch-chart-{place}")
                for place in range(CHARTS)
            ]
        self.counts = gr.HTML(elem_id="batch-counts")

    @property
    def outputs(self) -> list[Any]:
        """The components that `opened` updates."""
        buttons = [self.stop, self.resume, self.restart, self.delete, self.really, self.keep]
        pager = [self.table, self.previous, self.next, self.place]
        return [
            *(self.seen, self.number, self.run, self.head, *buttons, self.message, self.area, *self._filters),
            *(*pager, *self.plots, self.counts),
        ]

    @property
    def _filters(self) -> list[Any]:
        return [self.label, self.lowest, self.highest, self.errors]

    def connect(self) -> None:
        """Connect the events of the tab."""
        import gradio as gr

        def handler(change: Callable[[_View], _View], choose: bool = True) -> Callable[..., Updates]:
            def handle(
                run: str | None, number: int, label: str | None, lowest: Any, highest: Any, errors: bool, seen: _Seen,
                request: Any,
            ) -> Updates:  # fmt: skip
                view = change(_View(run, number, Filter(label or None, lowest, highest, errors)))
                return self._show(view, seen, user_of(request), choose)

            return of_request(handle)

        view = [self.run, self.number, *self._filters, self.seen]
        first = handler(lambda view: replace(view, number=0))
        # A tick may be on its way while the user chooses another run or page, which it must not undo.
        self.timer.tick(handler(lambda view: view, choose=False), view, self.outputs, **LIGHT)
        self.run.input(handler(lambda view: _View(view.run)), view, self.outputs, **LIGHT)
        gr.on([part.input for part in self._filters], first, view, self.outputs, **LIGHT)
        for button, step in ((self.previous, -1), (self.next, 1)):
            turn = handler(lambda view, step=step: replace(view, number=view.number + step))  # type: ignore[misc]
            button.click(turn, view, self.outputs, **LIGHT)
        for button, action in (
            (self.stop, self._runs.stop),
            (self.resume, self._runs.resume),
            (self.restart, self._runs.restart),
            (self.really, self._runs.delete),
        ):
            button.click(self._handler(action), self.run, self.outputs, **LIGHT)
        buttons = [self.delete, self.really, self.keep]
        for button, confirm in ((self.delete, True), (self.keep, False)):
            button.click(
                lambda confirm=confirm: [gr.Button(visible=visible) for visible in (not confirm, confirm, confirm)],
                None, buttons, **LIGHT,
            )  # fmt: skip
        self.downloads.connect(self.run, self.message)

    def opened(self, user: str, id: str | None = None) -> Updates:
        """Updates for a page that was just opened: a run, by default the newest active one or else the newest."""
        runs = self._runs.list(user)
        first = next((run for run in runs if self._runs.status(run).active), runs[0] if runs else None)
        return self._show(_View(id or (first.id if first else None)), _Seen(), user)

    def _handler(self, action: Callable[[Run], Any]) -> Callable[..., Updates]:
        def handle(id: str | None, request: Any) -> Updates:
            user = user_of(request)
            try:
                action(self._runs.find(id, user))
            except NlptasksError as error:
                return {self.message: html.alert(sentence(error))}
            return self.opened(user, id)

        return of_request(handle)

    def _show(self, view: _View, seen: _Seen, user: str, choose: bool = True) -> Updates:
        """Updates that show a run as it is now, as far as the page shows something else.

        With `choose` they select the run and the page in the view, too.
        """
        import gradio as gr

        listed = [(run, self._runs.status(run)) for run in self._runs.list(user)]
        run, status = next((pair for pair in listed if pair[0].id == view.run), (None, None))
        if listed and not run:  # deleted, here or in another tab
            return self.opened(user)
        updates: Updates = {}
        titles = tuple((show.title(run, status), run.id) for run, status in listed)
        now = replace(seen, runs=(titles, view.run))
        if now.runs != seen.runs:
            value = {"value": view.run} if choose else {}
            updates[self.run] = gr.Radio(choices=list(titles), visible=bool(titles), **value)
        if not run or not status:
            empty = {self.head: show.NO_RUNS, self.area: gr.Column(visible=False), **self._buttons(None)}
            return {self.seen: _Seen(now.runs), **updates, **(empty if updates else {})}
        answers = self._answers.of(run)
        if not status.active and answers.complete:  # what was under way is not kept
            status = replace(status, rows=len(answers), errors=answers.errors)
        head = show.head(status, self._loading(run, status))
        now = replace(now, head=(run.id, head), state=(run.id, status.state))
        if now.head != seen.head:
            updates[self.head] = head
        if now.state != seen.state:
            updates |= {**self._buttons(status), self.message: ""}
        now, rows = self._rows(run, answers, view, now)
        charted = now.charted[1]
        if len(answers) > charted and not (status.active and len(answers) < _GROWTH * charted):
            now = replace(now, charted=(run.id, len(answers)))
            rows |= self._charts(answers)
        if not choose:
            rows.pop(self.number, None)
        return {self.seen: now, **updates, **rows}

    def _rows(self, run: Run, answers: Answers, view: _View, seen: _Seen) -> tuple[_Seen, Updates]:
        """The filters and a page of the rows, as far as they have changed."""
        import gradio as gr

        updates: Updates = {}
        page = answers.page(view.number, view.wanted)
        now = replace(
            seen,
            filters=(run.id, tuple(answers.labels), answers.scored, len(answers) > 0),
            rows=(run.id, page.total, page.first, astuple(view.wanted), page.rows),
            charted=seen.charted if seen.charted[0] == run.id and seen.charted[1] <= len(answers) else (run.id, -1),
        )
        if now.filters != seen.filters:
            updates |= self._filters_of(answers, reset=now.filters[:1] != seen.filters[:1])
        if now.rows != seen.rows:
            updates |= {
                self.number: page.first // PAGE_ROWS,
                self.table: show.table(page, run.request),
                self.place: html.element("p", show.place(page), role="status"),
                self.previous: gr.Button(interactive=page.first > 0),
                self.next: gr.Button(interactive=page.first + len(page.rows) < page.total),
            }
        return now, updates

    def _loading(self, run: Run, status: Status) -> str:
        """What a run waits for that has no rows yet."""
        if status.state != "running" or status.rows > status.errors:
            return ""
        request = run.request
        try:
            base = waiting_for(self._context.engine, request.task, request.adapter, request.model)
        except NlptasksError:
            return ""
        return (self._context.loads.line() or f"Loading base model {base}") if base else ""

    def _buttons(self, status: Status | None) -> Updates:
        import gradio as gr

        state = status.state if status else None
        visible = {
            self.stop: state in ("waiting", "running"),
            self.resume: state in RESUMABLE,
            self.restart: state in RESUMABLE,
            self.delete: state is not None and state not in ACTIVE,
            self.really: False,
            self.keep: False,
        }
        return {button: gr.Button(visible=shows) for button, shows in visible.items()}

    def _filters_of(self, answers: Answers, *, reset: bool) -> Updates:
        import gradio as gr

        empty = {"value": None} if reset else {}
        choices = [("all", ""), *((label, label) for label in answers.labels)]
        return {
            self.area: gr.Column(visible=len(answers) > 0),
            self.label: gr.Dropdown(choices=choices, visible=len(choices) > 1, **({"value": ""} if reset else {})),
            self.lowest: gr.Number(visible=answers.scored, **empty),
            self.highest: gr.Number(visible=answers.scored, **empty),
            **({self.errors: False} if reset else {}),
        }

    def _charts(self, answers: Answers) -> Updates:
        import gradio as gr

        charts = answers.tally.charts()[:CHARTS]
        hidden = {plot: gr.BarPlot(visible=False) for plot in self.plots[len(charts) :]}
        drawn = {plot: show.bars(chart) for plot, chart in zip(self.plots, charts, strict=False)}
        return {**hidden, **drawn, self.counts: show.counts(charts)}
