"""The first step of a new training: a file, its task, its columns, and a summary of its content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nlptasks import DataError
from nlptasks.surfaces import sentence
from nlptasks.training import DataOptions, FamilyTrainer, check_data, family_trainer, layout
from nlptasks_ui import html
from nlptasks_ui.context import Context
from nlptasks_ui.events import LIGHT, of_request, tell_refusal, user_of
from nlptasks_ui.training import check
from nlptasks_ui.training.jobs import Trainings
from nlptasks_ui.training.uploads import KINDS, MAX_BYTES, Uploads, key_of, named

DETECT = "Detect by name"
"""The choice that lets the library find a column."""

Updates = dict[Any, Any]
Values = Mapping[Any, Any]

Then = Callable[[Updates, "Chosen | None", Values], Updates]
"""Adds updates of other components to those of a check of the data, which passed or not."""

_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_id": "files"}


@dataclass(frozen=True)
class Chosen:
    """Checked data, and how it is read."""

    task: str
    path: Path
    options: DataOptions


class Source:
    """The components of the step; `chosen` is the user's choice."""

    def __init__(self, context: Context, trainings: Trainings) -> None:
        import gradio as gr

        self._context, self._uploads, self._trainings = context, Uploads(context.runs), trainings
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
                    [], value=None, label="Or a file uploaded earlier", elem_id="train-earlier",
                    info="Data files are kept until you delete them.",
                )  # fmt: skip
                with gr.Row(elem_classes="nlp-actions nlp-minor"):
                    self.delete = gr.Button("Delete this file", visible=False, elem_id="train-delete")
                    self.really = gr.Button(
                        "Delete permanently", variant="stop", visible=False, elem_id="train-really"
                    )  # fmt: skip
                    self.keep = gr.Button("Cancel", visible=False, elem_id="train-keep")
                self._add_reading()
            with gr.Column(min_width=320):
                self.summary = gr.HTML(
                    html.element("p", "A summary of the data appears here.", class_="nlp-note"),
                    elem_id="train-found", elem_classes="nlp-view", min_height=80,
                )  # fmt: skip
        self.preview = gr.Dataframe(
            label="The first rows", interactive=False, visible=False, wrap=True, max_height=240,
            elem_id="train-preview", elem_classes="nlp-rows",
        )  # fmt: skip

    def _add_reading(self) -> None:
        import gradio as gr

        with gr.Row(visible=False) as self.columns:
            self.text_column = gr.Dropdown([DETECT], value=DETECT, label="Text column", elem_id="train-text")
            self.label_column = gr.Dropdown([DETECT], value=DETECT, label="Label column", elem_id="train-label")
        with gr.Accordion("How the data is read", open=False):
            self.held_out = gr.Slider(
                0.02, 0.5, value=0.1, step=0.01, label="Share held out",
                info="Rows kept out of training, to select the best weights and to measure them.",
            )  # fmt: skip
            self.labels = gr.Textbox(
                label="Label names", info="Comma-separated, in the order of their numbers. Empty: as in the data."
            )
            self.misaligned = gr.Checkbox(
                label="Move spans whose text is not at their offsets, even if more than 1 % are wrong"
            )

    def connect(self, others: list[Any], then: Then) -> None:
        """Connect the events; `then` adds updates of `others` after each check of the data."""
        reading = {
            self.key, self.task, self.text_column, self.label_column, self.held_out, self.labels, self.misaligned
        }  # fmt: skip
        outputs = [
            self.key, self.earlier, self.columns, self.text_column, self.label_column, self.summary, self.preview,
            *self._deleting, *others,
        ]  # fmt: skip

        def upload(values: Values, request: Any) -> Updates:
            try:
                path = self._uploads.of(user_of(request)).store(Path(values[self.file]))
            except (DataError, OSError) as error:
                return then(self._nothing(html.alert(sentence(error))), None, values)
            return look({**values, self.key: key_of(path)}, request, anew=True)

        def earlier(values: Values, request: Any) -> Updates:
            return look({**values, self.key: values[self.earlier] or ""}, request, anew=True)

        def again(values: Values, request: Any) -> Updates:
            return look(values, request, anew=False)

        def other_task(values: Values, request: Any) -> Updates:
            return look(values, request, anew=True)

        def look(values: Values, request: Any, *, anew: bool) -> Updates:
            updates, chosen = self._look(values, user_of(request), anew=anew)
            return then(updates, chosen, values)

        def delete(values: Values, request: Any) -> Updates:
            updates, deleted = self._delete(values[self.key], user_of(request))
            return then(updates, None, values) if deleted else updates

        for handler in (upload, earlier, again, other_task, delete):
            of_request(handler)
        for button, confirm in ((self.delete, True), (self.keep, False)):
            button.click(partial(self._confirm, confirm), None, self._deleting, **LIGHT)
        more = reading | set(others)
        events = [
            self.file.upload(upload, more | {self.file}, outputs, **_QUIET),
            self.really.click(delete, more, [*outputs, self.file], **_QUIET),
            self.file.clear(lambda _: then(self._nothing(), None, {}), {self.key}, outputs, **_QUIET),
            self.earlier.input(earlier, more | {self.earlier}, outputs, **_QUIET),
            self.task.change(other_task, more, outputs, **_QUIET),
            self.held_out.release(again, more, outputs, **_QUIET),
            self.labels.blur(again, more, outputs, **_QUIET),
            *(c.input(again, more, outputs, **_QUIET) for c in (self.text_column, self.label_column, self.misaligned)),
        ]
        for event in events:
            tell_refusal(event, self.summary)

    @property
    def _deleting(self) -> list[Any]:
        return [self.delete, self.really, self.keep]

    def _confirm(self, confirm: bool, enabled: bool = True) -> list[Any]:
        """The buttons for deleting the file: the first, or the two that confirm."""
        import gradio as gr

        return [gr.Button(visible=enabled and visible) for visible in (not confirm, confirm, confirm)]

    def _delete(self, key: str, user: str) -> tuple[Updates, bool]:
        """Delete a file, unless a training reads it."""
        import gradio as gr

        uploads = self._uploads.of(user)
        try:
            path = uploads.find(key)
            job = self._trainings.of(user).using(path)
            if job:
                raise DataError(f"The training of {job.plan.name!r} reads this file: stop it first, or wait.")
            uploads.delete(key)
        except (DataError, OSError) as error:
            return {self.summary: html.alert(named(sentence(error), key))}, False
        words = html.element("p", html.text(f"Deleted {path.name}."), role="status")
        updates = {**self._nothing(words), self.file: None}
        return {**updates, self.earlier: gr.Dropdown(choices=self._earlier(user), value=None)}, True

    def chosen(self, values: Values, user: str) -> Chosen:
        """The values of the components.

        Raises:
            DataError: no file is chosen, or it no longer exists.
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
        return Chosen(values[self.task], self._uploads.of(user).find(values[self.key]), options)

    def refreshed(self, user: str) -> Any:
        """The user's files that exist now."""
        import gradio as gr

        return gr.Dropdown(choices=self._earlier(user))

    def _look(self, values: Values, user: str, *, anew: bool) -> tuple[Updates, Chosen | None]:
        """Check the data; `anew` resets the columns, which were those of another file or task."""
        import gradio as gr

        if not values[self.key]:
            return self._nothing(), None
        if anew:
            values = {**values, self.text_column: DETECT, self.label_column: DETECT}
        try:
            picked = self.chosen(values, user)
        except DataError as error:
            return self._nothing(html.alert(sentence(error))), None
        updates: Updates = {
            self.key: values[self.key],
            self.earlier: gr.Dropdown(choices=self._earlier(user), value=values[self.key]),
            **dict(zip(self._deleting, self._confirm(False), strict=True)),
        }
        chosen = None
        try:
            family = family_trainer(self._context.engine.plugins.task(picked.task))
            updates |= self._columns(family, picked, anew=anew)
            data = check_data(family, [str(picked.path)], picked.options, offline=True)
            message, chosen = check.summary(data, picked.options.held_out), picked
        except DataError as error:
            message = check.faults(error)
        except Exception as error:
            message = html.alert(sentence(error))
        updates[self.summary] = named(message, picked.path)
        return updates, chosen

    def _columns(self, family: FamilyTrainer, picked: Chosen, *, anew: bool) -> Updates:
        import gradio as gr

        columns = layout(family, str(picked.path), picked.options, offline=True)
        updates: Updates = {self.preview: gr.Dataframe(value=check.preview(columns), visible=True)}
        if not anew:
            return updates
        by_name = family.columns(("text", "label"), DataOptions()) != (None, None)
        updates[self.columns] = gr.Row(visible=by_name)
        # The detected columns are preselected, so that the user sees a wrong guess.
        for component, column in ((self.text_column, columns.text_column), (self.label_column, columns.label_column)):
            updates[component] = gr.Dropdown(choices=[DETECT, *columns.columns], value=column or DETECT)
        return updates

    def _nothing(self, why: str = "") -> Updates:
        import gradio as gr

        return {
            self.key: "",
            self.summary: why,
            self.columns: gr.Row(visible=False),
            self.preview: gr.Dataframe(visible=False),
            **dict(zip(self._deleting, self._confirm(False, enabled=False), strict=True)),
        }

    def _earlier(self, user: str) -> list[tuple[str, str]]:
        files = self._uploads.of(user).list()
        return [(f"{path.name}, {path.stat().st_size / 1000:,.0f} kB", key_of(path)) for path in files]


def _named(column: str | None) -> str | None:
    return None if column in (None, DETECT) else column
