"""Try a trained adapter: any input, answered before and after training, side by side."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

from nlptasks import Task
from nlptasks.surfaces import Step, answer, sentence
from nlptasks_ui import forms, html, views
from nlptasks_ui.context import MODEL_QUEUE, Context
from nlptasks_ui.events import of_request, tell_refusal, user_of
from nlptasks_ui.training.compare import after_arguments, before_arguments
from nlptasks_ui.training.jobs import Job

Updates = dict[Any, Any]


class Trial:
    """One form for each task that can be trained, of which one is visible, and two answers."""

    def __init__(self, context: Context) -> None:
        import gradio as gr

        self._context = context
        self.forms: dict[str, forms.Form] = {}
        self.groups: dict[str, Any] = {}
        self.buttons: dict[str, Any] = {}
        with gr.Column(visible=False) as self.area:
            gr.HTML(html.element("h2", "Try it"))
            for name, task in context.engine.plugins.tasks.items():
                if task.trainer:
                    self._add(name, task)
            with gr.Row(elem_classes="nlp-page"):
                self.before = gr.HTML(elem_id="trial-before", elem_classes="nlp-view", min_height=80)
                self.after = gr.HTML(elem_id="trial-after", elem_classes="nlp-view", min_height=80)

    def _add(self, name: str, task: Task[Any, Any, Any]) -> None:
        import gradio as gr

        with gr.Column(visible=False, elem_id=f"trial-form-{name}") as self.groups[name]:
            self.forms[name] = forms.form_of(task)
            self.buttons[name] = gr.Button("Compare before and after", elem_id=f"trial-{name}")

    @property
    def outputs(self) -> list[Any]:
        """The components that `of` and `hidden` update."""
        return [self.area, *self.groups.values(), self.before, self.after]

    def of(self, job: Job) -> Updates:
        """Show the form of a finished training's task; hide all forms for any other training."""
        import gradio as gr

        if job.state != "finished":
            return self.hidden()
        return {
            self.area: gr.Column(visible=True),
            **{group: gr.Column(visible=name == job.plan.task) for name, group in self.groups.items()},
            self.before: _titled("Before"),
            self.after: _titled(job.plan.name),
        }

    def hidden(self) -> Updates:
        """Hide all forms."""
        import gradio as gr

        return {self.area: gr.Column(visible=False)}

    def connect(self, job_of: Callable[[str | None, str], Job], chosen: Any) -> None:
        """Connect the buttons; `job_of` takes an id and a user, `chosen` is the component that holds the id."""
        import gradio as gr

        for name, button in self.buttons.items():
            form = self.forms[name]

            async def press(
                request: Any, id: str | None, *values: Any, form: forms.Form = form
            ) -> AsyncGenerator[Any, None]:
                find = partial(job_of, id, user_of(request))
                async with aclosing(self._answers(find, form, values)) as steps:
                    async for step in steps:
                        yield step

            lines = [part for part in form.components if isinstance(part, gr.Textbox)]
            running = gr.on(
                [button.click, *(line.submit for line in lines)], of_request(press), [chosen, *form.components],
                [self.before, self.after], concurrency_id=MODEL_QUEUE, show_progress="minimal",
                show_progress_on=self.after, trigger_mode="once", api_visibility="private",
            )  # fmt: skip
            tell_refusal(running, self.after)

    async def _answers(
        self, find: Callable[[], Job], form: forms.Form, values: tuple[Any, ...]
    ) -> AsyncGenerator[tuple[str, str], None]:
        from nlptasks.training import family_trainer

        answers = {"Before": "", "": ""}
        try:
            job = find()
            answers = {"Before": "", job.plan.name: ""}
            fields = form.fields(values)
            report = job.outcome["report"]
            family = family_trainer(self._context.engine.plugins.task(job.plan.task))
            sides = {
                "Before": before_arguments(family, report["labels"]),
                job.plan.name: after_arguments(job.plan, report),
            }
            for title, arguments in sides.items():
                steps = answer(self._context.engine, job.plan.task, dict(fields), **arguments)
                async with aclosing(steps):
                    async for step in steps:
                        answers[title] = self._step(job, fields, step)
                        yield _both(answers)
        except Exception as error:
            yield html.alert(sentence(error)), _both(answers)[1]

    def _step(self, job: Job, fields: dict[str, Any], step: Step) -> str:
        if step.result is None:
            return html.status(f"{self._context.loads.line() or 'Computing'}, {step.seconds:.0f} s")
        task = self._context.engine.plugins.task(job.plan.task)
        [inputs] = task.validate([dict(fields)])
        answer = views.show(step.result, inputs, self._context.views, task.name)
        return answer + views.facts(step.result, step.seconds)


def _titled(title: str, content: str = "") -> str:
    return html.element("p", html.text(title), class_="nlp-small-title") + content


def _both(answers: dict[str, str]) -> tuple[str, str]:
    first, second = (_titled(title, content) for title, content in answers.items())
    return first, second
