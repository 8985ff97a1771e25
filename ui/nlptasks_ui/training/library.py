"""The adapters in the user's store: view, rename, delete, download and import."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks import AdapterError
from nlptasks.store import AdapterStore, export_adapter, import_adapter
from nlptasks.surfaces import sentence
from nlptasks_ui import html
from nlptasks_ui.amounts import megabytes
from nlptasks_ui.context import Context
from nlptasks_ui.events import of_request, tell_refusal, user_of
from nlptasks_ui.pages.files import give
from nlptasks_ui.training.uploads import named
from nlptasks_ui.views import cleaning

if TYPE_CHECKING:
    from nlptasks.store import AdapterFolder

DETECT = "Detect from the file"
"""The choice for an uploaded adapter whose manifest names its task."""

_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_id": "files"}
_SECRET = secrets.token_bytes(16)

Updates = dict[Any, Any]


class Library:
    """The components of the tab."""

    def __init__(self, context: Context) -> None:
        import gradio as gr

        self._context = context
        self.list = gr.HTML(elem_id="library-list")
        self.choice = gr.Dropdown([], value=None, label="Adapter", elem_id="library-choice")
        with gr.Column(visible=False) as self.chosen:
            with gr.Row(elem_classes="nlp-actions nlp-minor"):
                self.download = gr.DownloadButton("Download", elem_id="library-download")
                self.delete = gr.Button("Delete", elem_id="library-delete")
                self.really = gr.Button("Delete permanently", variant="stop", visible=False, elem_id="library-really")
                self.keep = gr.Button("Cancel", visible=False, elem_id="library-keep")
            with gr.Row(elem_classes="nlp-actions nlp-minor"):
                self.new_name = gr.Textbox(label="Name", show_label=False, container=False, elem_id="library-name")
                self.rename = gr.Button("Rename", elem_id="library-rename")
            self.card = gr.HTML(elem_id="library-card", elem_classes="nlp-view", max_height=560)
        self.message = gr.HTML(elem_id="library-said")
        with gr.Accordion("Upload an adapter", open=False):
            self._add_upload()

    def _add_upload(self) -> None:
        import gradio as gr

        tasks = [name for name, task in self._context.engine.plugins.tasks.items() if task.trainer]
        self.file = gr.File(
            label="A .zip file downloaded here, or of any PEFT LoRA folder", file_types=[".zip"], type="filepath",
            height=140, elem_id="library-file",
        )  # fmt: skip
        with gr.Row():
            self.task = gr.Dropdown([DETECT, *tasks], value=DETECT, label="Task", elem_id="library-task")
            self.name = gr.Textbox(label="Name", info="Leave empty to keep the adapter's own name.")
            self.labels = gr.Textbox(
                label="Label names",
                info="Comma-separated, in the order of the model's outputs. Only needed if the adapter has none.",
            )
        self.take = gr.Button("Import", elem_id="library-take")

    @property
    def outputs(self) -> list[Any]:
        """The components that `refresh` updates."""
        return [
            self.list, self.choice, self.chosen, self.download, self.delete, self.really, self.keep, self.new_name,
            self.card, self.message,
        ]  # fmt: skip

    def connect(self) -> None:
        """Connect the events of the tab."""
        import gradio as gr

        buttons = [self.delete, self.really, self.keep]
        for button, confirm in ((self.delete, True), (self.keep, False)):
            button.click(
                lambda confirm=confirm: [gr.Button(visible=visible) for visible in (not confirm, confirm, confirm)],
                None, buttons, queue=False, show_progress="hidden", api_visibility="private",
            )  # fmt: skip
        uploaded = [self.file, self.task, self.name, self.labels]
        for event in (
            self.choice.input(of_request(self.opened), self.choice, self.outputs, **_QUIET),
            self.really.click(self._handler(self._delete), self.choice, self.outputs, **_QUIET),
            self.rename.click(self._handler(self._rename), [self.choice, self.new_name], self.outputs, **_QUIET),
            self.take.click(self._handler(self._import), uploaded, self.outputs, **_QUIET),
        ):
            tell_refusal(event, self.message)

    def opened(self, chosen: str | None, request: Any) -> Updates:
        """Updates for a tab that was just opened, or another choice."""
        return self.refresh(chosen, user_of(request))

    def refresh(self, chosen: str | None, user: str, message: str = "") -> Updates:
        """The current content of the store, with the chosen adapter's card."""
        import gradio as gr

        adapters = {_key(adapter): adapter for adapter in self._store.list()}
        adapter = adapters.get(chosen or "") or next(iter(adapters.values()), None)
        updates: Updates = {
            self.list: _listed(list(adapters.values())) + _unusable(self._store.faults()),
            self.choice: gr.Dropdown(choices=list(adapters), value=_key(adapter) if adapter else None),
            self.chosen: gr.Column(visible=adapter is not None),
            self.delete: gr.Button(visible=True),
            self.really: gr.Button(visible=False),
            self.keep: gr.Button(visible=False),
            self.message: message,
        }
        if adapter:
            archive = packed(adapter)
            give(archive, user)
            updates[self.download] = gr.DownloadButton(value=str(archive))
            updates[self.new_name] = adapter.path.name
            updates[self.card] = card(adapter.path)
        return updates

    @property
    def _store(self) -> AdapterStore:
        return AdapterStore(self._context.engine.settings)

    def _handler(self, action: Callable[..., tuple[str | None, str]]) -> Callable[..., Updates]:
        """The handler of an action, which returns the adapter to show and a message; errors are shown as messages."""

        def handle(request: Any, *values: Any) -> Updates:
            try:
                chosen, message = action(*values)
            except Exception as error:
                return {self.message: html.alert(sentence(error))}
            return self.refresh(chosen, user_of(request), html.element("p", html.text(message), role="status"))

        return of_request(handle)

    def _delete(self, key: str | None) -> tuple[str | None, str]:
        task, name = _parts(key)
        self._store.remove(task, name)
        return None, f"Deleted {name}."

    def _rename(self, key: str | None, new: str) -> tuple[str | None, str]:
        task, name = _parts(key)
        new = (new or "").strip()
        if new == name:
            return key, f"The name is already {name}."
        renamed = self._store.rename(task, name, new)
        return _key(renamed), f"Renamed {name} to {new}."

    def _import(self, file: str | None, task: str, name: str, labels: str) -> tuple[str | None, str]:
        if not file:
            raise AdapterError("Choose a .zip file first.")
        engine = self._context.engine
        imported = import_adapter(
            Path(file),
            engine.settings,
            engine.plugins,
            task=None if task == DETECT else task,
            name=(name or "").strip() or None,
            labels=[label.strip() for label in labels.split(",")] if (labels or "").strip() else None,
            on_progress=self._context.loads,
        )
        notes = "".join(f" Note: {note}." for note in imported.notes)
        return _key(imported.adapter), f"Imported {imported.adapter.path.name} for {imported.task}.{notes}"


