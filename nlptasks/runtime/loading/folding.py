"""Adapters as sets of weights that replace the base's while they are active.

LoRA adds `scaling * B A` to a weight (Hu et al. 2021, arXiv:2106.09685). Computing the sum once, from the
untouched base weight, makes a layer cost what it costs without an adapter; switching adapters is a change
of pointers, and the base's own weights are never written to, so nothing drifts. A set of weights that exceeds the
budget is not folded: see `low_rank`.
"""

from __future__ import annotations

import logging
import math
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import regex
import torch
from safetensors.torch import load_file

from nlptasks.errors import AdapterError, clip
from nlptasks.model import Head, find_head
from nlptasks.process import LOADING
from nlptasks.runtime.cpu.packing import pack, packed_layers
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.loading.heads import body_name, build_head
from nlptasks.runtime.loading.low_rank import LowRank, attach, beside, has_room_beside
from nlptasks.store.adapters import PEFT_WEIGHTS, AdapterFolder, head_outputs
from nlptasks.store.weights import read_header

FOLD_BUDGET = 96 * 1024 * 1024
"""Bytes of folded weights in memory; beyond it the least recently used set is folded again when needed.

MiniLM's sets have 43 MB in float32, 21 in bfloat16: two and four of them. Three tasks in float32 took 1.17 times the
memory of one with all three sets in memory, and take 1.11 times with this. Folding a set again takes 17 ms.
SmolLM2-135M's have 212 MB in bfloat16.
"""

_log = logging.getLogger(__name__)

PATTERN_SECONDS = 1.0
"""What one pattern of `alpha_pattern` may take."""

FOLD_BUDGET_GPU = 2 * 1024**3
"""The same on a GPU: a model of a billion parameters in bfloat16."""


@dataclass
class LoadedAdapter:
    """An adapter's weights, sorted by where they go.

    `factors` maps a parameter of the base to (A, B, scaling, magnitude or None); `whole` maps one to its
    replacement; `head` is the task model for the adapter's verb, or None where the base's own output serves.
    `beside` replaces the factors where they are not folded.
    """

    factors: dict[str, tuple[Any, Any, float, Any]] = field(default_factory=dict)
    beside: list[LowRank] = field(default_factory=list)
    whole: dict[str, Any] = field(default_factory=dict)
    head: Any = None


