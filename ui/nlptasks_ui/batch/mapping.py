"""Which task, which column is which of its fields, and what all rows share: the components, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nlptasks import NlptasksError, Task
from nlptasks.engine import NO_ADAPTER
from nlptasks.runtime.store import AdapterStore
from nlptasks.training.records import Table
from nlptasks_ui import forms
from nlptasks_ui.batch import tables
from nlptasks_ui.context import Context

SHARED = "The same for all rows"
"""The choice of a field that comes from no column."""

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True)
class Request:
    """What a batch is asked to do with each row."""

    task: str
    columns: Mapping[str, str]
    fixed: Mapping[str, Any]
    options: Mapping[str, Any]
    adapter: str | None


@dataclass
class _Panel:
    """The components of one task: a list of columns for each field, the field's own component, the options."""

    task: Task[Any, Any, Any]
    group: Any
    columns: dict[str, Any] = field(default_factory=dict)
    shared: forms.Form = field(default_factory=lambda: forms.Form(()))
    options: forms.Form = field(default_factory=lambda: forms.Form(()))

    @property
    def components(self) -> list[Any]:
        return [*self.columns.values(), *self.shared.components, *self.options.components]


class Mapper:
    """The second step of the page. It shows itself when a table was read."""

    def __init__(self, context: Context) -> None:
        import gradio as gr

        self._context = context
        tasks = context.engine.plugins.tasks
        first = next(iter(tasks), None)
        with gr.Column(visible=False) as self.area:
            with gr.Row():
                self.task = gr.Dropdown(
                    [(f"{name}: {task.summary}", name) for name, task in tasks.items()],
                    value=first, label="Task", scale=2, elem_id="batch-task",
                )  # fmt: skip
                self.adapter = gr.Dropdown(
                    self._adapters(first), value="", label="Adapter", info="Who answers.", elem_id="batch-adapter"
                )
            self._panels = {name: _panel(task, visible=name == first) for name, task in tasks.items()}
        self.task.change(
            self._choose, [self.task], [self.adapter, *(panel.group for panel in self._panels.values())], **_QUIET
        )
        for panel in self._panels.values():
            for name, column in panel.columns.items():
                own = _component(panel.shared, name)
                column.change(_toggle, [column], [own], **_QUIET)

    @property
    def inputs(self) -> set[Any]:
        """The components that `request` reads."""
        return {self.task, self.adapter, *(part for panel in self._panels.values() for part in panel.components)}

    @property
    def outputs(self) -> set[Any]:
        """The components that `columns_of` sets."""
        panels = self._panels.values()
        columns = {column for panel in panels for column in panel.columns.values()}
        return {self.area, *columns, *(component for panel in panels for component in panel.shared.components)}

    def columns_of(self, table: Table) -> dict[Any, Any]:
        """Offer a table's columns to every field of every task, with a guess."""
        import gradio as gr

        updates: dict[Any, Any] = {self.area: gr.Column(visible=True)}
        for panel in self._panels.values():
            guessed = tables.guess_columns(panel.task, table)
            for name, column in panel.columns.items():
                value = guessed.get(name, SHARED)
                updates[column] = gr.Dropdown(choices=[SHARED, *table.columns], value=value)
                updates[_component(panel.shared, name)] = gr.update(visible=value == SHARED)
        return updates

    def request(self, values: Mapping[Any, Any]) -> Request:
        """What the components say.

        Raises:
            NlptasksError: a field that the task needs has no column and no value, or a value cannot be read.
        """
        name = values[self.task]
        panel = self._panels[name]
        columns = {field: values[c] for field, c in panel.columns.items() if values[c] and values[c] != SHARED}
        given = panel.shared.fields([values[component] for component in panel.shared.components])
        fixed = {field: value for field, value in given.items() if field not in columns}
        missing = [
            field
            for field, info in panel.task.input_type.model_fields.items()
            if info.is_required() and field not in columns and field not in fixed
        ]
        if missing or not columns:
            wanted = " and ".join(missing) or " or ".join(panel.columns)
            raise NlptasksError(f"{name}: expected a column for {wanted}, found none: choose it above.")
        options = panel.options.fields([values[component] for component in panel.options.components])
        return Request(name, columns, fixed, options, values[self.adapter] or None)

    def _choose(self, name: str) -> list[Any]:
        import gradio as gr

        groups = [gr.update(visible=name == task) for task in self._panels]
        return [gr.Dropdown(choices=self._adapters(name), value=""), *groups]

    def _adapters(self, name: str | None) -> list[tuple[str, str]]:
        own = AdapterStore(self._context.engine.settings).names(name) if name else []
        return [("the task's own", ""), *((adapter, adapter) for adapter in own), ("none, the bare base", NO_ADAPTER)]


def _panel(task: Task[Any, Any, Any], *, visible: bool) -> _Panel:
    import gradio as gr

    with gr.Column(visible=visible) as group:
        panel = _Panel(task, group)
        with gr.Row():
            for name, info in task.input_type.model_fields.items():
                panel.columns[name] = gr.Dropdown(
                    [SHARED], value=SHARED, label=f"Column for {name.replace('_', ' ')}", info=info.description,
                    elem_id=f"batch-{task.name}-{name}",
                )  # fmt: skip
        panel.shared = forms.form_of(task)
        if task.options_type.model_fields:
            with gr.Accordion("Options", open=False):
                panel.options = forms.options_of(task)
    return panel


def _component(form: forms.Form, name: str) -> Any:
    return next(entry.component for entry in form.entries if entry.name == name)


def _toggle(column: str | None) -> Any:
    import gradio as gr

    return gr.update(visible=column == SHARED)
