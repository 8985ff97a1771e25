"""Load a base model's weights once: every adapter and head stands on them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.errors import UnsafeWeightsError, UnsupportedModelError
from nlptasks.model import HEADS, ModelKind
from nlptasks.process import LOADING
from nlptasks.runtime.loading.devices import Placement, choose_placement
from nlptasks.store.adapters import Manifest, read_manifest
from nlptasks.store.folders import check_folder
from nlptasks.store.gguf import quiet_transformers as quiet_transformers
from nlptasks.store.weights import read_headers

if TYPE_CHECKING:
    from nlptasks.store.download import BaseFolder

HEAD_CLASSES = {verb: head.model for verb, head in HEADS.items() if head.model}
"""transformers' class with the head that each verb needs."""


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """Modules with weights: `model` is the bare encoder, or the language model with its output layer; `backbone` is the
    part that heads stand on; `native_head` is the checkpoint's own task model when it has one."""

    model: Any
    backbone: Any
    native_head: Any = None

    @property
    def num_bytes(self) -> int:
        whole = self.native_head if self.native_head is not None else self.model
        return sum(p.numel() * p.element_size() for p in whole.parameters())


@dataclass
class LoadedBase:
    """A base: its tokenizer and configuration, and weights that `load` reads when torch first computes with them.

    What a compiled graph answers needs no weights in torch. `native_verb` is the verb that the checkpoint's own task
    model answers, "" where it has none. `manifest` is that of a model that was trained here: all weights fine-tuned,
    or an adapter merged.
    """

    tokenizer: Any
    config: Any
    generation_config: Any
    kind: ModelKind
    placement: Placement
    load: Callable[[], Weights]
    native_verb: str = ""
    manifest: Manifest | None = None

    @cached_property
    def weights(self) -> Weights:
        """The weights, loaded now if need be."""
        return self.load()

    def unload(self) -> None:
        """Forget the weights; a later use loads them again."""
        self.__dict__.pop("weights", None)

    @property
    def model(self) -> Any:
        return self.weights.model

    @property
    def backbone(self) -> Any:
        return self.weights.backbone

    @property
    def native_head(self) -> Any:
        return self.weights.native_head

    @property
    def num_bytes(self) -> int:
        """Memory of the weights in torch; 0 until they are loaded."""
        return self.weights.num_bytes if "weights" in self.__dict__ else 0

    @cached_property
    def pad_id(self) -> int:
        """The token that fills up the rows of a batch."""
        return self.tokenizer.pad_token_id or 0

    @cached_property
    def unknown_id(self) -> int | None:
        """See the function of this name."""
        return unknown_id(self.tokenizer)

    @cached_property
    def num_special(self) -> tuple[int, int]:
        """Special tokens that the tokenizer adds to a text, and to a pair."""
        one, two = (self.tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
        return one, two

    @cached_property
    def max_tokens(self) -> int:
        """Longest input in tokens, special tokens included."""
        # A tokenizer without a limit has 10**30.
        limits = [n for n in (self.tokenizer.model_max_length, self._positions()) if n and n < 10**9]
        return min(limits, default=512)

    def _positions(self) -> int | None:
        positions = getattr(self.config, "max_position_embeddings", None) or getattr(self.config, "n_positions", None)
        if positions is None:
            return None
        # RoBERTa's position ids start after the padding id, so that many rows of its table are never used.
        offset = (self.config.pad_token_id or 0) + 1 if self.config.model_type in _OFFSET_POSITIONS else 0
        return int(positions) - offset


def unknown_id(tokenizer: Any) -> int | None:
    """The token of what the vocabulary lacks; None if there is none, or if it is another special token too."""
    special = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.cls_token_id}
    return None if tokenizer.unk_token_id in special else tokenizer.unk_token_id


_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet", "longformer"})


