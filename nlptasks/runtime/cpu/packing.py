"""Linear layers in bfloat16 whose weights are laid out for oneDNN once.

torch would lay a weight out anew for every product, which costs as much as a small one. The packed weight replaces the
plain one: of an adapter's folded weights only the packed copy stays in memory.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

BATCH = 1024
"""Rows (tokens of a batch) that the layout is chosen for; other numbers are right too."""


def pack(weight: torch.Tensor) -> torch.Tensor:
    """A bfloat16 weight of shape (outputs, inputs) in oneDNN's own layout, which has no strides of its own."""
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), BATCH)
    return packed


def multiply(rows: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
    """`activation(rows @ weight.T + bias)`, the activation being "none" or the exact "gelu"."""
    variant = "none" if activation == "gelu" else ""
    output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, bias, activation, [], variant)
    return output


@functools.cache
def packs_here() -> bool:
    """Whether the operations, which are not public, are there and give right values."""
    layer = torch.nn.Linear(16, 32, dtype=torch.bfloat16).requires_grad_(False)
    rows = torch.linspace(-1, 1, 64, dtype=torch.bfloat16).reshape(1, 4, 16)
    try:
        output = multiply(rows, pack(layer.weight), layer.bias, "gelu")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return torch.allclose(output.float(), torch.nn.functional.gelu(layer(rows)).float(), atol=0.02)


class PackedLinear(torch.nn.Linear):
    """A linear layer whose weight may be replaced by a packed one; `activation` is computed behind it.

    Without a replacement the layer packs its own weight when it is first used. No gradient passes through it.
    """

    packed: torch.Tensor | None
    default: torch.Tensor | None
    activation: str

    @staticmethod
    def adopt(layer: Any) -> None:
        """Turn a linear layer into a packed one, in place."""
        layer.__class__ = PackedLinear
        layer.packed = layer.default = None
        layer.activation = "none"

    def replace(self, packed: torch.Tensor | None) -> None:
        """Multiply by another packed weight from now on; by the layer's own for None."""
        self.packed = packed

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        weight = self.packed
        if weight is None:
            weight = self.default = pack(self.weight) if self.default is None else self.default
        return multiply(input, weight, self.bias, self.activation)


def pack_layers(backbone: torch.nn.Module) -> None:
    """Make the linear layers of an encoder on the CPU packed ones."""
    for module in list(backbone.modules()):
        if type(module) is torch.nn.Linear:
            PackedLinear.adopt(module)
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
