"""The second step of a new training: how to train, with the task's own recipe as what stands there at first."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from nlptasks import InvalidInputError, Recipe, Task
from nlptasks.store.adapter_store import AdapterStore
from nlptasks.store.catalog import CATALOG
from nlptasks.training.families.base import family_trainer
from nlptasks.training.start import SHIPPED
from nlptasks_ui.context import Context

FRESH = "Fresh weights"

MAIN = {
    "base": ("Base model", "A catalog name, a Hub id or a folder."),
    "start": ("Goes on from", "An adapter whose weights are learnt on; of the same base, rank and labels."),
    "epochs": ("Epochs", "Passes over the rows; may be a fraction."),
    "lr": ("Learning rate", "Its peak; it rises at first and then falls in a line to 0."),
    "batch_size": ("Rows in a batch", "Fewer need less memory."),
    "max_length": ("Tokens of a text", "Longer texts are cut in training, and read in windows later."),
}
MORE = {
    "method": ("Method", "An adapter (LoRA), or all weights of the base: a copy of it as large as itself."),
    "r": ("Rank", "Of the LoRA factors: higher learns more and is larger."),
    "alpha": ("Alpha", "LoRA is scaled by alpha / rank."),
    "dropout": ("Dropout", "Before the LoRA factors."),
    "warmup": ("Warmup", "Share of all steps in which the learning rate rises."),
    "weight_decay": ("Weight decay", "AdamW's."),
    "label_smoothing": ("Label smoothing", "Share of the target that goes to the other labels."),
    "accumulate": ("Batches in a step", "More give the effect of larger batches without their memory."),
    "average": ("Average of weights", "Its decay, for example 0.998; 0 is off."),
    "metric": ("Metric of the best", "The weights that are best in it are kept."),
    "evals_per_epoch": ("Measurements in an epoch", "Each one also writes a checkpoint."),
    "patience": ("Patience", "Stop after so many measurements without a better one; 0 never stops early."),
    "seed": ("Seed", "Of the split, the order and the new layers."),
    "dtype": ("Numbers", "Of the forward pass; the weights stay float32."),
    "probe_lr": ("Try three learning rates first", "A third, the rate and thrice it, in short runs; the best trains."),
}
LABELS = {**MAIN, **MORE}

_IN_A_ROW = 3
_NAMES = ("base", "start", "metric")
"""Settings that are chosen from names which depend on the task."""

Values = Mapping[Any, Any]


class RecipeForm:
    """A component for each setting, and a text for all others."""

    def __init__(self, context: Context, task: str | None) -> None:
        import gradio as gr

        self._context = context
        shown = self._task(task).recipe if task else Recipe()
        with gr.Row():
            self.name = gr.Textbox(
                label="Name of the adapter", info="Lower-case letters, digits, - and _.", elem_id="train-name"
            )
            self.replace = gr.Checkbox(label="Replace an adapter of this name", elem_id="train-replace")
        self.settings: dict[str, Any] = {}
        self._add(MAIN, shown)
        with gr.Accordion("All settings", open=False):
            self._add(MORE, shown)
            self.other = gr.Textbox(
                label="Other settings", info='As in a recipe file: use_dora = true, targets = ["query", "value"].',
                lines=2, max_lines=8, elem_id="train-other",
            )  # fmt: skip

    @property
    def components(self) -> list[Any]:
        return [self.name, self.replace, *self.settings.values(), self.other]

    def of_task(self, name: str) -> dict[Any, Any]:
        """What the components show for a task that was chosen: its recipe, its metrics, its adapters."""
        import gradio as gr

        task = self._task(name)
        updates: dict[Any, Any] = {
            component: gr.update(value=getattr(task.recipe, setting)) for setting, component in self.settings.items()
        }
        updates[self.settings["start"]] = gr.Dropdown(choices=self._starts(task), value=FRESH)
        metrics = list(family_trainer(task).metrics)
        updates[self.settings["metric"]] = gr.Dropdown(choices=metrics, value=task.recipe.metric)
        updates[self.settings["base"]] = gr.Dropdown(choices=self._bases(task), value=task.recipe.base)
        return updates

    def changed(self, task: str, values: Values) -> dict[str, Any]:
        """The settings that differ from the task's recipe.

        Raises:
            InvalidInputError: naming every value that does not fit.
        """
        from nlptasks.training.recipes import check_for, override

        recipe = self._task(task).recipe
        given = {setting: values[component] for setting, component in self.settings.items()}
        if given["start"] in (FRESH, "", None):
            del given["start"]
        missing = [
            f"{LABELS[name][0]}: expected a value, found none." for name, value in given.items() if value is None
        ]
        if missing:
            raise InvalidInputError("The recipe is not valid", missing)
        own = {name: value for name, value in given.items() if value != getattr(recipe, name)}
        own |= _parsed(values[self.other] or "")
        check_for(override(recipe, own), family_trainer(self._task(task)))
        return own

    def _add(self, settings: Mapping[str, tuple[str, str]], shown: Recipe) -> None:
        import gradio as gr

        names = list(settings)
        for first in range(0, len(names), _IN_A_ROW):
            with gr.Row():
                for name in names[first : first + _IN_A_ROW]:
                    self.settings[name] = _component(name, getattr(shown, name), *settings[name])

    def _task(self, name: str) -> Task[Any, Any, Any]:
        return self._context.engine.plugins.task(name)

    def _bases(self, task: Task[Any, Any, Any]) -> list[str]:
        return list(dict.fromkeys([task.recipe.base, *CATALOG, *self._context.engine.plugins.bases]))

    def _starts(self, task: Task[Any, Any, Any]) -> list[str]:
        shipped = [SHIPPED] if task.adapter else []
        return [FRESH, *shipped, *AdapterStore(self._context.engine.settings).names(task.name)]


def _component(name: str, value: Any, label: str, told: str) -> Any:
    import gradio as gr

    common: dict[str, Any] = {"label": label, "info": told, "elem_id": f"recipe-{name.replace('_', '-')}"}
    kind = _KINDS[name]
    if kind is bool:
        return gr.Checkbox(value=value, **common)
    if get_origin(kind) is Literal:
        return gr.Dropdown(list(get_args(kind)), value=value, **common)
    if name in _NAMES:
        start = value or FRESH
        return gr.Dropdown([start], value=start, allow_custom_value=name != "metric", **common)
    return gr.Number(value=value, precision=0 if kind is int else None, minimum=0, **common)


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(
            "The recipe is not valid", [f"Other settings: expected TOML, found a fault: {error}."]
        ) from None


_KINDS = {field.name: get_type_hints(Recipe)[field.name] for field in fields(Recipe) if field.default is not MISSING}
