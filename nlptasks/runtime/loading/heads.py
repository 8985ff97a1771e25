"""Task heads that stand on a shared backbone.

Where transformers has the head, its own `AutoModelFor...` class computes the answer, so that every architecture's
pooling and head layers are right; only its body is replaced by the resident one.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import transformers

from nlptasks.errors import AdapterError, UnsupportedModelError
from nlptasks.model import Head
from nlptasks.runtime.cpu.first_token import for_first_token
from nlptasks.runtime.loading.base import LoadedBase
from nlptasks.runtime.loading.new_head import HeadModel


def body_name(base: LoadedBase, head: Head) -> str:
    """The task model's attribute for its body: `transformer` in `LlamaForQuestionAnswering`, `model` in others."""
    if head.make:
        return "model"
    known = getattr(transformers, head.model)._model_mapping
    # The table does not list code that comes with a checkpoint.
    name: str = known.get(type(base.config), base.backbone).base_model_prefix
    return name


def build_head(
    base: LoadedBase, description: Head, num_labels: int, weights: dict[str, Any], config: dict[str, Any]
) -> Any:
    """A task model whose body is `base.backbone` and whose own layers hold `weights`.

    `weights` maps parameter names of the task model (body left out) to tensors; `config` holds settings of
    the architecture that the adapter was trained with.

    Raises:
        UnsupportedModelError: the architecture has no such head.
        AdapterError: `weights` lacks a layer of the head, or has one too many.
    """
    head = _empty_head(base, description, num_labels, config)
    prefix = head.base_model_prefix
    setattr(head, prefix, torch.nn.Identity())
    expected = set(head.state_dict())
    if expected != set(weights):
        missing, surplus = sorted(expected - set(weights)), sorted(set(weights) - expected)
        raise AdapterError(
            f"The adapter does not fit the {description.verb} head of {type(head).__name__}: "
            f"missing {', '.join(missing) or 'nothing'}; unexpected {', '.join(surplus) or 'nothing'}."
        )
    for name, tensor in head.state_dict().items():
        if tensor.shape != weights[name].shape:
            raise AdapterError(
                f"The adapter does not fit the {description.verb} head of {type(head).__name__}: expected shape "
                f"{list(tensor.shape)} for {name}, found {list(weights[name].shape)}."
            )
    head.to_empty(device=base.placement.device)
    head.load_state_dict(weights, strict=True)
    head.to(base.placement.torch_dtype)
    setattr(head, prefix, for_first_token(base.backbone) if description.verb == "classify" else base.backbone)
    return head.eval().requires_grad_(False)


def _empty_head(base: LoadedBase, head: Head, num_labels: int, settings: dict[str, Any]) -> Any:
    config = copy.deepcopy(base.config)
    config.num_labels = num_labels
    tokens = getattr(config, "vocab_size", None)
    if tokens and settings.get("pad_token_id", 0) >= tokens:
        raise AdapterError(
            f"pad_token_id: expected a token of the base, which has {tokens}, found {settings['pad_token_id']}."
        )
    for name, value in settings.items():
        setattr(config, name, value)
    try:
        with torch.device("meta"):
            if head.make:
                return HeadModel(None, head.make, config)
            return getattr(transformers, head.model).from_config(config)
    except ValueError as error:
        raise UnsupportedModelError(f"{config.model_type} has no {head.verb} head in transformers.") from error
