"""A new training: its data, its recipe, an estimate of time and memory, and its start."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

from nlptasks import CancelledError, CancelToken, NlptasksError
from nlptasks.store import AdapterStore
from nlptasks.surfaces import in_thread, sentence
from nlptasks_ui import html
from nlptasks_ui.context import Context
from nlptasks_ui.events import of_request, tell_refusal, user_of
from nlptasks_ui.stopping import Running
from nlptasks_ui.training import estimate
from nlptasks_ui.training.jobs import CONCURRENT, Job, Trainings
from nlptasks_ui.training.plan import Plan
from nlptasks_ui.training.recipe import RecipeForm
from nlptasks_ui.training.source import Chosen, Source

Updates = dict[Any, Any]
Values = Mapping[Any, Any]

_TICK = 0.5


class Setup:
    """The components of the tab."""

    def __init__(self, context: Context, trainings: Trainings) -> None:
        import gradio as gr

        self._context, self._trainings = context, trainings
        self._measuring = Running()
        gr.HTML(html.element("h2", "Data"))
        self.source = Source(context, trainings)
        gr.HTML(html.element("h2", "Recipe"))
        self.recipe = RecipeForm(context, self.source.task.value)
        with gr.Row(elem_classes="nlp-actions"):
            self.start = gr.Button("Start training", variant="primary", interactive=False, elem_id="train-start")
            self.estimate = gr.Button("Estimate time and memory", interactive=False, elem_id="train-estimate")
            self.cancel = gr.Button("Stop measuring", visible=False, elem_id="train-cancel")
        self.concurrent = gr.Checkbox(label=CONCURRENT, visible=False, elem_id="train-concurrent")
        self.message = gr.HTML(elem_id="train-said")

    def connect(self, started: Callable[[Job], Updates], outputs: list[Any]) -> None:
        """Connect the events; `started` returns the updates of `outputs` that show a training which has started."""
        self.source.connect([self.recipe.name, self.start, self.estimate, self.message], self._data_read)
        self.source.task.change(
            self.recipe.of_task, self.source.task, list(self.recipe.settings.values()),
            queue=False, show_progress="hidden", api_visibility="private",
        )  # fmt: skip
        inputs = {
            self.source.key, self.source.task, self.source.text_column, self.source.label_column, self.source.held_out,
            self.source.labels, self.source.misaligned, self.concurrent, *self.recipe.components,
        }  # fmt: skip
        private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        measuring = self.estimate.click(
            self._handler(), inputs, [self.message, self.estimate, self.cancel], concurrency_id="training", **private
        )
        self._measuring.stopped_by(self.cancel)

        def start(values: Values, request: Any) -> Updates:
            return self._start(values, user_of(request), started)

        starting = self.start.click(
            of_request(start), inputs, [self.message, self.concurrent, self.source.earlier, *outputs],
            concurrency_id="training", **private,
        )  # fmt: skip
        for event in (measuring, starting):
            tell_refusal(event, self.message)

    def opened(self, user: str) -> Updates:
        """Updates for a page that was just opened: the recipe of the task, and the files uploaded so far."""
        task = self.source.task.value
        return {**(self.recipe.of_task(task) if task else {}), self.source.earlier: self.source.refreshed(user)}

    @property
    def outputs(self) -> list[Any]:
        """The components that `opened` updates."""
        return [*self.recipe.settings.values(), self.source.earlier]

    def _data_read(self, updates: Updates, chosen: Chosen | None, values: Values) -> Updates:
        """Add updates after data was read: whether training can start, and a suggested name for the adapter."""
        import gradio as gr

        ready = chosen is not None
        updates[self.start] = gr.Button(interactive=ready)
        updates[self.estimate] = gr.Button(interactive=ready)
        updates[self.message] = ""
        if chosen and not values.get(self.recipe.name):
            taken = AdapterStore(self._context.engine.settings).names(chosen.task)
            updates[self.recipe.name] = free_name(chosen.path.stem, taken)
        return updates

    def _plan(self, values: Values, user: str) -> Plan:
        chosen = self.source.chosen(values, user)
        name = (values[self.recipe.name] or "").strip()
        if not name:
            raise NlptasksError("Adapter name: expected a name, found none.")
        return Plan(
            task=chosen.task,
            name=name,
            data=str(chosen.path),
            recipe=self.recipe.changed(chosen.task, values),
            text_column=chosen.options.text_column,
            label_column=chosen.options.label_column,
            labels=chosen.options.labels,
            held_out=chosen.options.held_out,
            allow_misaligned=chosen.options.allow_misaligned,
            replace=values[self.recipe.replace],
        )

    def _handler(self) -> Any:
        """The handler of the button for an estimate."""

        async def measure(values: Values, request: Any) -> AsyncGenerator[Updates, None]:
            with self._measuring.track(str(request.session_hash)) as cancel:
                async with aclosing(self._measure(values, user_of(request), cancel)) as updates:
                    async for update in updates:
                        yield update

        return of_request(measure)

    async def _measure(self, values: Values, user: str, cancel: CancelToken) -> AsyncGenerator[Updates, None]:
        import gradio as gr

        try:
            plan = self._plan(values, user)
            yield {
                self.message: html.status("Measuring a few steps of this training; this takes about half a minute"),
                self.estimate: gr.Button(interactive=False),
                self.cancel: gr.Button(visible=True),
            }
            measure = partial(estimate.measure, plan, self._context.engine.settings, cancel)
            async with aclosing(in_thread(measure, every=_TICK, cancel=cancel)) as updates:
                async for probe in updates:
                    # Gradio notices a closed tab only when the generator yields.
                    yield {self.message: gr.skip()}
                    message = html.element("p", html.text(estimate.words(probe)), role="status") if probe else ""
        except CancelledError:
            message = ""
        except Exception as error:
            message = html.alert(sentence(error))
        yield {self.message: message, self.estimate: gr.Button(interactive=True), self.cancel: gr.Button(visible=False)}

    def _start(self, values: Values, user: str, started: Callable[[Job], Updates]) -> Updates:
        import gradio as gr

        try:
            job = self._trainings.of(user).start(self._plan(values, user), concurrent=values[self.concurrent])
        except Exception as error:
            return {
                self.message: html.alert(sentence(error)),
                self.concurrent: gr.Checkbox(visible=self._trainings.busy),
            }
        return {
            self.message: "",
            self.concurrent: gr.Checkbox(visible=False, value=False),
            self.source.earlier: self.source.refreshed(user),
            **started(job),
        }


def free_name(stem: str, taken: Collection[str]) -> str:
    """A valid adapter name, made of the name of a file, that is not taken."""
    name = "-".join(re.findall(r"[a-z0-9]+", stem.lower())) or "mine"
    names = (name if number == 1 else f"{name}-{number}" for number in range(1, len(taken) + 2))
    return next(one for one in names if one not in taken)