class Adapters:
    """The adapters of one base. Only the base's worker thread may use it."""

    def __init__(self, base: LoadedBase, budget: int | None = None, head: Callable[[str], Head] = find_head) -> None:
        """`budget` is the bytes of folded weights in memory; None leaves it to the device."""
        self._base = base
        self._head_of = head
        of_device = FOLD_BUDGET if base.placement.device == "cpu" else FOLD_BUDGET_GPU
        self._budget = of_device if budget is None else budget
        self._parameters = dict(base.model.named_parameters())
        self._buffers = dict(base.model.named_buffers())
        self._packed = packed_layers(base.model)
        self._pristine: dict[str, Any] = {}
        self._loaded: dict[tuple[str, int], LoadedAdapter] = {}
        self._folded: OrderedDict[tuple[str, int], dict[str, Any]] = OrderedDict()
        self._added: list[Any] = []
        self._active: tuple[str, int] | None = None

    def activate(self, adapter: AdapterFolder | None) -> Any:
        """Make an adapter's weights the model's and return its head (None without one)."""
        key = adapter.key if adapter else None
        if key != self._active:
            self._restore()
            if adapter and key:
                loaded = self._load(adapter)
                self._apply(self._fold(key, loaded))
                self._added = attach(loaded.beside)
            self._active = key
        return self._loaded[key].head if key else None

    @property
    def num_bytes(self) -> int:
        """Memory of heads, factors and folded weights."""
        factors = [factor for adapter in self._loaded.values() for factor in adapter.factors.values()]
        parts = [part for adapter in self._loaded.values() for part in adapter.beside]
        in_use = sum(_num_bytes({0: a, 1: b}) for a, b, _, _ in factors) + sum(part.num_bytes for part in parts)
        return in_use + sum(map(_num_bytes, self._folded.values()))

    def _restore(self) -> None:
        for name, tensor in self._pristine.items():
            self._parameters[name].data = tensor
        self._pristine.clear()
        for layer in self._packed.values():
            layer.replace(None)
        for handle in self._added:
            handle.remove()
        self._added = []
        self._active = None

    def _apply(self, weights: dict[str, Any]) -> None:
        for name, tensor in weights.items():
            if name in self._packed:
                self._packed[name].replace(tensor)
                continue
            self._pristine[name] = self._parameters[name].data
            self._parameters[name].data = tensor

    def _fold(self, key: tuple[str, int], adapter: LoadedAdapter) -> dict[str, Any]:
        if key not in self._folded:
            self._make_room(self._size(adapter))
            weights = dict(adapter.whole)
            for name, factors in adapter.factors.items():
                weights[name] = fold(self._parameters[name].data, *factors)
            self._folded[key] = {
                name: pack(tensor) if name in self._packed else tensor for name, tensor in weights.items()
            }
        self._folded.move_to_end(key)
        return self._folded[key]

    def _size(self, adapter: LoadedAdapter) -> int:
        """Bytes of an adapter's folded weights."""
        return _num_bytes({name: self._parameters[name] for name in (*adapter.whole, *adapter.factors)})

    def _make_room(self, size: int) -> None:
        """Drop the least recently used weights first, so that old and new never exceed the budget together."""
        while self._folded and size + sum(map(_num_bytes, self._folded.values())) > self._budget:
            self._folded.popitem(last=False)

    def _load(self, adapter: AdapterFolder) -> LoadedAdapter:
        if adapter.key not in self._loaded:
            # A retrained adapter has the same path and another key: the old weights are stale.
            for stale in [k for k in self._loaded if k[0] == adapter.key[0]]:
                self._loaded.pop(stale)
                self._folded.pop(stale, None)
            with LOADING:
                self._loaded[adapter.key] = self._read(adapter)
            _log.info("Loaded the adapter %s from %s.", adapter.name, adapter.path)
        return self._loaded[adapter.key]

    def _read(self, adapter: AdapterFolder) -> LoadedAdapter:
        # It may have been replaced since it was opened.
        read_header(adapter.path / PEFT_WEIGHTS)
        state = load_file(adapter.path / PEFT_WEIGHTS, device="cpu")
        result = LoadedAdapter()
        head_weights: dict[str, Any] = {}
        head = self._head_of(adapter.verb)
        # Where the base's own output layer answers, the adapter names the base's layers as they are.
        prefix = f"{body_name(self._base, head)}." if head.has_layers else ""
        for name, tensor in state.items():
            short = name.removeprefix("base_model.model.")
            if short.startswith(prefix):
                self._place(short.removeprefix(prefix), tensor, bool(prefix), result, adapter)
            elif ".lora_" in short:
                raise AdapterError(f"{adapter.path}: LoRA on the task head ({short}) is not supported.")
            else:
                head_weights[short] = tensor
        self._finish_factors(result, adapter)
        if self._size(result) > self._budget:
            self._put_beside(result)
        if prefix:
            labels = adapter.labels
            count = len(labels) if labels else 1 if head.make else head_outputs(adapter)
            config = adapter.manifest.settings.config.changes if adapter.manifest else {}
            result.head = build_head(self._base, head, count, head_weights, config)
        for name, tensor in state.items():
            if not tensor.isfinite().all():
                raise AdapterError(f"{adapter.path}: expected finite weights, found NaN or infinity in {name}.")
        return result

    def _place(self, path: str, tensor: Any, in_body: bool, result: LoadedAdapter, adapter: AdapterFolder) -> None:
        """Sort one tensor by the parameter of the base that it changes."""
        if in_body and self._base.backbone is not self._base.model:
            path = f"{self._base.model.base_model_prefix}.{path}"
        match = re.fullmatch(r"(.+)\.lora_(A|B|magnitude_vector)(?:\.weight)?", path)
        if match:
            layer, part = match.groups()
            name = f"{layer}.weight"
            if name not in self._parameters:
                raise AdapterError(f"{adapter.path}: expected a layer {layer} in the base, found none.")
            current = result.factors.get(name, (None, None, 1.0, None))
            slot = {"A": 0, "B": 1, "magnitude_vector": 3}[part]
            result.factors[name] = tuple(tensor if i == slot else v for i, v in enumerate(current))
        elif path in self._parameters:
            _check_shape(adapter, path, tensor, self._parameters[path])
            result.whole[path] = tensor.to(self._parameters[path])
        elif path not in self._buffers:
            raise AdapterError(f"{adapter.path}: expected a parameter {path} in the base, found none.")

    def _finish_factors(self, result: LoadedAdapter, adapter: AdapterFolder) -> None:
        for name, (a, b, _, magnitude) in result.factors.items():
            if a is None or b is None:
                raise AdapterError(f"{adapter.path}: expected both LoRA factors of {name}, found one.")
            turned = type(self._module(name)).__name__ == "Conv1D"
            weight = self._parameters[name].T if turned else self._parameters[name]
            made = (b.shape[0], a.shape[1])
            if made != weight.shape or (magnitude is not None and magnitude.numel() != weight.shape[0]):
                raise AdapterError(
                    f"{adapter.path}: expected LoRA factors for the shape {list(weight.shape)} of {name} in the base, "
                    f"found them for {list(made)}."
                )
            rows = magnitude.reshape(-1, 1) if magnitude is not None else None
            if turned:
                # GPT-2's Conv1D stores its weight as (inputs, outputs).
                a, b = b.T.contiguous(), a.T.contiguous()
                rows = rows.T if rows is not None else None
            result.factors[name] = (a, b, scaling_of(adapter.peft, name, rank=a.shape[0]), rows)

    def _put_beside(self, result: LoadedAdapter) -> None:
        """Leave an adapter's factors unfolded, unless one of its layers can only be folded; DoRA's can."""
        layers = {name: self._module(name) for name in result.factors}
        plain = all(magnitude is None for *_, magnitude in result.factors.values())
        if plain and all(map(has_room_beside, layers.values())):
            result.beside = [beside(layers[name], a, b, scaling) for name, (a, b, scaling, _) in result.factors.items()]
            result.factors = {}

    def _module(self, parameter: str) -> Any:
        return self._base.model.get_submodule(parameter.rpartition(".")[0])


