"""The finished rows of a run as a file, written when it is asked for."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks import NlptasksError
from nlptasks.batches import OUTPUTS, PartTable, answer_columns, finished_files, write_csv
from nlptasks.surfaces import sentence
from nlptasks_ui import html
from nlptasks_ui.batch.runs import Run, Runs
from nlptasks_ui.events import of_request, tell_refusal, user_of
from nlptasks_ui.pages.files import give

if TYPE_CHECKING:
    from nlptasks import Engine

_TITLES = {".csv": "CSV", ".jsonl": "JSONL", ".xlsx": "Excel", ".parquet": "Parquet"}

_DOWNLOAD = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name ?? "";
  link.click();
}"""


class Downloads:
    """A button for each format of `nlptasks.batches`."""

    def __init__(self, engine: Engine, runs: Runs) -> None:
        import gradio as gr

        self._engine, self._runs = engine, runs
        with gr.Row(elem_classes="nlp-actions nlp-minor"):
            self.buttons = {
                ending: gr.Button(f"Download {_TITLES.get(ending, ending)}", size="sm", elem_id=f"batch-{ending[1:]}")
                for ending in OUTPUTS
            }
        self.file = gr.DownloadButton(visible=False)

    def connect(self, run: Any, message: Any) -> None:
        """Let each button write the finished rows of the chosen run, and then download them."""
        for ending, button in self.buttons.items():
            written = button.click(
                self._handler(ending), run, [self.file, message], concurrency_id="files",
                show_progress="minimal", show_progress_on=message, api_visibility="private",
            )  # fmt: skip
            tell_refusal(written, message)
            written.success(None, self.file, None, js=_DOWNLOAD, api_visibility="private")

    def _handler(self, ending: str) -> Callable[..., Any]:
        def handle(id: str | None, request: Any) -> Any:
            import gradio as gr

            user = user_of(request)
            try:
                path = self._write(self._runs.find(id, user), ending)
            except (NlptasksError, OSError) as error:
                return gr.DownloadButton(value=None), html.alert(sentence(error))
            give(path, user)
            return gr.DownloadButton(value=str(path)), ""

        return of_request(handle)

    def _write(self, run: Run, ending: str) -> Path:
        """Write the finished rows for download."""
        from gradio.utils import get_upload_folder

        task = self._engine.plugins.task(run.request.task)
        # Gradio serves this folder; an unguessable name keeps one user's files from the others.
        folder = Path(get_upload_folder()) / "batches" / secrets.token_hex(16)
        folder.mkdir(parents=True)
        path = folder / f"{run.name.partition('.')[0]}-{run.request.task}{ending}"
        table = PartTable(finished_files(run.output), {column.name: column.kind for column in answer_columns(task)})
        with path.open("wb") as stream:
            if ending == ".csv":
                write_csv(stream, table, spreadsheet=True)
            else:
                OUTPUTS[ending](stream, table)
        return path
