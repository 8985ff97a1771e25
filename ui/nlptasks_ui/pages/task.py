"""A task's page: its form on one side, the result on the other. Everything on it follows from the task's types."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from nlptasks import CancelledError, CancelToken, Result, Task, can_stream
from nlptasks.surfaces import Step, answer, one_line, sentence, waiting_for
from nlptasks_ui import forms, html, snippets, views
from nlptasks_ui.adapters import ADAPTER_INFO, DEFAULT_ADAPTER, MODEL_INFO, adapter_choices
from nlptasks_ui.context import MODEL_QUEUE, Context
from nlptasks_ui.events import LIGHT, STOPS, of_request, tell_refusal
from nlptasks_ui.stopping import Running
from nlptasks_ui.views.generated import draft

_IDLE = html.element("p", "The result appears here.", class_="nlp-note")
_STOPPED = html.element("p", "Stopped.", class_="nlp-note", role="status")


def build(context: Context, task: Task[Any, Any, Any]) -> None:
    """Add the page of a task."""
    _TaskPage(context, task).build()


@dataclass(frozen=True)
class Answer:
    """The components of the result side, in the order of a handler's outputs."""

    view: Any
    facts: Any
    json: Any
    python: Any
    curl: Any
    cli: Any

    def values(self) -> tuple[Any, ...]:
        return self.view, self.facts, self.json, self.python, self.curl, self.cli


