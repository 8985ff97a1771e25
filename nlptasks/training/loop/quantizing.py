"""QLoRA: the base in 4 bits while an adapter is trained on it (Dettmers et al. 2023, arXiv:2305.14314).

Only training sees the 4 bits. The adapter is measured, gated and served on the unquantised base.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from nlptasks.errors import InvalidInputError, MissingExtraError, TrainingError

if TYPE_CHECKING:
    from nlptasks.runtime.loading.devices import Placement
    from nlptasks.task import Recipe


def check(recipe: Recipe, verb: str, device: str) -> None:
    """Refuse a recipe with `load_in_4bit` that cannot be trained here; nothing is loaded for it.

    Raises:
        InvalidInputError: all weights are to be trained, or a head.
        TrainingError: no CUDA GPU, or another device was asked for.
        MissingExtraError: bitsandbytes is not installed.
    """
    import torch

    problems = []
    if recipe.method != "lora":
        problems.append(f"load_in_4bit: expected method lora, whose base stays as it is, found {recipe.method!r}.")
    if verb != "generate":
        problems.append("load_in_4bit: expected a task that writes; heads stand on encoders, which are small enough.")
    if problems:
        raise InvalidInputError("The recipe is not valid", problems)
    if not torch.cuda.is_available() or not device.startswith(("auto", "cuda")):
        reason = "torch sees none here" if device in ("auto", "cuda") else f"the device is {device!r}"
        raise TrainingError(f"load_in_4bit (QLoRA) needs a CUDA GPU, and {reason}: train without it.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError("Training in 4 bits", "qlora")


def loading(placement: Placement) -> dict[str, Any]:
    """Arguments of `from_pretrained` for a base in 4 bits: NF4 with its scales quantised too, as in the paper.

    Products are computed in the placement's numbers, bfloat16 or float32: never in float16, where T5 overflows.
    """
    import transformers

    config = transformers.BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=placement.torch_dtype,
    )
    return {"quantization_config": config, "device_map": {"": placement.device}}


def prepared(model: Any) -> Any:
    """The frozen base with its small layers in float32 and activations computed again in the backward pass."""
    import peft

    return peft.prepare_model_for_kbit_training(model)
