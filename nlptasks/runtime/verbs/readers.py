"""Task models in torch as `Reader`: numpy arrays in and out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from nlptasks.runtime.loading.new_head import unit_means


class TorchReader:
    """A task model that torch computes."""

    def __init__(self, model: Any, device: str) -> None:
        self._model = model
        self._device = device

    def __call__(self, **batch: Any) -> SimpleNamespace:
        tensors = {name: torch.from_numpy(array).to(self._device) for name, array in batch.items()}
        with torch.inference_mode():
            output = self._model(**tensors)
            return SimpleNamespace(
                **{name: value.float().cpu().numpy() for name, value in output.items() if torch.is_tensor(value)}
            )


class MeanPooling(torch.nn.Module):
    """The mean of a body's last hidden states, scaled to length one.

    Mean pooling and scaling are what sentence-transformers' all-MiniLM-L6-v2 was trained with.
    """

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body
        self.config = body.config

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> dict[str, Any]:
        """One vector for each row, under the name `vectors`, of shape (rows, size)."""
        # By name and not as **arguments: OpenVINO drops what a signature does not have.
        more = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask, **more).last_hidden_state
        return {"vectors": unit_means(hidden, attention_mask)}
