"""The layers that are trained: LoRA on the body's linear layers, new layers as a whole."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nlptasks.errors import TrainingError, UnsupportedModelError


@dataclass(frozen=True)
class Targets:
    """Names of modules in the task model: `lora` get LoRA factors, `whole` are trained and saved completely."""

    lora: tuple[str, ...]
    whole: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The kinds of layers, to display."""
        if not self.lora:
            return f"the base as it is; trained whole: {', '.join(self.whole)}"
        kinds = sorted({name.rpartition(".")[2] for name in self.lora})
        whole = f"; trained whole: {', '.join(self.whole)}" if self.whole else ""
        return f"LoRA on {len(self.lora)} layers ({', '.join(kinds)}){whole}"


def choose_targets(model: Any, wanted: str | Sequence[str], fresh: Iterable[str] = ()) -> Targets:
    """The layers of a task model that are trained.

    The head, the body's pooler and every parameter of `fresh` (those that the checkpoint lacks) are trained as a whole:
    they start at random or were trained for something else. LoRA is put on the other linear layers of the body.

    Raises:
        TrainingError: a wanted name matches no layer.
        UnsupportedModelError: the model has no body or no head.
    """
    prefix = model.base_model_prefix
    body = getattr(model, prefix, None)
    heads = [name for name, child in model.named_children() if name != prefix and _has_parameters(child)]
    if body is None or not heads:
        raise UnsupportedModelError(
            f"{type(model).__name__}: expected a body {prefix!r} with a head on it, found none."
        )
    poolers = [
        f"{prefix}.{name}" for name, child in body.named_children() if name == "pooler" and _has_parameters(child)
    ]
    new = {name.rpartition(".")[0] for name in fresh if name.startswith(f"{prefix}.")}
    whole = _outermost([*heads, *poolers, *sorted(new)])
    linear = [name for name, module in model.named_modules() if _is_linear(module) and not _inside(name, whole)]
    chosen = tuple(linear) if wanted == "all-linear" else _named(linear, wanted, type(model).__name__)
    _check_whole(model, whole)
    return Targets(chosen, whole)


def choose_writer_targets(model: Any, wanted: str | Sequence[str]) -> Targets:
    """The layers of a language model that are trained: LoRA on all linear layers but the output layer.

    Raises:
        TrainingError: a wanted name matches no layer.
    """
    output = model.get_output_embeddings()
    linear = [name for name, module in model.named_modules() if _is_linear(module) and module is not output]
    chosen = tuple(linear) if wanted == "all-linear" else _named(linear, wanted, type(model).__name__)
    return Targets(chosen, ())


def _named(linear: Sequence[str], wanted: str | Sequence[str], model: str) -> tuple[str, ...]:
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    chosen: set[str] = set()
    for name in names:
        matched = [layer for layer in linear if layer == name or layer.endswith(f".{name}")]
        if not matched:
            known = sorted({layer.rpartition(".")[2] for layer in linear})
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TrainingError(
                f"target_modules: {name!r} matches no linear layer of {model}.{hint} There are: {', '.join(known)}."
            )
        chosen.update(matched)
    return tuple(layer for layer in linear if layer in chosen)


def _check_whole(model: Any, whole: Sequence[str]) -> None:
    """PEFT matches names by their ending, and would also train a layer that matches by chance."""
    for name, _ in model.named_modules():
        if name not in whole and any(name.endswith(ending) for ending in whole):
            raise UnsupportedModelError(
                f"{type(model).__name__}: PEFT would also train {name}, whose name ends like one of {', '.join(whole)}."
            )


def _has_parameters(module: Any) -> bool:
    return any(True for _ in module.parameters())


def _is_linear(module: Any) -> bool:
    import torch
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, torch.nn.Linear | Conv1D)


def _inside(name: str, modules: Sequence[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _outermost(names: Sequence[str]) -> tuple[str, ...]:
    unique = list(dict.fromkeys(names))
    return tuple(name for name in unique if not _inside(name, [other for other in unique if other != name]))
