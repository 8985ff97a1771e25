"""The task model for a head that transformers does not have: a body, and a module on its hidden states."""

from __future__ import annotations

import pkgutil
from typing import Any

import torch
from transformers.modeling_outputs import TokenClassifierOutput


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
