"""Classifiers that read a text's first token only: their last layer need not compute the others.

BERT's classifiers read the last hidden state of the first token (Devlin et al. 2018, arXiv:1810.04805, section 3).
The last layer's keys and values come from all tokens, but its queries, and all that follows, are needed for one. With
six layers that spares a seventh of the arithmetic; the answer is the same.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

FIRST_TOKEN_READERS = frozenset({"bert", "camembert", "data2vec-text", "electra", "ernie", "roberta", "xlm-roberta"})
"""Model types with BERT's layers whose `ForSequenceClassification` takes `hidden[:, 0]` and no other token."""


def for_first_token(body: Any) -> Any:
    """A body with the same weights that gives the first token's last hidden state, (rows, 1, size).

    The body itself where its architecture is none of `FIRST_TOKEN_READERS`.
    """
    if body.config.model_type not in FIRST_TOKEN_READERS:
        return body
    layers = body.encoder.layer
    encoder = _with(body.encoder, "layer", torch.nn.ModuleList([*layers[:-1], FirstTokenLayer(layers[-1])]))
    return _with(body, "encoder", encoder)


def _with(module: Any, name: str, part: torch.nn.Module) -> Any:
    """The module with another part; all else is shared with the original."""
    other = copy.copy(module)
    other._modules = {**module._modules, name: part}
    return other


class FirstTokenLayer(torch.nn.Module):
    """BERT's layer for the first token alone: (rows, tokens, size) in, (rows, 1, size) out."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, hidden: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor:
        """What the layer computes, from its own modules; no other argument matters to an encoder."""
        from transformers.integrations.sdpa_attention import sdpa_attention_forward
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        attention = self.layer.attention.self
        first = hidden[:, :1]

        def heads(rows: torch.Tensor) -> torch.Tensor:
            return rows.view(*rows.shape[:2], -1, attention.attention_head_size).transpose(1, 2)

        query, key, value = attention.query(first), attention.key(hidden), attention.value(hidden)
        mask = attention_mask if attention_mask is None else attention_mask[:, :, :1]
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(attention.config._attn_implementation, sdpa_attention_forward)
        read, _ = attend(attention, heads(query), heads(key), heads(value), mask, scaling=attention.scaling)
        output: torch.Tensor = self.layer.feed_forward_chunk(self.layer.attention.output(read.flatten(2), first))
        return output
