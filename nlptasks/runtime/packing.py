"""Linear layers that multiply in a number format's own way (`formats`), by weights that are packed once.

The packed weight stands in for the plain one: of an adapter's folded weights only the packed copy is kept.
"""

from __future__ import annotations

import threading
from typing import Any

import torch

from nlptasks.runtime.formats import Format, Packed, Prepared

_READ_THE_SAME = (
    ("query", "key", "value"),
    ("q_lin", "k_lin", "v_lin"),
    ("q_proj", "k_proj", "v_proj"),
    ("query_proj", "key_proj", "value_proj"),
)
"""What architectures call the layers of an attention that read the same rows, in the order in which they do."""


class SharedRows(threading.local):
    """The rows that an attention's layers read one after another, prepared once; every thread has its own."""

    rows: torch.Tensor | None = None
    prepared: Prepared = ()

    def prepare(self, format: Format, rows: torch.Tensor, *, last: bool) -> Prepared:
        """What `format` makes of the rows; they are forgotten behind the last layer."""
        prepared = self.prepared if self.rows is rows else format.prepare(rows)
        self.rows, self.prepared = (None, ()) if last else (rows, prepared)
        return prepared


class PackedLinear(torch.nn.Linear):
    """A linear layer whose weight may be replaced by a packed one; `activation` is computed behind it.

    Without a replacement the layer packs its own weight when it is first used. No gradient passes through it.
    """

    format: Format
    packed: Packed | None
    own: Packed | None
    activation: str
    shared: SharedRows | None
    last: bool

    @staticmethod
    def adopt(layer: Any, format: Format) -> None:
        """Turn a linear layer into a packed one, in place."""
        layer.__class__ = PackedLinear
        layer.format = format
        layer.packed = layer.own = None
        layer.activation = "none"
        layer.shared, layer.last = None, True

    def replace(self, packed: Packed | None) -> None:
        """Multiply by another packed weight from now on; by the layer's own for None."""
        self.packed = packed

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        weight = self.packed
        if weight is None:
            weight = self.own = self.format.pack(self.weight) if self.own is None else self.own
        format = self.format
        rows = self.shared.prepare(format, input, last=self.last) if self.shared else format.prepare(input)
        return format.multiply(rows, weight, self.bias, self.activation)


def pack_layers(backbone: torch.nn.Module, format: Format) -> None:
    """Make the linear layers of an encoder on the CPU packed ones."""
    for module in list(backbone.modules()):
        if type(module) is torch.nn.Linear:
            PackedLinear.adopt(module, format)
    for module in list(backbone.modules()):
        _share_rows(module)
        dense = getattr(module, "dense", None)
        if isinstance(dense, PackedLinear) and _is_gelu(getattr(module, "intermediate_act_fn", None)):
            dense.activation = "gelu"
            module.intermediate_act_fn = torch.nn.Identity()


def _share_rows(attention: torch.nn.Module) -> None:
    for names in _READ_THE_SAME:
        layers = [layer for name in names if isinstance(layer := getattr(attention, name, None), PackedLinear)]
        if len(layers) == len(names):
            shared = SharedRows()
            for layer in layers:
                layer.shared, layer.last = shared, layer is layers[-1]


def packed_layers(model: torch.nn.Module) -> dict[str, PackedLinear]:
    """The packed layers by the names of their weights."""
    return {f"{name}.weight": layer for name, layer in model.named_modules() if isinstance(layer, PackedLinear)}


def _is_gelu(activation: Any) -> bool:
    """Whether this is the exact GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415), not its tanh approximation."""
    if type(activation).__name__ == "GELUActivation":
        return getattr(activation, "act", None) is torch.nn.functional.gelu
    return isinstance(activation, torch.nn.GELU) and activation.approximate == "none"