def load_base(
    folder: BaseFolder, device: str = "auto", dtype: str = "auto", *, trust_remote_code: bool = False
) -> LoadedBase:
    """Load tokenizer and configuration from a folder on disk, and the weights when they are first used; never from
    the network.

    Raises:
        UnsafeWeightsError: only pickled weights, or code of its own without `trust_remote_code`.
        UnsupportedModelError: an architecture that transformers does not know, or that has no int8; a damaged file.
    """
    config = load_config(folder, trust_remote_code)
    # A damaged file is named before transformers takes memory for it.
    read_headers(folder.path)
    verb = _native_verb(config)
    kind = model_kind(config)
    placement = choose_placement(device, dtype, config.model_type, writes=kind == "causal" and not verb)
    if placement.dtype == "int8" and kind != "encoder":
        # Written one token at a time, text costs the reading of weights, not products of many rows.
        raise UnsupportedModelError(
            f"dtype 'int8' is for encoders, and {folder.id} is a {kind} model ({config.model_type}): use dtype='auto'."
        )
    with quiet_transformers():
        tokenizer = load_tokenizer(folder.path, trust_remote_code=trust_remote_code)
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id

    def load() -> Weights:
        return _load_weights(folder, config, placement, verb, trust_remote_code)

    generation = None if kind == "encoder" or verb else _generation_config(folder.path, config)
    return LoadedBase(tokenizer, config, generation, kind, placement, load, verb, read_manifest(folder.path))


def _load_weights(folder: BaseFolder, config: Any, placement: Placement, verb: str, trust_remote_code: bool) -> Weights:
    with quiet_transformers():
        import transformers

        from nlptasks.runtime.cpu import attention
        from nlptasks.runtime.cpu.first_token import for_first_token

        kind = model_kind(config)
        auto = getattr(transformers, HEAD_CLASSES.get(verb, BODY_CLASSES[kind]))
        loaded = auto.from_pretrained(
            folder.path,
            config=config,
            dtype=placement.torch_dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
        )
    loaded.eval().requires_grad_(False).to(placement.device)
    if getattr(loaded, "generation_config", None) is not None:
        # Every request sets a limit; transformers would warn about a second one.
        loaded.generation_config.max_length = None
    _log.info("Loaded %s from %s: %s on %s.", folder.id, folder.path, placement.dtype, placement.device)
    backbone = loaded.base_model
    if kind == "encoder" and placement.device == "cpu":
        attention.tune(loaded, placement.dtype)
    if verb == "classify":
        setattr(loaded, loaded.base_model_prefix, for_first_token(backbone))
    return Weights(backbone, backbone, loaded) if verb else Weights(loaded, backbone)


def _generation_config(path: Path, config: Any) -> Any:
    """How a checkpoint writes by default, as transformers reads it for the model."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(path, local_files_only=True)
    except OSError:
        return GenerationConfig.from_model_config(config)


def load_tokenizer(path: Path, *, trust_remote_code: bool = False) -> Any:
    """The fast tokenizer of a folder, with a padding token (the end token where there is none)."""
    # Marian's tokenizer recommends it; it changes quotation marks and spaces, which must stay as they are.
    warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")
    with LOADING:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=trust_remote_code)
    if tokenizer.pad_token_id is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    # A text that spells out a control token, such as </s> or <|im_start|>, is text. Set here and not in the call above,
    # so that a saved copy of the tokenizer has transformers' default.
    tokenizer.split_special_tokens = True
    return tokenizer


def load_config(folder: BaseFolder, trust_remote_code: bool) -> Any:
    """The configuration of a folder on disk.

    Raises:
        UnsafeWeightsError: code of its own without `trust_remote_code`, or only pickled weights.
        UnsupportedModelError: an architecture that transformers does not know.
    """
    check_folder(folder.path)
    try:
        with LOADING:
            from transformers import AutoConfig

            config = AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=trust_remote_code)
    except ValueError as error:
        if "trust_remote_code" in str(error):
            raise UnsafeWeightsError(
                f"{folder.id} brings code of its own. If you trust it, pass trust_remote_code=True to Engine."
            ) from error
        raise UnsupportedModelError(f"{folder.id}: transformers does not know this architecture ({error}).") from error
    return config


BODY_CLASSES: dict[ModelKind, str] = {
    "encoder": "AutoModel",
    "causal": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
}
"""transformers' class for a base of each kind without a trained head."""


def _native_verb(config: Any) -> str:
    architecture = (config.architectures or [""])[0]
    endings = {verb: name.removeprefix("AutoModel") for verb, name in HEAD_CLASSES.items()}
    return next((verb for verb, ending in endings.items() if architecture.endswith(ending)), "")


def model_kind(config: Any) -> ModelKind:
    """What a base of this configuration is used as."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    if config.is_encoder_decoder:
        return "seq2seq"
    # BERT and its like are in both tables: they can be turned into decoders, but are not.
    known = config.model_type
    causal = known in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and known not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return "causal" if causal else "encoder"
