"""The first step of a new training: a file, its task, its columns, and what was found in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlptasks import DataError
from nlptasks.surfaces import sentence
from nlptasks.training import DataOptions, FamilyTrainer, check_data, family_trainer, layout
from nlptasks_ui import html
from nlptasks_ui.context import Context
from nlptasks_ui.events import tell_refusal
from nlptasks_ui.training import check
from nlptasks_ui.training.shelf import KINDS, MAX_BYTES, Shelf, key_of, named

FOUND = "Found by its name"
"""The choice that leaves a column to the library."""

Updates = dict[Any, Any]
Values = Mapping[Any, Any]

Then = Callable[[Updates, "Chosen | None", Values], Updates]
"""Adds updates of other components to those of a look at the data, which may be trained on or not."""

_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_id": "files"}


@dataclass(frozen=True)
class Chosen:
    """Data that was checked, and how it is read."""

    task: str
    path: Path
    options: DataOptions


class Source:
    """The components of the step; `chosen` is what the user settled on."""

    def __init__(self, context: Context, shelf: Shelf) -> None:
        import gradio as gr

        self._context, self._shelf = context, shelf
        tasks = {name: task for name, task in context.engine.plugins.tasks.items() if task.trainer}
        # A trained head needs the fewest rows and minutes: a better first guess than a task that writes.
        first = next((name for name, task in sorted(tasks.items()) if task.verb == "classify"), next(iter(tasks), None))
        self.key = gr.State("")
        with gr.Row(elem_classes="nlp-page"):
            with gr.Column(min_width=320):
                self.task = gr.Dropdown(
                    [(f"{name}: {task.summary}", name) for name, task in tasks.items()],
                    value=first, label="Task", elem_id="train-task",
                )  # fmt: skip
                self.file = gr.File(
                    label=f"Labelled rows, at most {MAX_BYTES // 10**6} MB",
                    file_types=list(KINDS), type="filepath", height=140, elem_id="train-file",
                )  # fmt: skip
                self.earlier = gr.Dropdown(
                    self._earlier(), value=None, label="Or a file from before", elem_id="train-earlier",
                )  # fmt: skip
                self._add_reading()
            with gr.Column(min_width=320):
                self.found = gr.HTML(
                    html.element("p", "What stands in the data appears here.", class_="nlp-note"),
                    elem_id="train-found", elem_classes="nlp-view", min_height=80,
                )  # fmt: skip
        self.preview = gr.Dataframe(
            label="The first rows", interactive=False, visible=False, wrap=True, max_height=240,
            elem_id="train-preview", elem_classes="nlp-rows",
        )  # fmt: skip

    def _add_reading(self) -> None:
        import gradio as gr

        with gr.Row(visible=False) as self.columns:
            self.text_column = gr.Dropdown([FOUND], value=FOUND, label="Column of the text", elem_id="train-text")
            self.label_column = gr.Dropdown([FOUND], value=FOUND, label="Column of the label", elem_id="train-label")
        with gr.Accordion("How the data is read", open=False):
            self.held_out = gr.Slider(
                0.02, 0.5, value=0.1, step=0.01, label="Share held out",
                info="Rows that are not learnt from: they choose the best weights and measure them.",
            )  # fmt: skip
            self.labels = gr.Textbox(
                label="Label names", info="Joined by commas, in the order of their numbers; empty: as in the data."
            )
            self.misaligned = gr.Checkbox(
                label="Move spans that do not stand at their offsets, even if more than 1 % are so"
            )

    def connect(self, others: list[Any], then: Then) -> None:
        """Connect the events; `then` adds updates of `others` whenever the data was looked at."""
        reading = {
            self.key, self.task, self.text_column, self.label_column, self.held_out, self.labels, self.misaligned
        }  # fmt: skip
        shown = [
            self.key, self.earlier, self.columns, self.text_column, self.label_column, self.found, self.preview, *others
        ]  # fmt: skip

        def upload(values: Values) -> Updates:
            try:
                path = self._shelf.keep(Path(values[self.file]))
            except (DataError, OSError) as error:
                return then(self._nothing(html.alert(sentence(error))), None, values)
            return look({**values, self.key: key_of(path)}, anew=True)

        def earlier(values: Values) -> Updates:
            return look({**values, self.key: values[self.earlier] or ""}, anew=True)

        def again(values: Values) -> Updates:
            return look(values, anew=False)

        def other_task(values: Values) -> Updates:
            return look(values, anew=True)

        def look(values: Values, *, anew: bool) -> Updates:
            updates, chosen = self._look(values, anew=anew)
            return then(updates, chosen, values)

        more = reading | set(others)
        events = [
            self.file.upload(upload, more | {self.file}, shown, **_QUIET),
            self.file.clear(lambda _: then(self._nothing(), None, {}), {self.key}, shown, **_QUIET),
            self.earlier.input(earlier, more | {self.earlier}, shown, **_QUIET),
            self.task.change(other_task, more, shown, **_QUIET),
            self.held_out.release(again, more, shown, **_QUIET),
            self.labels.blur(again, more, shown, **_QUIET),
            *(c.input(again, more, shown, **_QUIET) for c in (self.text_column, self.label_column, self.misaligned)),
        ]
        for event in events:
            tell_refusal(event, self.found)

    def chosen(self, values: Values) -> Chosen:
        """What the components say.

        Raises:
            DataError: there is no file, or it is not there any more.
        """
        if not values[self.key]:
            raise DataError("Choose a file with labelled rows first.")
        labels = tuple(name.strip() for name in (values[self.labels] or "").split(",") if name.strip())
        options = DataOptions(
            text_column=_named(values[self.text_column]),
            label_column=_named(values[self.label_column]),
            labels=labels or None,
            held_out=values[self.held_out],
            allow_misaligned=values[self.misaligned],
        )
        return Chosen(values[self.task], self._shelf.find(values[self.key]), options)

    def refreshed(self) -> Any:
        """The files that there are now."""
        import gradio as gr

        return gr.Dropdown(choices=self._earlier())

    def _look(self, values: Values, *, anew: bool) -> tuple[Updates, Chosen | None]:
        """Read the data; `anew` forgets the columns, which were another file's or another task's."""
        import gradio as gr

        if not values[self.key]:
            return self._nothing(), None
        if anew:
            values = {**values, self.text_column: FOUND, self.label_column: FOUND}
        try:
            picked = self.chosen(values)
        except DataError as error:
            return self._nothing(html.alert(sentence(error))), None
        updates: Updates = {
            self.key: values[self.key],
            self.earlier: gr.Dropdown(choices=self._earlier(), value=values[self.key]),
        }
        chosen = None
        try:
            family = family_trainer(self._context.engine.plugins.task(picked.task))
            updates |= self._columns(family, picked, anew=anew)
            found = check_data(family, [str(picked.path)], picked.options, offline=True)
            said, chosen = check.told(found, picked.options.held_out), picked
        except DataError as error:
            said = check.faults(error)
        except Exception as error:
            said = html.alert(sentence(error))
        updates[self.found] = named(said, picked.path)
        return updates, chosen

    def _columns(self, family: FamilyTrainer, picked: Chosen, *, anew: bool) -> Updates:
        import gradio as gr

        found = layout(family, str(picked.path), picked.options, offline=True)
        updates: Updates = {self.preview: gr.Dataframe(value=check.preview(found), visible=True)}
        if not anew:
            return updates
        by_name = family.columns(("text", "label"), DataOptions()) != (None, None)
        updates[self.columns] = gr.Row(visible=by_name)
        # What the library found is shown as chosen, so that a wrong guess is seen.
        for component, column in ((self.text_column, found.text_column), (self.label_column, found.label_column)):
            updates[component] = gr.Dropdown(choices=[FOUND, *found.columns], value=column or FOUND)
        return updates

    def _nothing(self, why: str = "") -> Updates:
        import gradio as gr

        return {
            self.key: "",
            self.found: why,
            self.columns: gr.Row(visible=False),
            self.preview: gr.Dataframe(visible=False),
        }

    def _earlier(self) -> list[tuple[str, str]]:
        return [(f"{path.name}, {path.stat().st_size / 1000:,.0f} kB", key_of(path)) for path in self._shelf.list()]


def _named(column: str | None) -> str | None:
    return None if column in (None, FOUND) else column
