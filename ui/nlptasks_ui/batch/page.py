"""The batch page: rows in, a task and its columns, a run that can be stopped, files and charts out."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from nlptasks import NlptasksError
from nlptasks.data import Table
from nlptasks_ui import html
from nlptasks_ui.batch import show, tables
from nlptasks_ui.batch.charts import Chart, charts_of
from nlptasks_ui.batch.export import write_all
from nlptasks_ui.batch.mapping import Mapper
from nlptasks_ui.batch.run import Batch
from nlptasks_ui.context import MODEL_QUEUE, Context
from nlptasks_ui.errors import sentence
from nlptasks_ui.events import LIGHT, tell_refusal
from nlptasks_ui.loads import waiting_for

CHARTS = 4
"""The most charts that results have."""

_KINDS = {"csv": "CSV", "jsonl": "JSONL", "xlsx": "Excel"}
_FORGET = 3600
"""Seconds after which an abandoned page's rows and results leave memory."""

Updates = dict[Any, Any]


def build(context: Context) -> None:
    """Add the page to the Blocks that is open."""
    _Page(context)


class _Page:
    """The page's components, and what happens between them."""

    def __init__(self, context: Context) -> None:
        import gradio as gr

        self._context = context
        self.table = gr.State(None, time_to_live=_FORGET)
        self.batch = gr.State(None, time_to_live=_FORGET)
        self._add_source()
        self.mapper = Mapper(context)
        self._add_run()
        self._add_results()
        self._connect()

    def _add_source(self) -> None:
        import gradio as gr

        with gr.Tab("File"):
            self.file = gr.File(
                label=f"Rows: {', '.join(tables.KINDS)}, at most {tables.MAX_BYTES // 10**6} MB",
                file_types=list(tables.KINDS), type="filepath", height=140, elem_id="batch-file",
            )  # fmt: skip
        with gr.Tab("Pasted lines"):
            self.lines = gr.Textbox(label="One text a line", lines=6, max_lines=12, elem_id="batch-lines")
            self.take = gr.Button("Use these lines", elem_id="batch-take")
        self.found = gr.HTML(elem_id="batch-found")
        self.preview = gr.Dataframe(
            label=f"The first {show.FIRST} rows", interactive=False, visible=False, wrap=True, max_height=280,
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
            label=f"The first {show.FIRST} results",
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
        reading = [self.table, self.found, self.preview, self.run, *self.mapper.outputs]
        files: dict[str, Any] = {"concurrency_id": "files", "api_visibility": "private"}
        self.file.change(self._read_file, [self.file], reading, **files)
        self.take.click(self._read_lines, [self.lines], reading, **files)
        shown = [self.batch, self.run, self.stop, self.progress, self.downloads, *self.files.values()]
        asked = self.run.click(
            self._compute, {self.table, *self.mapper.inputs}, [*shown, self.results, *self.plots, self.counts],
            concurrency_id=MODEL_QUEUE, show_progress="minimal", show_progress_on=self.progress,
            api_visibility="private",
        )  # fmt: skip
        tell_refusal(asked, self.progress)
        self.stop.click(_stop, [self.batch], [self.stop], **LIGHT)

    def _read_file(self, path: str | None) -> Updates:
        return self._taken(tables.read_file, Path(path)) if path else self._nothing()

    def _read_lines(self, text: str) -> Updates:
        return self._taken(tables.read_lines, text)

    def _taken(self, reader: Callable[[Any], Table], source: Any) -> Updates:
        import gradio as gr

        try:
            table = reader(source)
        except NlptasksError as error:
            # Not `sentence`, which would write a file's name with a capital.
            return self._nothing(html.alert(" ".join(str(error).split())))
        return {
            self.table: table,
            self.found: show.found(table),
            self.preview: gr.Dataframe(value=show.preview(table), visible=True),
            self.run: gr.Button(interactive=True),
            **self.mapper.columns_of(table),
        }

    def _nothing(self, why: str = "") -> Updates:
        import gradio as gr

        return {
            self.table: None,
            self.found: why,
            self.preview: gr.Dataframe(visible=False),
            self.run: gr.Button(interactive=False),
            self.mapper.area: gr.Column(visible=False),
        }

    async def _compute(self, values: Mapping[Any, Any]) -> AsyncGenerator[Updates, None]:
        """Run the batch, telling its progress; closing this generator ends the computation."""
        import gradio as gr

        table: Table = values[self.table]
        engine = self._context.engine
        try:
            asked = self.mapper.request(values)
            inputs = tables.inputs_of(table, asked.columns, asked.fixed)
            batch = Batch(engine, asked.task, inputs, adapter=asked.adapter, model=asked.model, options=asked.options)
            waits = waiting_for(engine, asked.task, asked.adapter, asked.model)
        except NlptasksError as error:
            yield {self.progress: html.alert(sentence(error))}
            return
        yield {self.batch: batch, **self._started()}
        async with aclosing(batch.run()) as steps:
            async for step in steps:
                loading = waits and step.done == step.failed
                news = self._context.loads.line() or f"Loading the base model {waits}"
                yield {self.progress: show.progress(step, news if loading else "")}
        yield {
            self.run: gr.Button(interactive=True),
            self.stop: gr.Button(interactive=False),
            self.progress: show.ended(batch),
        }
        async with aclosing(self._results(table, batch, asked.columns.values())) as parts:
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

    async def _results(self, table: Table, batch: Batch, read: Collection[str]) -> AsyncGenerator[Updates, None]:
        """What was reached: a table and charts at once, files as soon as they are written."""
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
        # The folder that the app serves from; a name that nobody can guess keeps the files of users apart.
        folder = Path(get_upload_folder()) / "batches" / secrets.token_hex(16)
        name = Path(table.source).stem
        paths = await asyncio.to_thread(write_all, folder, name, batch.task.name, table.rows, batch.outcomes)
        yield {
            self.downloads: gr.Row(visible=True),
            **{self.files[kind]: gr.DownloadButton(value=str(path)) for kind, path in paths.items()},
        }


def _stop(batch: Batch | None) -> Any:
    import gradio as gr

    if batch:
        batch.cancel()
    return gr.Button(interactive=False)
