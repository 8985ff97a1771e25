"""The head that compares the words of a text with types that are named at call time."""

from __future__ import annotations

from typing import Any

import torch

SIZE = 128
"""Numbers of a vector."""


class MatchHead(torch.nn.Module):
    """Four vectors for each token: as start, end and inside of an entity, and as a part of a type's text."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.project = torch.nn.Linear(config.hidden_size, 4 * SIZE)
        # Few words are part of an entity of any one type.
        with torch.no_grad():
            self.project.bias[SIZE - 1 : 3 * SIZE : SIZE] = -4.0

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.project(hidden)
        return vectors
