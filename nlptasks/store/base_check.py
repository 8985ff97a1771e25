"""Whether an adapter was trained on a base (law: an adapter only meets its own base)."""

from __future__ import annotations

from pathlib import Path

from nlptasks.errors import AdapterMismatchError
from nlptasks.store.adapters import FACTOR, PEFT_WEIGHTS, AdapterFolder
from nlptasks.store.weights import Header, fingerprint, read_header, read_headers


def check_base(adapter: AdapterFolder, base_id: str, base_path: Path) -> None:
    """Refuse an adapter that was trained on another base.

    With a manifest the fingerprints must be equal. Without one the shapes must fit, which is all that a
    plain PEFT folder allows to check.

    Raises:
        AdapterMismatchError: naming both bases.
    """
    if adapter.manifest:
        trained = adapter.manifest.base
        loaded = fingerprint(base_path)
        if trained.fingerprint != loaded:
            raise AdapterMismatchError(
                f"Adapter {adapter.name!r} was trained on {trained.id} ({trained.fingerprint}), "
                f"the loaded base is {base_id} ({loaded}). Name {trained.id} as "
                f"model, or train an adapter on {base_id}."
            )
        return
    unfit = _unfit_shapes(read_header(adapter.path / PEFT_WEIGHTS), read_headers(base_path))
    if unfit and adapter.base_id == base_id:
        raise AdapterMismatchError(
            f"Adapter {adapter.name!r} does not fit {base_id}, which it names as its base: {unfit}. Name "
            "the base that it was trained on as model."
        )
    if unfit:
        raise AdapterMismatchError(
            f"Adapter {adapter.name!r} was trained on {adapter.base_id or 'an unnamed base'}, "
            f"the loaded base is {base_id}: {unfit}. Name {adapter.base_id or 'its own base'} as model."
        )


def _unfit_shapes(adapter: Header, base: Header) -> str:
    """Why the LoRA factors do not fit these weights, or "" if they do."""
    for name, factor in adapter.items():
        match = FACTOR.fullmatch(name)
        if not match or match["side"] != "A":
            continue
        layer = match["layer"].removeprefix("base_model.model.")
        # Each task model has its own name for the body: bert., model., transformer., ...
        endings = (f".{layer}.weight", f".{layer.split('.', 1)[-1]}.weight")
        weight = next((tensor.shape for name, tensor in base.items() if f".{name}".endswith(endings)), None)
        if weight is None:
            return f"it has no layer {layer}"
        if factor.shape[1] not in weight:
            return f"{layer} is {factor.shape[1]} wide in the adapter and {max(weight, default=0)} in the base"
    return ""