def _num_bytes(weights: dict[Any, Any]) -> int:
    return sum(int(tensor.numel() * tensor.element_size()) for tensor in weights.values())


def fold(weight: Any, a: Any, b: Any, scaling: float, magnitude: Any = None) -> Any:
    """`weight + scaling * b @ a`, computed in float32 and returned in the weight's own type.

    With `magnitude`, of shape (outputs, 1) or (1, outputs), the weights of each output are rescaled to it
    (DoRA, Liu et al. 2024, arXiv:2402.09353).
    """
    with torch.no_grad():
        a, b = (factor.to(weight.device).float() for factor in (a, b))
        total = torch.addmm(weight.float(), b, a, alpha=scaling)
        if magnitude is not None:
            inputs = 1 if magnitude.shape[1] == 1 else 0
            total = total * (magnitude.to(weight.device).float() / total.norm(dim=inputs, keepdim=True))
        return total.to(weight.dtype)


def _check_shape(adapter: AdapterFolder, name: str, tensor: Any, weight: Any) -> None:
    if tensor.shape != weight.shape:
        raise AdapterError(
            f"{adapter.path}: expected shape {list(weight.shape)} for {name}, as in the base, "
            f"found {list(tensor.shape)}."
        )


def scaling_of(peft: dict[str, Any], name: str, rank: int) -> float:
    """The factor of `B A` for one weight by a PEFT configuration: `lora_alpha / rank`, or its rsLoRA or pattern form.

    Raises:
        AdapterError: a pattern is no regular expression.
    """
    alpha = 8.0 if peft.get("lora_alpha") is None else float(peft["lora_alpha"])
    layer = name.removesuffix(".weight")
    for pattern, value in (peft.get("alpha_pattern") or {}).items():
        try:
            # A pattern may be made to take for ever.
            matches = regex.fullmatch(rf"(?:.*\.)?(?:{pattern})", layer, timeout=PATTERN_SECONDS)
        except (regex.error, TimeoutError, RecursionError, OverflowError) as error:
            raise AdapterError(
                f"alpha_pattern: expected a regular expression, found {clip(pattern)!r} ({error})."
            ) from None
        if matches:
            alpha = float(value)
    return alpha / math.sqrt(rank) if peft.get("use_rslora") else alpha / rank
