"""The task of a batch, the columns of its fields and the values that all rows share, as components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from nlptasks import NlptasksError, Task
from nlptasks.data import Table
from nlptasks.surfaces import annotation_of
from nlptasks_ui import forms
from nlptasks_ui.adapters import DEFAULT_ADAPTER, adapter_choices
from nlptasks_ui.batch import tables
from nlptasks_ui.batch.runs import Request
from nlptasks_ui.context import Context
from nlptasks_ui.events import LIGHT
from nlptasks_ui.pages.building import build_part

SHARED = "The same for all rows"
UNUSED = "No column"
"""The choices for a field without a column: a simple one gets one value for all rows, another none."""


@dataclass(frozen=True)
class _Panel:
    """The components of one task: a choice of columns and an input for each field, adapter, model and options."""

    task: Task[Any, Any, Any]
    group: Any
    columns: Mapping[str, Any]
    shared: forms.Form
    adapter: Any
    model: Any
    options: forms.Form

    @property
    def components(self) -> list[Any]:
        forms = [*self.shared.components, *self.options.components]
        return [*self.columns.values(), self.adapter, self.model, *forms]


class Mapper:
    """The second step of the page; hidden until a table has been read."""

    def __init__(self, context: Context) -> None:
        import gradio as gr

        self._context = context
        self._panels: dict[str, _Panel] = {}
        with gr.Column(visible=False) as self.area:
            self.task = gr.Dropdown(label="Task", elem_id="batch-task")
            for task in context.engine.plugins.tasks.values():
                build_part(f"the batch form of {task.name}", partial(self._add_panel, task))
        tasks = {name: context.engine.plugins.tasks[name] for name in self._panels}
        # A task with a trained head is quick: a better first guess for many rows than one that writes, or whose labels
        # are to be named.
        fixed = (name for name, task in tasks.items() if task.verb and not task.open_labels)
        first = next(fixed, next(iter(tasks), None))
        self.task.choices = [(f"{name}: {task.summary}", name) for name, task in tasks.items()]
        self.task.value = first
        if first:
            self._panels[first].group.visible = True
        self.task.change(self._choose, [self.task], [panel.group for panel in self._panels.values()], **LIGHT)
        for panel in self._panels.values():
            for name, column in panel.columns.items():
                column.change(_toggle, [column], [_component(panel.shared, name)], **LIGHT)

    def _add_panel(self, task: Task[Any, Any, Any]) -> None:
        self._panels[task.name] = _panel(self._context, task)

    @property
    def inputs(self) -> set[Any]:
        """The components that `request` reads."""
        return {self.task, *(part for panel in self._panels.values() for part in panel.components)}

    @property
    def outputs(self) -> set[Any]:
        """The components that `columns_of` sets."""
        panels = self._panels.values()
        columns = {column for panel in panels for column in panel.columns.values()}
        others = {component for panel in panels for component in (panel.adapter, *panel.shared.components)}
        return {self.area, *columns, *others}

    def columns_of(self, table: Table) -> dict[Any, Any]:
        """Offer a table's columns to every field of every task, with a guess."""
        import gradio as gr

        updates: dict[Any, Any] = {self.area: gr.Column(visible=True)}
        for panel in self._panels.values():
            # An adapter may have been trained since the app started.
            updates[panel.adapter] = gr.Dropdown(choices=adapter_choices(self._context, panel.task.name))
            guessed = tables.guess_columns(panel.task, table)
            for name, column in panel.columns.items():
                none = _no_column(panel.task, name)
                value = guessed.get(name, none)
                updates[column] = gr.Dropdown(choices=[none, *table.columns], value=value)
                updates[_component(panel.shared, name)] = gr.update(visible=value == SHARED)
        return updates

    def request(self, values: Mapping[Any, Any]) -> Request:
        """The values of the components.

        Raises:
            NlptasksError: a required field has neither column nor value, or a value is invalid.
        """
        name = values[self.task]
        panel = self._panels[name]
        chosen = {field: values[column] for field, column in panel.columns.items()}
        columns = {field: None if column in (SHARED, UNUSED) else column for field, column in chosen.items()}
        shared = panel.shared.fields([values[component] for component in panel.shared.components])
        fixed = {field: value for field, value in shared.items() if not columns[field]}
        missing = [
            field
            for field, info in panel.task.input_type.model_fields.items()
            if info.is_required() and not columns[field] and field not in fixed
        ]
        if missing or not any(columns.values()):
            wanted = " and ".join(missing) or " or ".join(panel.columns)
            raise NlptasksError(f"{name}: expected a column for {wanted}, found none: choose it above.")
        options = panel.options.fields([values[component] for component in panel.options.components])
        adapter, model = values[panel.adapter], (values[panel.model] or "").strip()
        return Request(name, columns, fixed, options, None if adapter == DEFAULT_ADAPTER else adapter, model or None)

    def _choose(self, name: str) -> list[Any]:
        import gradio as gr

        return [gr.Column(visible=name == task) for task in self._panels]


def _panel(context: Context, task: Task[Any, Any, Any]) -> _Panel:
    import gradio as gr

    with gr.Column(visible=False) as group:
        with gr.Row():
            columns = {
                name: gr.Dropdown(
                    [],
                    label=f"Column for {name.replace('_', ' ')}",
                    info=info.description,
                    elem_id=f"batch-{task.name}-{name}",
                )
                for name, info in task.input_type.model_fields.items()
            }
        shared = forms.form_of(task)
        names = forms.names_of(task)
        with gr.Accordion("Options", open=False):
            adapter = gr.Dropdown(
                adapter_choices(context, task.name), value=DEFAULT_ADAPTER, allow_custom_value=True, label="Adapter",
                info="One of yours, a folder, a Hub id, or none for the bare base.",
            )  # fmt: skip
            model = gr.Textbox(label="Model", info="A catalog name, a Hub id or a folder. Empty: the task's default.")
            others = forms.options_of(task)
    options = forms.Form([*names.entries, *others.entries])
    return _Panel(task, group, columns, shared, adapter, model, options)


def _no_column(task: Task[Any, Any, Any], name: str) -> str:
    kind, _ = annotation_of(task.input_type.model_fields[name].annotation)
    return SHARED if forms.is_simple(kind) else UNUSED


def _component(form: forms.Form, name: str) -> Any:
    return next(entry.component for entry in form.entries if entry.name == name)


def _toggle(column: str | None) -> Any:
    import gradio as gr

    return gr.update(visible=column == SHARED)
