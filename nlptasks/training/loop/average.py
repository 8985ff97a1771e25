"""An exponential moving average of the trained weights: steadier than the last step's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def decay_at(step: int, decay: float) -> float:
    """The decay of one step: small at first, so that the initial weights soon lose their influence."""
    return min(decay, (1 + step) / (10 + step))


class WeightAverage:
    """Averages of named parameters, on the device and in the type of each parameter."""

    def __init__(self, parameters: Mapping[str, Any], decay: float) -> None:
        self._parameters = dict(parameters)
        self._decay = decay
        self.values = {name: p.detach().clone() for name, p in self._parameters.items()}

    def update(self, step: int) -> None:
        """Move the averages towards the weights after optimizer step number `step` (1 is the first)."""
        import torch

        weight = 1 - decay_at(step, self._decay)
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                self.values[name].lerp_(parameter.detach(), weight)

    def load(self, values: Mapping[str, Any]) -> None:
        """Continue from saved averages."""
        for name, value in values.items():
            self.values[name].copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The averages stand in for the weights inside the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            parameter.data, self.values[name] = self.values[name], parameter.data
