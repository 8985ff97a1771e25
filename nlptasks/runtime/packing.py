"""Linear layers that multiply in a number format's own way (`formats`), by weights that are packed once.

The packed weight stands in for the plain one: of an adapter's folded weights only the packed copy is kept.
"""

from __future__ import annotations

from typing import Any

import torch

from nlptasks.runtime.formats import Format, Packed


class PackedLinear(torch.nn.Linear):
    """A linear layer whose weight may be replaced by a packed one; `activation` is computed behind it.

    Without a replacement the layer packs its own weight when it is first used. No gradient passes through it.
    """

    format: Format
    packed: Packed | None
    own: Packed | None
    activation: str

    @staticmethod
    def adopt(layer: Any, format: Format) -> None:
        """Turn a linear layer into a packed one, in place."""
        layer.__class__ = PackedLinear
        layer.format = format
        layer.packed = layer.own = None
        layer.activation = "none"

    def replace(self, packed: Packed | None) -> None:
        """Multiply by another packed weight from now on; by the layer's own for None."""
        self.packed = packed

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        weight = self.packed
        if weight is None:
            weight = self.own = self.format.pack(self.weight) if self.own is None else self.own
        return self.format.multiply(input, weight, self.bias, self.activation)


def pack_layers(backbone: torch.nn.Module, format: Format) -> None:
    """Make the linear layers of an encoder on the CPU packed ones."""
    for module in list(backbone.modules()):
        if type(module) is torch.nn.Linear:
            PackedLinear.adopt(module, format)
    for module in list(backbone.modules()):
        dense = getattr(module, "dense", None)
        if isinstance(dense, PackedLinear) and _is_gelu(getattr(module, "intermediate_act_fn", None)):
            dense.activation = "gelu"
            module.intermediate_act_fn = torch.nn.Identity()


def packed_layers(model: torch.nn.Module) -> dict[str, PackedLinear]:
    """The packed layers by the names of their weights."""
    return {f"{name}.weight": layer for name, layer in model.named_modules() if isinstance(layer, PackedLinear)}


def _is_gelu(activation: Any) -> bool:
    """Whether this is the exact GELU (Hendrycks and Gimpel 2016, arXiv:1606.08415), not its tanh approximation."""
    if type(activation).__name__ == "GELUActivation":
        return getattr(activation, "act", None) is torch.nn.functional.gelu
    return isinstance(activation, torch.nn.GELU) and activation.approximate == "none"
