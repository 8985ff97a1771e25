"""Task heads that stand on a shared backbone.

transformers' own `AutoModelFor...` class computes the answer, so that every architecture's pooling and
head layers are right; only its body is replaced by the resident one.
"""

from __future__ import annotations

import copy
from typing import Any

from nlptasks.errors import AdapterError, UnsupportedModelError
from nlptasks.runtime.loading.roots import HEAD_CLASSES, Root


def body_name(root: Root, verb: str) -> str:
    """What the task model for a verb calls its body: `LlamaForQuestionAnswering` says transformer, Llama says model."""
    import transformers

    known = getattr(transformers, HEAD_CLASSES[verb])._model_mapping
    # Code that comes with a checkpoint stands in no table.
    name: str = known.get(type(root.config), root.backbone).base_model_prefix
    return name


def build_head(root: Root, verb: str, num_labels: int, weights: dict[str, Any], config: dict[str, Any]) -> Any:
    """A task model whose body is `root.backbone` and whose own layers hold `weights`.

    `weights` maps parameter names of the task model (body left out) to tensors; `config` holds settings of
    the architecture that the adapter was trained with.

    Raises:
        UnsupportedModelError: the architecture has no such head.
        AdapterError: `weights` lacks a layer of the head, or brings one that it has not.
    """
    import torch

    from nlptasks.runtime.cpu.first_token import for_first_token

    head = _empty_head(root, verb, num_labels, config)
    prefix = head.base_model_prefix
    setattr(head, prefix, torch.nn.Identity())
    expected = set(head.state_dict())
    if expected != set(weights):
        missing, surplus = sorted(expected - set(weights)), sorted(set(weights) - expected)
        raise AdapterError(
            f"The adapter does not fit the {verb} head of {type(head).__name__}: "
            f"missing {', '.join(missing) or 'nothing'}; unexpected {', '.join(surplus) or 'nothing'}."
        )
    head.to_empty(device=root.placement.device)
    head.load_state_dict(weights, strict=True)
    head.to(root.placement.torch_dtype)
    setattr(head, prefix, for_first_token(root.backbone) if verb == "classify" else root.backbone)
    return head.eval().requires_grad_(False)


def _empty_head(root: Root, verb: str, num_labels: int, settings: dict[str, Any]) -> Any:
    import torch
    import transformers

    config = copy.deepcopy(root.config)
    config.num_labels = num_labels
    for name, value in settings.items():
        setattr(config, name, value)
    auto = getattr(transformers, HEAD_CLASSES[verb])
    try:
        with torch.device("meta"):
            return auto.from_config(config)
    except ValueError as error:
        raise UnsupportedModelError(f"{config.model_type} has no {verb} head in transformers.") from error
