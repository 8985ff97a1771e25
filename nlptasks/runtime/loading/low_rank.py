"""Adapters whose factors are multiplied beside the layers, because their folded weights would take too much memory.

A layer computes `W x`; while its adapter is active, `scaling * B (A x)` is added, as in LoRA's training (Hu et al.
2021, arXiv:2106.09685). A language model's folded weights are nearly a second model; its factors are a few megabytes.
Each token then costs two small products more in every layer: on a CPU a sixth more time for a layer of SmolLM2-135M.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D


@dataclass(frozen=True)
class LowRank:
    """What is added beside one layer: `x @ down @ up`, of shapes (inputs, rank) and (rank, outputs)."""

    layer: Any
    down: Any
    up: Any

    @property
    def num_bytes(self) -> int:
        return sum(int(factor.numel() * factor.element_size()) for factor in (self.down, self.up))


def has_room_beside(layer: Any) -> bool:
    """Whether a layer is a plain product, so that another one can be added to its output."""
    return isinstance(layer, torch.nn.Linear | Conv1D)


def beside(layer: Any, a: Any, b: Any, scaling: float) -> LowRank:
    """The addition that gives what `folding.fold` does with the same factors.

    On a CPU it is computed in float32: in bfloat16 two products this small took three times as long.
    """
    weight = layer.weight
    dtype = torch.float32 if weight.device.type == "cpu" else weight.dtype
    # Conv1D stores its weight as (inputs, outputs), and its factors are transposed like it.
    down, up = (a.T, b.T) if isinstance(layer, torch.nn.Linear) else (b, a)
    up = up.float() * scaling
    return LowRank(layer, *(factor.to(weight.device, dtype).contiguous() for factor in (down, up)))


def attach(parts: Iterable[LowRank]) -> list[Any]:
    """Add each part to its layer's output until the returned handles are removed."""
    return [part.layer.register_forward_hook(_adding(part)) for part in parts]


def _adding(part: LowRank) -> Any:
    def add(_: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        return output + (inputs[0].to(part.down.dtype) @ part.down @ part.up).to(output.dtype)

    return add
