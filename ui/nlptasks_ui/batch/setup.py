"""The first tab of the batch page: a file or pasted lines, a task and its columns, and the start of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nlptasks import NlptasksError
from nlptasks.surfaces import sentence
from nlptasks_ui import html
from nlptasks_ui.batch import show, tables
from nlptasks_ui.batch.mapping import Mapper
from nlptasks_ui.batch.runs import Run, Runs
from nlptasks_ui.batch.tables import Upload
from nlptasks_ui.context import Context
from nlptasks_ui.events import of_request, tell_refusal, user_of

_TIME_TO_LIVE = 3600
"""Seconds after which the first rows of an abandoned page are freed."""

_QUIET: dict[str, Any] = {"concurrency_id": "files", "show_progress": "minimal", "api_visibility": "private"}

Updates = dict[Any, Any]


class Setup:
    """The components of the tab."""

    def __init__(self, context: Context, runs: Runs) -> None:
        import gradio as gr

        self._runs = runs
        self.upload = gr.State(None, time_to_live=_TIME_TO_LIVE)
        with gr.Tab("File"):
            self.file = gr.File(
                label=f"File with rows ({', '.join(tables.KINDS)}; at most {tables.MAX_BYTES // 10**6} MB)",
                file_types=list(tables.KINDS), type="filepath", height=140, elem_id="batch-file",
            )  # fmt: skip
        with gr.Tab("Pasted lines"):
            self.lines = gr.Textbox(label="One text per line", lines=6, max_lines=12, elem_id="batch-lines")
            self.take = gr.Button("Use these lines", elem_id="batch-take")
        self.summary = gr.HTML(elem_id="batch-found")
        self.preview = gr.HTML(elem_id="batch-preview", elem_classes="nlp-grid")
        self.mapper = Mapper(context)
        self.run = gr.Button("Run", variant="primary", interactive=False, elem_id="batch-run")
        self.message = gr.HTML(elem_id="batch-message")

    def connect(self, then: Callable[[Run, str], Updates], outputs: list[Any]) -> None:
        """Connect the events of the tab; `then` shows a run that was started, in `outputs`."""

        def start(values: Mapping[Any, Any], request: Any) -> Updates:
            user = user_of(request)
            try:
                run = self._runs.start(self.mapper.request(values), values[self.upload], user)
            except (NlptasksError, OSError) as error:
                return {self.message: html.alert(sentence(error))}
            return {self.message: "", **then(run, user)}

        reading = [self.upload, self.summary, self.preview, self.run, self.message, *self.mapper.outputs]
        started = {self.upload, *self.mapper.inputs}
        for event, place in (
            (self.file.change(self._read_file, [self.file], reading, **_QUIET), self.summary),
            (self.take.click(self._read_lines, [self.lines], reading, **_QUIET), self.summary),
            (self.run.click(of_request(start), started, [self.message, *outputs], **_QUIET), self.message),
        ):
            tell_refusal(event, place)

    def _read_file(self, path: str | None) -> Updates:
        return self._load(tables.read_file, Path(path)) if path else self._clear()

    def _read_lines(self, text: str) -> Updates:
        return self._load(tables.read_lines, text)

    def _load(self, reader: Callable[[Any], Upload], source: Any) -> Updates:
        import gradio as gr

        try:
            upload = reader(source)
        except NlptasksError as error:
            return self._clear(html.alert(sentence(error)))
        return {
            self.upload: upload,
            self.summary: show.summary(upload),
            self.preview: show.preview(upload.table),
            self.run: gr.Button(interactive=True),
            self.message: "",
            **self.mapper.columns_of(upload.table),
        }

    def _clear(self, message: str = "") -> Updates:
        import gradio as gr

        return {
            self.upload: None,
            self.summary: message,
            self.preview: "",
            self.run: gr.Button(interactive=False),
            self.message: "",
            self.mapper.area: gr.Column(visible=False),
        }