def packed(adapter: AdapterFolder) -> Path:
    """The adapter as a .zip file in a folder that Gradio serves, under an unguessable name; written once."""
    from gradio.utils import get_upload_folder

    mark = hashlib.sha256(_SECRET + repr(adapter.key).encode()).hexdigest()[:32]
    target = Path(get_upload_folder()) / "adapters" / mark / f"{adapter.path.name}.zip"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        export_adapter(adapter, target)
    return target


def _key(adapter: AdapterFolder) -> str:
    return f"{adapter.path.parent.name}/{adapter.path.name}"


def _parts(key: str | None) -> tuple[str, str]:
    task, slash, name = (key or "").partition("/")
    if not slash:
        raise AdapterError("Choose an adapter first.")
    return task, name


def _listed(adapters: Sequence[AdapterFolder]) -> str:
    if not adapters:
        return html.element("p", "No adapters yet: train one, or upload one below.", class_="nlp-note")
    rows = []
    for adapter in adapters:
        manifest = adapter.manifest
        measured = list(manifest.metrics.items())[:2] if manifest else []
        size = sum(file.stat().st_size for file in adapter.path.iterdir() if file.is_file())
        rows.append(
            (
                adapter.path.name,
                adapter.path.parent.name,
                adapter.base_id,
                ", ".join(f"{name} {value:.3f}" for name, value in measured),
                manifest.created[:10] if manifest else "",
                megabytes(size),
            )
        )
    return html.table(("Adapter", "Task", "Base model", "Metrics on held-out rows", "Created", "Size"), rows)


def _unusable(faults: Mapping[Path, str]) -> str:
    """Folders of the store that cannot be read, without their paths on this machine."""
    lines = (f"{path.parent.name}/{path.name} cannot be used: {named(fault, path)}" for path, fault in faults.items())
    return "".join(html.element("p", html.text(line), class_="nlp-note") for line in lines)


def card(adapter: Path) -> str:
    """The model card in an adapter's folder as HTML, without its YAML metadata."""
    try:
        text = (adapter / "README.md").read_text(encoding="utf-8")
    except OSError:
        return "This adapter has no model card."
    if text.startswith("---"):
        text = text.split("\n---", 1)[-1].partition("\n")[2]
    return cleaning.markdown(text, html=True)
