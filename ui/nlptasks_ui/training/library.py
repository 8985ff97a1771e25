"""The adapters in the user's store: their cards, and how they get other names, leave and arrive."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks import AdapterError
from nlptasks.exchange import export_adapter, import_adapter
from nlptasks.store.adapter_store import AdapterStore
from nlptasks_ui import html
from nlptasks_ui.amounts import megabytes
from nlptasks_ui.context import Context
from nlptasks_ui.errors import sentence
from nlptasks_ui.events import tell_refusal

if TYPE_CHECKING:
    from nlptasks.store.adapters import AdapterFolder

SAID = "As it says itself"
"""The task of an uploaded adapter that nlptasks has trained."""

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
                self.really = gr.Button("Delete it for good", variant="stop", visible=False, elem_id="library-really")
                self.keep = gr.Button("Keep it", visible=False, elem_id="library-keep")
            with gr.Row(elem_classes="nlp-actions nlp-minor"):
                self.new_name = gr.Textbox(label="Name", show_label=False, container=False, elem_id="library-name")
                self.rename = gr.Button("Rename", elem_id="library-rename")
            self.card = gr.Markdown(elem_id="library-card", elem_classes="nlp-view", max_height=560)
        self.said = gr.HTML(elem_id="library-said")
        with gr.Accordion("Upload an adapter", open=False):
            self._add_upload()

    def _add_upload(self) -> None:
        import gradio as gr

        tasks = [name for name, task in self._context.engine.plugins.tasks.items() if task.trainer]
        self.file = gr.File(
            label="A .zip that was downloaded here, or of any LoRA folder of PEFT", file_types=[".zip"],
            type="filepath", height=140, elem_id="library-file",
        )  # fmt: skip
        with gr.Row():
            self.task = gr.Dropdown([SAID, *tasks], value=SAID, label="Task", elem_id="library-task")
            self.name = gr.Textbox(label="Name", info="Empty: its own.")
            self.labels = gr.Textbox(
                label="Label names", info="Joined by commas, in their order, where the adapter does not say them."
            )
        self.take = gr.Button("Put it into the store", elem_id="library-take")

    @property
    def outputs(self) -> list[Any]:
        """The components that a look at the store updates."""
        return [
            self.list, self.choice, self.chosen, self.download, self.delete, self.really, self.keep, self.new_name,
            self.card, self.said,
        ]  # fmt: skip

    def connect(self) -> None:
        """Connect the events of the tab."""
        import gradio as gr

        sure = [self.delete, self.really, self.keep]
        for button, asking in ((self.delete, True), (self.keep, False)):
            button.click(
                lambda asking=asking: [gr.Button(visible=visible) for visible in (not asking, asking, asking)],
                None, sure, queue=False, show_progress="hidden", api_visibility="private",
            )  # fmt: skip
        uploaded = [self.file, self.task, self.name, self.labels]
        for event in (
            self.choice.input(self.look, self.choice, self.outputs, **_QUIET),
            self.really.click(self._telling(self._delete), self.choice, self.outputs, **_QUIET),
            self.rename.click(self._telling(self._rename), [self.choice, self.new_name], self.outputs, **_QUIET),
            self.take.click(self._telling(self._import), uploaded, self.outputs, **_QUIET),
        ):
            tell_refusal(event, self.said)

    def look(self, chosen: str | None = None, said: str = "") -> Updates:
        """The store as it is now, with the chosen adapter's card."""
        import gradio as gr

        adapters = {_key(adapter): adapter for adapter in self._store.list()}
        adapter = adapters.get(chosen or "") or next(iter(adapters.values()), None)
        updates: Updates = {
            self.list: _listed(list(adapters.values())),
            self.choice: gr.Dropdown(choices=list(adapters), value=_key(adapter) if adapter else None),
            self.chosen: gr.Column(visible=adapter is not None),
            self.delete: gr.Button(visible=True),
            self.really: gr.Button(visible=False),
            self.keep: gr.Button(visible=False),
            self.said: said,
        }
        if adapter:
            updates[self.download] = gr.DownloadButton(value=str(packed(adapter)))
            updates[self.new_name] = adapter.path.name
            updates[self.card] = _card(adapter)
        return updates

    @property
    def _store(self) -> AdapterStore:
        return AdapterStore(self._context.engine.settings)

    def _telling(self, act: Callable[..., tuple[str | None, str]]) -> Callable[..., Updates]:
        """An action that gives the adapter to show and what to say; what is wrong is said instead."""

        def do(*values: Any) -> Updates:
            try:
                chosen, said = act(*values)
            except Exception as error:
                return {self.said: html.alert(sentence(error))}
            return self.look(chosen, html.element("p", html.text(said), role="status"))

        return do

    def _delete(self, key: str | None) -> tuple[str | None, str]:
        task, name = _parts(key)
        self._store.remove(task, name)
        return None, f"{name} is deleted."

    def _rename(self, key: str | None, new: str) -> tuple[str | None, str]:
        task, name = _parts(key)
        new = (new or "").strip()
        if new == name:
            return key, f"{name} has this name already."
        renamed = self._store.rename(task, name, new)
        return _key(renamed), f"{name} is {new} now."

    def _import(self, file: str | None, task: str, name: str, labels: str) -> tuple[str | None, str]:
        if not file:
            raise AdapterError("Choose a .zip first.")
        engine = self._context.engine
        done = import_adapter(
            Path(file),
            engine.settings,
            engine.plugins,
            task=None if task == SAID else task,
            name=(name or "").strip() or None,
            labels=[label.strip() for label in labels.split(",")] if (labels or "").strip() else None,
            on_progress=self._context.loads,
        )
        notes = "".join(f" Note: {note}." for note in done.notes)
        return _key(done.adapter), f"{done.adapter.path.name} is in your store, for {done.task}.{notes}"


def packed(adapter: AdapterFolder) -> Path:
    """The adapter as one .zip in a folder that the app serves from, under a name that nobody can guess; made once."""
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
        return html.element("p", "No adapter yet: train one, or upload one below.", class_="nlp-note")
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
    return html.table(("Adapter", "Task", "Base", "On held-out rows", "Made", "Size"), rows)


def _card(adapter: AdapterFolder) -> str:
    """The model card's text, without its head for machines."""
    try:
        text = (adapter.path / "README.md").read_text(encoding="utf-8")
    except OSError:
        return "This adapter has no card."
    if text.startswith("---"):
        text = text.split("\n---", 1)[-1].partition("\n")[2]
    return text.strip()
