"""Number formats whose linear layers torch multiplies best by a weight in oneDNN's own layout.

A format says how a weight is packed and how rows are multiplied by it; `packing` puts it into a model.
"""

from __future__ import annotations

import functools
from typing import Protocol

import torch

from nlptasks.runtime.devices import cpu_flags

Packed = tuple[torch.Tensor, ...]
"""A packed weight: the values in oneDNN's layout, which have no strides of their own, and what belongs to them."""

Prepared = tuple[torch.Tensor, ...]
"""Rows in the form in which a format multiplies them, and what belongs to them."""

BATCH = 1024
"""Rows (tokens of a batch) that the layout is chosen for; other numbers are right too."""


class Format(Protocol):
    """How a linear layer's weight, of shape (outputs, inputs), is laid out and used."""

    def pack(self, weight: torch.Tensor) -> Packed:
        """The weight as `multiply` takes it."""

    def prepare(self, rows: torch.Tensor) -> Prepared:
        """Rows of shape (..., inputs) as `multiply` takes them; several layers may share them."""

    def multiply(self, rows: Prepared, packed: Packed, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
        """`activation(rows @ weight.T + bias)`, the activation being "none" or the exact "gelu"."""

    def works(self) -> bool:
        """Whether values that show what goes wrong elsewhere come out right."""


class BFloat16:
    """bfloat16 in and out: torch would lay a weight out anew for every product, which costs as much as a small one."""

    def pack(self, weight: torch.Tensor) -> Packed:
        return (torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), BATCH),)

    def prepare(self, rows: torch.Tensor) -> Prepared:
        return (rows,)

    def multiply(self, rows: Prepared, packed: Packed, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
        variant = "none" if activation == "gelu" else ""
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(*rows, *packed, bias, activation, [], variant)
        return found

    def works(self) -> bool:
        layer = torch.nn.Linear(16, 32, dtype=torch.bfloat16).requires_grad_(False)
        rows = torch.linspace(-1, 1, 64, dtype=torch.bfloat16).reshape(1, 4, 16)
        found = self.multiply(self.prepare(rows), self.pack(layer.weight), layer.bias, "gelu")
        return torch.allclose(found.float(), torch.nn.functional.gelu(layer(rows)).float(), atol=0.02)


class Int8:
    """float32 in and out, the product in 8 bits, with a scale for each output of the weight and for each row.

    Both are symmetric, the largest magnitude at 127; a row's is found when it comes (dynamic quantisation).
    With a scale of its own a row's answer does not depend on the rows beside it, as it would with one scale for
    the batch, and one large value does not coarsen the others.
    """

    def pack(self, weight: torch.Tensor) -> Packed:
        weight = weight.detach()
        scales = _largest(weight) / 127
        whole = (weight / scales).round_().to(torch.int8)
        packed = torch.ops.onednn.qlinear_prepack(whole.contiguous(), [BATCH, weight.shape[1]])
        return packed, scales.flatten(), torch.zeros(len(weight), dtype=torch.int32)

    def prepare(self, rows: torch.Tensor) -> Prepared:
        largest = _largest(rows)
        # Only unsigned rows have a quick kernel, so that 128 stands for zero. At the size of _MIDDLE floats are whole
        # numbers: the sum is rounded to the nearest, and its last byte is what is wanted.
        middle = rows.new_full(rows.shape[-1:], _MIDDLE)
        whole = torch.addcmul(middle, rows, 127 / largest).view(torch.int32).to(torch.uint8)
        return whole.reshape(-1, rows.shape[-1]), largest

    def multiply(self, rows: Prepared, packed: Packed, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
        whole, largest = rows
        weight, scales, zeros = packed
        found: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, 1 / 127, 128, weight, scales, zeros, None, 1.0, 0, torch.float32, "none", [], "none"
        )
        found = found.view(*largest.shape[:-1], len(scales))
        found = found.mul_(largest) if bias is None else torch.addcmul(bias, found, largest, out=found)
        return torch.nn.functional.gelu(found) if activation == "gelu" else found

    def works(self) -> bool:
        # Equal large values, on which a kernel that adds in 16 bits overflows, and a row of zeros.
        rows, weight = torch.tensor([[2.0], [-1.0], [0.0]]).expand(3, 64), torch.full((32, 64), 0.5)
        found = self.multiply(self.prepare(rows), self.pack(weight), torch.ones(32), "none")
        return torch.allclose(found, rows @ weight.T + 1, atol=0.01)


FORMATS: dict[str, Format] = {"bfloat16": BFloat16(), "int8": Int8()}

_MIDDLE = 1.5 * 2**23 + 128
"""A float32 whose neighbours are one apart and whose last byte is 128."""

_BYTE_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


@functools.cache
def obstacle(dtype: str) -> str | None:
    """Why a format's operations, which are not public, cannot be used here, or None where they can."""
    flags = cpu_flags()
    if dtype == "int8" and flags and not flags & _BYTE_PRODUCTS:
        return "this CPU has no products of bytes (AVX512-VNNI, AVX-VNNI or AMX)"
    try:
        right = FORMATS[dtype].works()
    except (AttributeError, RuntimeError, TypeError):
        return f"torch {torch.__version__} lacks the operations here"
    return None if right else f"the operations of torch {torch.__version__} give wrong values on this CPU"


def _largest(rows: torch.Tensor) -> torch.Tensor:
    """The largest magnitude of each row, of shape (rows, 1), and not zero. Quicker than `rows.abs().amax()`."""
    low, high = rows.amin(-1, keepdim=True), rows.amax(-1, keepdim=True)
    # Smaller numbers would have no reciprocal.
    return torch.maximum(high, low.neg_()).clamp_(min=1e-30)
