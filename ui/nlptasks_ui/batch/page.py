"""The batch page: select rows, a task and its columns, run it, and download the results."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from nlptasks import NlptasksError
from nlptasks.data import Table
from nlptasks.surfaces import sentence, waiting_for
from nlptasks_ui import html
from nlptasks_ui.batch import show, tables
from nlptasks_ui.batch.charts import Chart, charts_of
from nlptasks_ui.batch.export import write_all
from nlptasks_ui.batch.mapping import Mapper
from nlptasks_ui.batch.run import Batch
from nlptasks_ui.context import MODEL_QUEUE, Context
from nlptasks_ui.events import LIGHT, of_request, tell_refusal, user_of
from nlptasks_ui.pages.files import give

CHARTS = 4
"""The most charts of a batch."""

_KINDS = {"csv": "CSV", "jsonl": "JSONL", "xlsx": "Excel"}
_TIME_TO_LIVE = 3600
"""Seconds after which the rows and results of an abandoned page are freed."""

Updates = dict[Any, Any]


def build(context: Context) -> None:
    """Add the page to the current Blocks."""
    _Page(context)


class _Page:
    """The components of the page and their events."""

    def __init__(self, context: Context) -> None:
        import gradio as gr

        self._context = context
        self.table = gr.State(None, time_to_live=_TIME_TO_LIVE)
        self.batch = gr.State(None, time_to_live=_TIME_TO_LIVE)
        self._add_source()
        self.mapper = Mapper(context)
        self._add_run()
        self._add_results()
        self._connect()

    def _add_source(self) -> None:
        import gradio as gr

        with gr.Tab("File"):
            self.file = gr.File(
                label=f"File with rows ({', '.join(tables.KINDS)}; at most {tables.MAX_BYTES // 10**6} MB)",
                file_types=list(tables.KINDS), type="filepath", height=140, elem_id="batch-file",
            )  # fmt: skip
        with gr.Tab("Pasted lines"):
            self.lines = gr.Textbox(label="One text per line", lines=6, max_lines=12, elem_id="batch-lines")
            self.take = gr.Button("Use these lines", elem_id="batch-take")
        self.summary = gr.HTML(elem_id="batch-found")
        self.preview = gr.Dataframe(
            label=f"First {show.PREVIEW_ROWS} rows", interactive=False, visible=False, wrap=True, max_height=280,
            elem_id="batch-preview", elem_classes="nlp-rows",
        )  # fmt: skip

    def _add_run(self) -> None:
        import gradio as gr

        with gr.Row():
            self.run = gr.Button("Run", variant="primary", interactive=False, elem_id="batch-run")
            self.stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="batch-stop")
        self.progress = gr.HTML(elem_id="batch-progress")

    def _add_results(self) -> None:
        import gradio as gr

        with gr.Row(visible=False) as self.downloads:
            self.files = {
                kind: gr.DownloadButton(f"Download {name}", size="md", elem_id=f"batch-{kind}")
                for kind, name in _KINDS.items()
            }
        self.results = gr.Dataframe(
            label=f"First {show.PREVIEW_ROWS} results",
            interactive=False,
            visible=False,
            wrap=True,
            elem_id="batch-results",
            elem_classes="nlp-rows",
        )
        with gr.Row():
            self.plots = [
                gr.BarPlot(visible=False, height=280, min_width=420, elem_id=f"batch-chart-{place}")
                for place in range(CHARTS)
            ]
        self.counts = gr.HTML(elem_id="batch-counts")

    def _connect(self) -> None:
        reading = [self.table, self.summary, self.preview, self.run, *self.mapper.outputs]
        files: dict[str, Any] = {"concurrency_id": "files", "api_visibility": "private"}
        self.file.change(self._read_file, [self.file], reading, **files)
        self.take.click(self._read_lines, [self.lines], reading, **files)
        controls = [self.batch, self.run, self.stop, self.progress, self.downloads, *self.files.values()]
        running = self.run.click(
            of_request(self._compute), {self.table, *self.mapper.inputs},
            [*controls, self.results, *self.plots, self.counts],
            concurrency_id=MODEL_QUEUE, show_progress="minimal", show_progress_on=self.progress,
            api_visibility="private",
        )  # fmt: skip
        tell_refusal(running, self.progress)
        self.stop.click(_stop, [self.batch], [self.stop], **LIGHT)

    def _read_file(self, path: str | None) -> Updates:
        return self._load(tables.read_file, Path(path)) if path else self._clear()

    def _read_lines(self, text: str) -> Updates:
        return self._load(tables.read_lines, text)

    def _load(self, reader: Callable[[Any], Table], source: Any) -> Updates:
        import gradio as gr

        try:
            table = reader(source)
        except NlptasksError as error:
            # `sentence` would capitalize the name of the file.
            return self._clear(html.alert(" ".join(str(error).split())))
        return {
            self.table: table,
            self.summary: show.summary(table),
            self.preview: gr.Dataframe(value=show.preview(table), visible=True),
            self.run: gr.Button(interactive=True),
            **self.mapper.columns_of(table),
        }

    def _clear(self, message: str = "") -> Updates:
        import gradio as gr

        return {
            self.table: None,
            self.summary: message,
            self.preview: gr.Dataframe(visible=False),
            self.run: gr.Button(interactive=False),
            self.mapper.area: gr.Column(visible=False),
        }

    async def _compute(self, values: Mapping[Any, Any], request: Any) -> AsyncGenerator[Updates, None]:
        """Run the batch and report its progress; closing this generator stops the computation."""
        import gradio as gr

        table: Table = values[self.table]
        engine = self._context.engine
        try:
            form = self.mapper.request(values)
            inputs = tables.inputs_of(table, form.columns, form.fixed)
            chosen = {"adapter": form.adapter, "model": form.model}
            batch = Batch(engine, form.task, inputs, **chosen, options=form.options)
            base = waiting_for(engine, form.task, **chosen)
        except NlptasksError as error:
            yield {self.progress: html.alert(sentence(error))}
            return
        yield {self.batch: batch, **self._started()}
        async with aclosing(batch.run()) as steps:
            async for step in steps:
                loading = base and step.completed == step.failed
                activity = self._context.loads.line() or f"Loading base model {base}"
                yield {self.progress: show.progress(step, activity if loading else "")}
        yield {
            self.run: gr.Button(interactive=True),
            self.stop: gr.Button(interactive=False),
            self.progress: show.ended(batch),
        }
        async with aclosing(self._results(table, batch, form.columns.values(), user_of(request))) as parts:
            async for part in parts:
                yield part

    def _started(self) -> Updates:
        import gradio as gr

        return {
            self.run: gr.Button(interactive=False),
            self.stop: gr.Button(interactive=True),
            self.downloads: gr.Row(visible=False),
            self.results: gr.Dataframe(visible=False),
            self.counts: "",
            **{plot: gr.BarPlot(visible=False) for plot in self.plots},
        }

    async def _results(
        self, table: Table, batch: Batch, read: Collection[str], user: str
    ) -> AsyncGenerator[Updates, None]:
        """The results: a table and charts at once, download buttons as soon as the files are written."""
        import gradio as gr
        from gradio.utils import get_upload_folder

        results = [outcome.result for outcome in batch.outcomes if outcome and outcome.result]
        if not any(batch.outcomes):
            return
        charts: list[Chart] = await asyncio.to_thread(charts_of, results)
        yield {
            self.results: gr.Dataframe(value=show.results(batch.task.name, table, batch.outcomes, read), visible=True),
            self.counts: show.counts(charts[:CHARTS]),
            **{plot: show.bars(chart) for plot, chart in zip(self.plots, charts, strict=False)},
        }
        # Gradio serves this folder; an unguessable name keeps one user's files from the others.
        folder = Path(get_upload_folder()) / "batches" / secrets.token_hex(16)
        name = Path(table.source).stem
        paths = await asyncio.to_thread(write_all, folder, name, batch.task.name, table.rows, batch.outcomes)
        for path in paths.values():
            give(path, user)
        yield {
            self.downloads: gr.Row(visible=True),
            **{self.files[kind]: gr.DownloadButton(value=str(path)) for kind, path in paths.items()},
        }


def _stop(batch: Batch | None) -> Any:
    import gradio as gr

    if batch:
        batch.cancel()
    return gr.Button(interactive=False)
