"""The task model for a head that transformers does not have: a body, and a module on its hidden states."""

from __future__ import annotations

import pkgutil
from typing import Any

import torch
from transformers.modeling_outputs import TokenClassifierOutput


def unit_means(hidden: Any, mask: Any) -> Any:
    """The mean of each row's hidden states where `mask` is 1, scaled to length one: shape (rows, size), float32.

    Args:
        hidden: shape (rows, tokens, size).
        mask: shape (rows, tokens), of 0 and 1.
    """
    weights = mask.unsqueeze(-1).float()
    means = (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1)
    return torch.nn.functional.normalize(means, dim=-1)


class MeanClassifier(torch.nn.Linear):
    """A linear layer on the unit vector of a text, which `Model.embed` gives: logits of shape (rows, labels)."""

    def __init__(self, config: Any) -> None:
        super().__init__(config.hidden_size, config.num_labels)

    def forward(self, hidden: Any, mask: Any) -> Any:  # type: ignore[override]
        return super().forward(unit_means(hidden, mask).to(self.weight.dtype))


class HeadModel(torch.nn.Module):
    """Called as a task model of transformers; `make` is that of the `Head`.

    The logits have shape (rows, outputs) or (rows, tokens, outputs), as the head gives them.
    """

    base_model_prefix = "model"

    def __init__(self, body: Any, make: str, config: Any) -> None:
        super().__init__()
        self.config = config
        self.model = body
        self.head = pkgutil.resolve_name(make)(config)

    @property
    def base_model(self) -> Any:
        return self.model

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
        # By name and not as **arguments: OpenVINO drops what a signature does not have.
        more = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask, **more).last_hidden_state
        return TokenClassifierOutput(logits=self.head(hidden, attention_mask))
