"""The ranges of the inputs of an encoder's linear layers: with them `dtype="int8"` fixes its scales beforehand.

`ranges.safetensors` stands beside an adapter's weights, or in a model's folder. For each linear layer of the base, by
its name there, it holds the lowest and the highest value of each input channel that real inputs led to: float32 of
shape (2, channels).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nlptasks.errors import AdapterError
from nlptasks.store.folders import write_whole
from nlptasks.store.weights import RANGES, read_header

Ranges = dict[str, Any]
"""Numpy arrays of shape (2, channels) by the names of linear layers."""


@contextmanager
def observing(backbone: Any) -> Iterator[Ranges]:
    """Fill the ranges with the inputs of the backbone's linear layers until the block ends.

    One thread at a time may call the backbone. Padding counts like any token, so give it one row a batch.
    """
    import torch

    ranges: Ranges = {}

    def watch(name: str, layer: torch.nn.Module) -> Any:
        def note(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            seen = inputs[0].detach().float().flatten(0, -2)
            if name in ranges:
                seen = torch.cat([seen, torch.from_numpy(ranges[name])])
            ranges[name] = torch.stack([seen.amin(0), seen.amax(0)]).numpy()

        return layer.register_forward_pre_hook(note)

    linear = [(name, module) for name, module in backbone.named_modules() if isinstance(module, torch.nn.Linear)]
    hooks = [watch(name, layer) for name, layer in linear]
    try:
        yield ranges
    finally:
        for hook in hooks:
            hook.remove()


def save_ranges(ranges: Ranges, folder: Path) -> None:
    """Write ranges into the folder of an adapter or a model, in place of those that are there; atomic."""
    from safetensors.numpy import save

    write_whole(folder / RANGES, save(ranges))


def read_ranges(folder: Path) -> Ranges:
    """The ranges in a folder; none where none were measured.

    Raises:
        AdapterError: the file cannot be read, or holds something else.
    """
    from safetensors.numpy import load_file

    file = folder / RANGES
    if not file.is_file():
        return {}
    for name, tensor in read_header(file).items():
        if tensor.dtype != "F32" or len(tensor.shape) != 2 or tensor.shape[0] != 2:
            raise AdapterError(
                f"{file}: expected a lowest and a highest value for each channel of {name}, F32 of "
                f"shape (2, channels), found {tensor.dtype} of {tensor.shape}: {_REMEDY}"
            )
    ranges: Ranges = load_file(file)
    return ranges


def rename(ranges: Ranges, backbone: Any, head: Any) -> Ranges:
    """The ranges of a backbone's layers by the names that they have in the task model that stands on it.

    Of a layer that has another number of inputs they are left out: they are another base's.
    """
    names = {module: name for name, module in backbone.named_modules()}
    renamed: Ranges = {}
    for path, module in head.named_modules():
        known = ranges.get(names.get(module, ""))
        if known is not None and known.shape[1] == getattr(module, "in_features", None):
            renamed[path] = known
    return renamed


_REMEDY = "measure them again with `nlptasks adapters ranges`, or delete the file."
