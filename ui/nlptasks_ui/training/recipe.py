"""The second step of a new training: the settings, which are at first those of the task's recipe."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from nlptasks import InvalidInputError, Recipe, Task
from nlptasks.store import CATALOG, AdapterStore
from nlptasks.training import SHIPPED, family_trainer
from nlptasks_ui.context import Context
from nlptasks_ui.training.jobs import REPLACE

NEW_ADAPTER = "New adapter"

MAIN = {
    "base": ("Base model", "A catalog name, a Hub id or a folder."),
    "init_from": ("Start from", "A new adapter, or an existing one with the same base model, rank and labels."),
    "num_train_epochs": ("Epochs", "Passes over the training rows; a fraction is allowed."),
    "learning_rate": ("Learning rate", "The peak value, reached after the warm-up; it then decays linearly to 0."),
    "per_device_train_batch_size": ("Batch size", "Rows per batch. A smaller batch needs less memory."),
    "max_length": ("Maximum length", "In tokens. Longer texts are cut in training only."),
}
MORE = {
    "method": ("Method", "lora trains a small adapter; full trains all weights and stores a whole model."),
    "r": ("LoRA rank (r)", "A higher rank can learn more; the adapter becomes larger."),
    "lora_alpha": ("LoRA alpha", "The LoRA update is scaled by lora_alpha / r."),
    "lora_dropout": ("LoRA dropout", "Dropout probability at the input of the LoRA layers."),
    "warmup_ratio": ("Warm-up ratio", "Share of all steps in which the learning rate rises to its peak."),
    "weight_decay": ("Weight decay", "For the AdamW optimizer; 0 for none."),
    "label_smoothing_factor": (
        "Label smoothing",
        "Share of the target probability that is spread over the other labels.",
    ),
    "gradient_accumulation_steps": (
        "Gradient accumulation",
        "Batches per step: the effect of a larger batch without its memory.",
    ),
    "ema_decay": ("EMA decay", "Decay of the moving average of the weights, such as 0.998; 0 turns it off."),
    "metric_for_best_model": ("Best-model metric", "The weights with the best value of this metric are kept."),
    "evals_per_epoch": ("Evaluations per epoch", "Each evaluation also saves a checkpoint."),
    "early_stopping_patience": (
        "Early-stopping patience",
        "Evaluations without improvement before training stops; 0 for no limit.",
    ),
    "seed": ("Random seed", "For the split, the order of rows and the new layers."),
    "dtype": ("Number format (dtype)", "For the forward pass; the weights stay in float32."),
}
LABELS = {**MAIN, **MORE}
"""Label and help of each setting."""

_PER_ROW = 3
_NAMES = ("base", "init_from", "metric_for_best_model")
"""Settings whose choices depend on the task."""

Values = Mapping[Any, Any]


class RecipeForm:
    """A component for each common setting, and a text box for all others."""

    def __init__(self, context: Context, task: str | None) -> None:
        import gradio as gr

        self._context = context
        recipe = self._task(task).recipe if task else Recipe()
        with gr.Row():
            self.name = gr.Textbox(
                label="Adapter name", info="Lower-case letters, digits, - and _.", elem_id="train-name"
            )
            self.replace = gr.Checkbox(label=REPLACE, elem_id="train-replace")
        self.settings: dict[str, Any] = {}
        self._add(MAIN, recipe)
        with gr.Accordion("More settings", open=False):
            self._add(MORE, recipe)
            self.other = gr.Textbox(
                label="Other settings", info="TOML, one setting per line, as in a recipe file.",
                placeholder='use_dora = true\ntarget_modules = ["query", "value"]', lines=2, max_lines=8,
                elem_id="train-other",
            )  # fmt: skip

    @property
    def components(self) -> list[Any]:
        return [self.name, self.replace, *self.settings.values(), self.other]

    def of_task(self, name: str) -> dict[Any, Any]:
        """Updates for a selected task: the values of its recipe, its bases, adapters and metrics."""
        import gradio as gr

        task = self._task(name)
        updates: dict[Any, Any] = {
            component: gr.update(value=getattr(task.recipe, setting)) for setting, component in self.settings.items()
        }
        rate = task.recipe.learning_rate
        updates[self.settings["learning_rate"]] = gr.Number(value=rate, step=_step("learning_rate", rate))
        updates[self.settings["init_from"]] = gr.Dropdown(choices=self._starts(task), value=NEW_ADAPTER)
        metrics = list(family_trainer(task).metrics)
        updates[self.settings["metric_for_best_model"]] = gr.Dropdown(
            choices=metrics, value=task.recipe.metric_for_best_model
        )
        updates[self.settings["base"]] = gr.Dropdown(choices=self._bases(task), value=task.recipe.base)
        return updates

    def changed(self, task: str, values: Values) -> dict[str, Any]:
        """The settings that differ from the task's recipe.

        Raises:
            InvalidInputError: names every missing or invalid value.
        """
        from nlptasks.training import check_for, override

        recipe = self._task(task).recipe
        settings = {setting: values[component] for setting, component in self.settings.items()}
        if settings["init_from"] in (NEW_ADAPTER, "", None):
            del settings["init_from"]
        missing = [
            f"{LABELS[name][0]}: expected a value, found none." for name, value in settings.items() if value is None
        ]
        if missing:
            raise InvalidInputError("The recipe is not valid", missing)
        changes = {name: value for name, value in settings.items() if value != getattr(recipe, name)}
        changes |= _parsed(values[self.other] or "")
        try:
            check_for(override(recipe, changes), family_trainer(self._task(task)))
        except InvalidInputError as error:
            raise InvalidInputError(
                "The recipe is not valid", [_with_label(problem) for problem in error.problems]
            ) from None
        return changes

    def _add(self, settings: Mapping[str, tuple[str, str]], recipe: Recipe) -> None:
        import gradio as gr

        names = list(settings)
        for first in range(0, len(names), _PER_ROW):
            with gr.Row():
                for name in names[first : first + _PER_ROW]:
                    self.settings[name] = _component(name, getattr(recipe, name), *settings[name])

    def _task(self, name: str) -> Task[Any, Any, Any]:
        return self._context.engine.plugins.task(name)

    def _bases(self, task: Task[Any, Any, Any]) -> list[str]:
        return list(dict.fromkeys([task.recipe.base, *CATALOG, *self._context.engine.plugins.bases]))

    def _starts(self, task: Task[Any, Any, Any]) -> list[str]:
        shipped = [SHIPPED] if task.adapter else []
        return [NEW_ADAPTER, *shipped, *AdapterStore(self._context.engine.settings).names(task.name)]


def _component(name: str, value: Any, label: str, info: str) -> Any:
    import gradio as gr

    common: dict[str, Any] = {"label": label, "info": info, "elem_id": f"recipe-{name.replace('_', '-')}"}
    kind = Recipe.model_fields[name].annotation
    if get_origin(kind) is Literal:
        return gr.Dropdown(list(get_args(kind)), value=value, **common)
    if name in _NAMES:
        start = value or NEW_ADAPTER
        return gr.Dropdown([start], value=start, allow_custom_value=name != "metric_for_best_model", **common)
    # Bounds are left to the recipe, which says what is wrong.
    return gr.Number(value=value, step=_step(name, value), **common)


def _step(name: str, value: Any) -> float:
    """What a click on the arrows adds: for a learning rate one of its leading digit."""
    if name == "learning_rate":
        return 10.0 ** math.floor(math.log10(value))
    if name == "ema_decay":
        return 0.001
    return 0.01 if Recipe.model_fields[name].annotation is float and name != "num_train_epochs" else 1


def _with_label(problem: str) -> str:
    """A fault of a setting under the label that the form has for it."""
    return re.sub(r"^setting '(\w+)'", lambda match: LABELS.get(match[1], (match[0],))[0], problem)


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(
            "The recipe is not valid", [f"Other settings: expected TOML, found an error: {error}."]
        ) from None
