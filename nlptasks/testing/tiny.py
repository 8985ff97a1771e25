"""A real model folder of a few kilobytes: random weights, a byte tokenizer, no download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlptasks.model import ModelKind

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SPECIALS = ("<pad>", "<unk>", "<s>", "</s>", "<mask>", "<|im_start|>", "<|im_end|>")
_PAD, _BOS, _EOS = 0, 2, 3

_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_HIDDEN, _LAYERS, _HEADS, _INNER = 32, 2, 2, 64
_CLASSES = {"encoder": "AutoModel", "causal": "AutoModelForCausalLM", "seq2seq": "AutoModelForSeq2SeqLM"}
_WINDOW = {"encoder": 128, "causal": 512, "seq2seq": 256}

_STANDARD = {
    "hidden_size": _HIDDEN,
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": _HEADS,
    "intermediate_size": _INNER,
}
_ENCODER_DECODER = {
    "d_model": _HIDDEN,
    "encoder_layers": _LAYERS,
    "decoder_layers": _LAYERS,
    "encoder_attention_heads": _HEADS,
    "decoder_attention_heads": _HEADS,
    "encoder_ffn_dim": _INNER,
    "decoder_ffn_dim": _INNER,
    "decoder_start_token_id": _EOS,
    "forced_eos_token_id": _EOS,
}

_SIZES: dict[str, tuple[ModelKind, dict[str, Any]]] = {
    "bert": ("encoder", _STANDARD),
    "roberta": ("encoder", {**_STANDARD, "max_position_embeddings": _WINDOW["encoder"] + _PAD + 1}),
    "distilbert": ("encoder", {"dim": _HIDDEN, "n_layers": _LAYERS, "n_heads": _HEADS, "hidden_dim": _INNER}),
    "modernbert": ("encoder", {**_STANDARD, "cls_token_id": _BOS, "sep_token_id": _EOS, "local_attention": 32}),
    "llama": ("causal", {**_STANDARD, "num_key_value_heads": _HEADS}),
    "qwen2": ("causal", {**_STANDARD, "num_key_value_heads": _HEADS}),
    "gemma3_text": ("causal", {**_STANDARD, "num_key_value_heads": _HEADS, "head_dim": _HIDDEN // _HEADS}),
    "gpt2": ("causal", {"n_embd": _HIDDEN, "n_layer": _LAYERS, "n_head": _HEADS, "n_positions": _WINDOW["causal"]}),
    "t5": (
        "seq2seq",
        {
            "d_model": _HIDDEN,
            "d_kv": _HIDDEN // _HEADS,
            "d_ff": _INNER,
            "num_layers": _LAYERS,
            "num_heads": _HEADS,
            "decoder_start_token_id": _PAD,
        },
    ),
    "bart": ("seq2seq", _ENCODER_DECODER),
    "marian": ("seq2seq", _ENCODER_DECODER),
    "pegasus": ("seq2seq", _ENCODER_DECODER),
    "mbart": ("seq2seq", _ENCODER_DECODER),
    "m2m_100": ("seq2seq", _ENCODER_DECODER),
}
_NO_POSITIONS = frozenset({"t5", "gpt2"})

ARCHITECTURES: dict[ModelKind, tuple[str, ...]] = {
    kind: tuple(name for name, (its_kind, _) in _SIZES.items() if its_kind == kind)
    for kind in ("encoder", "causal", "seq2seq")
}
"""What `tiny_model` can build; the first of each kind is its default."""


def tiny_model(folder: Path, kind: ModelKind = "encoder", architecture: str | None = None, seed: int = 0) -> Path:
    """Write a random two-layer model to `folder` and return it; `AutoModel.from_pretrained` loads it.

    `architecture` is a transformers model type of `ARCHITECTURES`; it decides the kind when it is given.

    Raises:
        ValueError: the architecture is not in the list.
    """
    name = architecture or ARCHITECTURES[kind][0]
    if name not in _SIZES:
        raise ValueError(f"architecture: expected one of {', '.join(_SIZES)}, found {name!r}.")
    import torch
    import transformers

    kind, sizes = _SIZES[name]
    tokenizer = _byte_tokenizer(kind)
    ids = {"pad_token_id": _PAD, "bos_token_id": _BOS, "eos_token_id": _EOS}
    positions = {} if name in _NO_POSITIONS else {"max_position_embeddings": _WINDOW[kind]}
    config = transformers.AutoConfig.for_model(name, vocab_size=len(tokenizer), **{**ids, **positions, **sizes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, _CLASSES[kind]).from_config(config)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _byte_tokenizer(kind: ModelKind) -> PreTrainedTokenizerFast:
    """One token a byte: no training, nothing unknown, and offsets of whole characters for any Unicode text."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate((*_SPECIALS, *alphabet))}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    if kind != "causal":
        first = "<s> " if kind == "encoder" else ""
        backend.post_processor = processors.TemplateProcessing(
            single=f"{first}$A </s>",
            pair=f"{first}$A </s> $B:1 </s>:1",
            special_tokens=[("<s>", _BOS), ("</s>", _EOS)],
        )
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"] if kind == "causal" else None,
        model_max_length=_WINDOW[kind],
        clean_up_tokenization_spaces=False,
        **({"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"} if kind == "encoder" else {}),
    )
    if kind == "causal":
        tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer
