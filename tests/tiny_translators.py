"""Random translation checkpoints of a few kilobytes with real tokenizers, trained here on a few sentences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

SENTENCES = (
    "The train to the harbour leaves at seven in the morning.",
    "Le train pour le port part à sept heures du matin.",
    "Der Zug zum Hafen fährt um sieben Uhr morgens ab.",
    "Our neighbour keeps bees and two old boats behind the house.",
    "Notre voisine garde des abeilles et deux vieux bateaux derrière la maison.",
    "Unsere Nachbarin hält Bienen und zwei alte Boote hinter dem Haus.",
    "Will it rain tomorrow, or may we swim in the lake?",
    "Va-t-il pleuvoir demain, ou pouvons-nous nager dans le lac ?",
    "Wird es morgen regnen, oder dürfen wir im See schwimmen?",
)
SIZES = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 128,
}
KINDS = ("marian", "marian-multi", "m2m100", "nllb", "mbart50")
CLASSES = {
    "marian": "MarianTokenizer",
    "m2m100": "M2M100Tokenizer",
    "nllb": "NllbTokenizer",
    "mbart50": "MBart50Tokenizer",
}


def tiny_translator(kind: str, folder: Path) -> Path:
    """Write a checkpoint with the files that the Hub's checkpoints of this kind have."""
    family = kind.partition("-")[0]
    folder.mkdir(parents=True)
    if family == "marian":
        _marian_files(folder, [">>fra<<", ">>deu<<"] if kind == "marian-multi" else [])
    elif family == "m2m100":
        _m2m_files(folder)
    else:
        _train(folder / "sentencepiece.bpe.model", "bpe" if family == "nllb" else "unigram")
        # NLLB's own checkpoints name their languages here; mBART-50's are written in its tokenizer's class.
        codes = {"additional_special_tokens": list(FAIRSEQ_LANGUAGE_CODES)} if family == "nllb" else {}
        _config(folder, family, **codes)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    _model(family, tokenizer).save_pretrained(folder)
    return folder


def _train(file: Path, kind: str) -> list[str]:
    """A sentencepiece model; its pieces without the special ones."""
    with file.open("wb") as stream:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SENTENCES * 20),
            model_writer=stream,
            model_type=kind,
            vocab_size=120,
            character_coverage=1.0,
            minloglevel=2,
        )
    model = sentencepiece.SentencePieceProcessor(model_file=str(file))
    return [model.id_to_piece(number) for number in range(3, model.vocab_size())]


def _config(folder: Path, family: str, **more: Any) -> None:
    content = {"tokenizer_class": CLASSES[family], "model_max_length": 128, **more}
    (folder / "tokenizer_config.json").write_text(json.dumps(content))


def _marian_files(folder: Path, codes: Sequence[str]) -> None:
    pieces = _train(folder / "source.spm", "unigram")
    (folder / "target.spm").write_bytes((folder / "source.spm").read_bytes())
    vocab = ["</s>", "<unk>", *codes, *pieces, "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocab)}))
    _config(folder, "marian", source_lang="en", target_lang="mul" if codes else "fr")


def _m2m_files(folder: Path) -> None:
    pieces = _train(folder / "sentencepiece.bpe.model", "bpe")
    vocab = ["<s>", "<pad>", "</s>", "<unk>", *pieces]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocab)}))
    _config(folder, "m2m100")


def _model(family: str, tokenizer: Any) -> Any:
    types = {"marian": "marian", "mbart50": "mbart"}
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    # M2M100's languages, and eight words that stand for nothing, have numbers behind the vocabulary's.
    size = tokenizer.vocab_size + len(tokenizer.lang_code_to_id) + 8 if family == "m2m100" else len(tokenizer)
    config = transformers.AutoConfig.for_model(
        types.get(family, "m2m_100"),
        vocab_size=size,
        pad_token_id=pad,
        eos_token_id=end,
        bos_token_id=0,
        decoder_start_token_id=pad if family == "marian" else end,
        forced_eos_token_id=end,
        tie_word_embeddings=False,
        **SIZES,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = transformers.AutoModelForSeq2SeqLM.from_config(config)  # type: ignore[no-untyped-call]
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.5)
    # It writes words: languages and ends of a random model's own accord would hide those that it was given.
    pieces = {number for token, number in tokenizer.get_vocab().items() if any(letter.isalpha() for letter in token)}
    words = pieces - set(tokenizer.all_special_ids) - set(getattr(tokenizer, "lang_code_to_id", {}).values())
    with torch.no_grad():
        silent = [number for number in range(size) if number not in words or number in (pad, end)]
        model.get_output_embeddings().weight[silent] = 0.0
    return model