class _TaskPage:
    """The components of one page and their events."""

    def __init__(self, context: Context, task: Task[Any, Any, Any]) -> None:
        self._context = context
        self._task = task
        self._running = Running()

    def build(self) -> None:
        import gradio as gr

        with gr.Row(elem_classes="nlp-page"):
            with gr.Column(elem_classes="nlp-form", min_width=320):
                self._form = forms.form_of(self._task)
                self._names = forms.names_of(self._task)
                self._build_examples()
                with gr.Row(elem_classes="nlp-actions"):
                    run = gr.Button("Run", variant="primary", elem_id=f"run-{self._task.name}")
                    stop = gr.Button("Stop", variant="stop", elem_id=f"stop-{self._task.name}", elem_classes=STOPS)
                    self._leave = gr.Button(
                        "Leave the queue", elem_id=f"leave-{self._task.name}", elem_classes=[STOPS, "nlp-unseen"]
                    )
                with gr.Accordion("Options", open=False):
                    self._adapter = gr.Dropdown(
                        choices=[DEFAULT_ADAPTER],
                        value=DEFAULT_ADAPTER,
                        allow_custom_value=True,
                        label="Adapter",
                        info=ADAPTER_INFO,
                    )
                    self._model = gr.Textbox(label="Model", info=MODEL_INFO)
                    self._options = forms.options_of(self._task)
            with gr.Column(elem_classes="nlp-answer", min_width=320):
                self._answer = self._build_answer()
        self._connect(run, stop)

    def _build_answer(self) -> Answer:
        import gradio as gr

        name = self._task.name
        view = gr.HTML(_IDLE, elem_id=f"view-{name}", elem_classes="nlp-view", label="Answer", min_height=80)
        facts = gr.HTML("", elem_id=f"facts-{name}")
        with gr.Tabs(elem_classes="nlp-elsewhere"):
            code = [
                self._code(title, language, elem_id=f"{title.lower().replace(' ', '-')}-{name}")
                for title, language in (
                    ("JSON", "json"),
                    ("As Python", "python"),
                    ("As curl", "shell"),
                    ("As CLI", "shell"),
                )
            ]
        return Answer(view, facts, *code)

    def _code(self, title: str, language: str, elem_id: str) -> Any:
        import gradio as gr

        with gr.Tab(title):
            return gr.Code(
                language=language,
                interactive=False,
                label=title,
                show_label=False,
                lines=4,
                max_lines=24,
                wrap_lines=True,
                elem_id=elem_id,
            )

    def _build_examples(self) -> None:
        """The task's examples; a click fills the form."""
        import gradio as gr

        if not self._task.examples:
            return
        filled = [self._task.as_fields(example) for example in self._task.examples]
        samples = [[one_line(fields, 90)] for fields in filled]
        chosen = gr.Dataset(
            components=[gr.Textbox(visible=False, label="Examples")],
            samples=samples,
            type="index",
            label="Examples",
            elem_classes="nlp-examples",
        )

        def fill(index: int) -> Any:
            values = self._form.values(filled[index])
            return values if len(values) > 1 else values[0]

        chosen.click(fill, chosen, self._form.components, queue=False, show_progress="hidden", api_visibility="private")

    def _connect(self, run: Any, stop: Any) -> None:
        import gradio as gr

        options = [*self._names.components, *self._options.components]
        inputs = [*self._form.components, self._adapter, self._model, *options]
        triggers = [run.click, *(c.submit for c in self._form.components if isinstance(c, gr.Textbox))]
        running = gr.on(
            triggers,
            self._handler(),
            inputs,
            list(self._answer.values()),
            concurrency_id=MODEL_QUEUE,
            show_progress="minimal",
            show_progress_on=self._answer.view,
            trigger_mode="once",
            api_visibility="private",
        )
        tell_refusal(running, self._answer.view, stopped=_STOPPED)
        # Gradio may cancel an event that waits, but not one that runs (see `stopping`). `then` has no `cancels`, so a
        # script presses a hidden button.
        stopped, was_running = self._running.stopped_by(stop)
        press = f"(running) => {{ if (!running) document.getElementById({self._leave.elem_id!r}).click(); }}"
        stopped.then(None, was_running, None, js=press, api_visibility="private")
        self._leave.click(None, None, None, cancels=[running], api_visibility="private")
        gr.on(None, self._adapters, None, self._adapter, **LIGHT)

    def _adapters(self) -> Any:
        """The choices of the adapter dropdown, read from the store when the page opens."""
        import gradio as gr

        return gr.update(choices=adapter_choices(self._context, self._task.name))

    def _handler(self) -> Any:
        """The handler of the Run button: updates of the result side until the result or the error is there."""

        async def run(request: Any, *values: Any) -> AsyncGenerator[Any, None]:
            try:
                with self._running.track(str(request.session_hash)) as cancel:
                    updates = self._updates(self._read(values), root_of(request), cancel)
                    async with aclosing(updates):
                        async for update in updates:
                            yield update
            except Exception as error:
                yield html.alert(sentence(error)), "", None, None, None, None

        return of_request(run)

    async def _updates(self, form: snippets.Request, root: str, cancel: CancelToken) -> AsyncGenerator[Any, None]:
        engine = self._context.engine
        name = self._task.name
        stream = can_stream(self._task)
        code = (snippets.python(form), snippets.curl(form, root), snippets.command(form))
        arguments = {**form.options, "adapter": form.adapter, "model": form.model}
        yield html.status("Starting"), "", None, *code
        steps = answer(engine, name, dict(form.fields), stream=stream, cancel=cancel, **arguments)
        text = ""
        try:
            async with aclosing(steps):
                async for step in steps:
                    text = step.text
                    if step.result is None:
                        yield self._progress(step, form), *_unchanged(5)
                    else:
                        yield *self._result(form, step.result, step.seconds), *code
        except CancelledError:
            # What was written until then stays.
            yield (draft(text, finished=True) if text else "") + _STOPPED, *_unchanged(5)

    def _read(self, values: Sequence[Any]) -> snippets.Request:
        size, names = len(self._form.entries), len(self._names.entries)
        adapter, model, *options = values[size:]
        return snippets.Request(
            self._task,
            self._form.fields(values[:size]),
            {**self._names.fields(options[:names]), **self._options.fields(options[names:])},
            None if not adapter or adapter == DEFAULT_ADAPTER else adapter,
            (model or "").strip() or None,
        )

    def _progress(self, step: Step, form: snippets.Request) -> str:
        """The text so far, or what the computation is doing."""
        if step.text:
            return draft(step.text)
        if step.total > 1:
            return html.status(f"{step.completed} of {step.total} parts processed")
        base = waiting_for(self._context.engine, self._task.name, form.adapter, form.model)
        loading = self._context.loads.line() or (f"Loading base model {base}" if base else "")
        return html.status(f"{loading or 'Computing'}, {step.seconds:.0f} s")

    def _result(self, form: snippets.Request, result: Result, seconds: float) -> tuple[str, str, str]:
        """The view, the facts and the JSON of a result."""
        [inputs] = self._task.validate([dict(form.fields)])
        return (
            views.show(result, inputs, self._context.views, self._task.name),
            views.facts(result, seconds),
            result.model_dump_json(indent=2),
        )


def root_of(request: Any) -> str:
    """The URL at which the user sees the app."""
    return str(request.request.base_url).rstrip("/")


def _unchanged(count: int) -> list[Any]:
    import gradio as gr

    return [gr.skip()] * count
