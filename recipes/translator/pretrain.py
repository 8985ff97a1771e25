"""Train the embedded translator from nothing: a small Marian model for English with French, German and Spanish.

    python recipes/translator/pretrain.py PARALLEL --out translator [--minutes 150] [--resume | --start FOLDER]

PARALLEL is a folder of folders with `train.jsonl[.gz]` (rows with `en` and one of `fr`, `de`, `es`); README.md beside
this file says which sets were used. One model translates both ways: the wanted language stands before the text
(`>>fra<< Good day.`), as in opus-mt's multilingual checkpoints. The result is a standard MarianMT folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import math
import os
import random
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
import transformers
from transformers import MarianConfig, MarianMTModel, MarianTokenizer, Trainer, TrainerCallback, TrainingArguments

from nlptasks.runtime.cpu.memory import TRAINING_BLOCK, keep_freed_memory
from nlptasks.runtime.loading.devices import choose_placement
from nlptasks.training.loop.average import WeightAverage

CODES = {"en": ">>eng<<", "fr": ">>fra<<", "de": ">>deu<<", "es": ">>spa<<"}
"""What the model is told before a text, by the language that is wanted: opus-mt's form of ISO 639-3."""

IGNORED = -100
SHARD = "15MB"
"""Largest file of the result."""
WORKERS = 3
"""Processes that put batches together for a GPU, which computes one sooner than a single process makes the next."""


@dataclass(frozen=True)
class Recipe:
    """The settings of `pretrain.toml`; sizes in transformers' terms, `tokens` is the padded size of a batch."""

    pieces: int = 16_000
    d_model: int = 384
    encoder_layers: int = 8
    decoder_layers: int = 2
    attention_heads: int = 6
    ffn_dim: int = 1536
    dropout: float = 0.1
    lr: float = 1e-3
    warmup_steps: int = 2000
    steps: int = 60_000
    tokens: int = 6000
    longest: int = 128
    label_smoothing: float = 0.1
    average: float = 0.9995
    cooldown: float = 0.3
    """The share of `--minutes`, at their end, in which the learning rate falls to nothing."""
    seed: int = 13
    into_english: float = 1.0
    """How often a row comes with English as its target, where 1 is as often as the other way."""
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    """How often the rows of a set come in an epoch, by the beginning of its folder's name; 1 for others."""


Pair = tuple[str, str, str]
"""The code of the wanted language, the text, its translation."""


def read_pairs(folder: Path, recipe: Recipe, limit: int | None = None) -> list[Pair]:
    """Both directions of every row, sets repeated or thinned by their weight; the same for a seed."""
    chance = random.Random(recipe.seed)
    pairs: list[Pair] = []
    seen: set[tuple[str, str]] = set()
    for file in sorted(folder.glob("*/train.jsonl*")):
        weight = next((w for name, w in recipe.weights.items() if file.parent.name.startswith(name)), 1.0)
        rows = list(_rows(file))[:limit]
        for english, other, tag in rows:
            if (english, other) in seen:
                continue
            seen.add((english, other))
            pairs += [(CODES[tag], english, other)] * _times(weight, chance)
            pairs += [(CODES["en"], other, english)] * _times(weight * recipe.into_english, chance)
    if not pairs:
        raise SystemExit(f"{folder}: expected folders with train.jsonl or train.jsonl.gz, found no row in any.")
    return pairs


def _times(weight: float, chance: random.Random) -> int:
    """A whole number whose mean is `weight`."""
    return int(weight) + (chance.random() < weight % 1)


def _rows(file: Path) -> Iterator[tuple[str, str, str]]:
    """(English, the other text, its language) of a file."""
    content = file.read_bytes()
    text = (gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8")
    for row in map(json.loads, text.strip().split("\n")):
        tag = next(tag for tag in CODES if tag != "en" and tag in row)
        english, other = (" ".join(row[name].split()) for name in ("en", tag))
        # Three times as long, or nothing at all: a misaligned row.
        if english and other and len(english) < 3 * len(other) + 20 and len(other) < 3 * len(english) + 20:
            yield english, other, tag


def make_tokenizer(pairs: Sequence[Pair], folder: Path, recipe: Recipe) -> MarianTokenizer:
    """One sentencepiece vocabulary for all languages, as a Marian tokenizer in `folder`."""
    if (folder / "vocab.json").is_file():
        return MarianTokenizer.from_pretrained(folder)
    chance = random.Random(recipe.seed)
    sample = chance.sample(pairs, min(len(pairs), 400_000))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for _, source, target in sample for text in (source, target)]),
        model_prefix=str(folder / "joint"),
        vocab_size=recipe.pieces,
        character_coverage=0.9998,
        byte_fallback=True,
        split_digits=True,
        input_sentence_size=400_000,
        shuffle_input_sentence=True,
        train_extremely_large_corpus=False,
        minloglevel=1,
        pad_id=-1, bos_id=-1, eos_id=0, unk_id=1,
    )  # fmt: skip
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "joint.model"))
    words = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    vocabulary = {word: index for index, word in enumerate([*words, *CODES.values(), "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes((folder / "joint.model").read_bytes())
    for name in ("joint.model", "joint.vocab"):
        (folder / name).unlink()
    tokenizer = MarianTokenizer(
        source_spm=str(folder / "source.spm"),
        target_spm=str(folder / "target.spm"),
        vocab=str(folder / "vocab.json"),
        model_max_length=512,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_model(tokenizer: MarianTokenizer, recipe: Recipe) -> MarianMTModel:
    """A deep encoder, which reads at once, and a shallow decoder, which is what translating waits for."""
    pad = tokenizer.convert_tokens_to_ids("<pad>")
    config = MarianConfig(
        vocab_size=len(tokenizer.get_vocab()),
        d_model=recipe.d_model,
        encoder_layers=recipe.encoder_layers,
        decoder_layers=recipe.decoder_layers,
        encoder_attention_heads=recipe.attention_heads,
        decoder_attention_heads=recipe.attention_heads,
        encoder_ffn_dim=recipe.ffn_dim,
        decoder_ffn_dim=recipe.ffn_dim,
        max_position_embeddings=512,
        activation_function="swish",
        dropout=recipe.dropout,
        scale_embedding=True,
        pad_token_id=pad,
        decoder_start_token_id=pad,
        eos_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=tokenizer.eos_token_id,
    )
    transformers.set_seed(recipe.seed)
    model = MarianMTModel(config)
    model.generation_config = transformers.GenerationConfig(
        num_beams=4,
        max_length=512,
        bad_words_ids=[[pad]],
        pad_token_id=pad,
        decoder_start_token_id=pad,
        eos_token_id=config.eos_token_id,
        forced_eos_token_id=config.eos_token_id,
    )
    return model


Row = tuple[np.ndarray, np.ndarray]
"""The pieces of a text, behind the code of the wanted language, and those of its translation."""


def encode(pairs: Sequence[Pair], tokenizer: MarianTokenizer) -> Iterator[Row]:
    """The pairs as the tokenizer would read them, each text read once, which takes a twelfth of the time."""
    model = tokenizer.spm_source  # the same as that of the targets
    vocabulary = tokenizer.get_vocab()
    numbers = np.array([vocabulary[model.id_to_piece(i)] for i in range(model.get_piece_size())], dtype=np.int32)
    texts = sorted({text for _, *both in pairs for text in both})
    encoded = model.encode(texts, out_type=int, num_threads=os.cpu_count() or 1, add_eos=True)
    pieces = {text: numbers[row] for text, row in zip(texts, encoded, strict=True)}
    for code, source, target in pairs:
        yield np.concatenate(([np.int32(vocabulary[code])], pieces[source])), pieces[target]


class Batches(torch.utils.data.Dataset[dict[str, Any]]):
    """Batches of about `tokens` padded tokens whose rows have like lengths, in a random order."""

    def __init__(self, rows: Iterable[Row], pad: int, recipe: Recipe) -> None:
        self._pad = pad
        self._rows = [row for row in rows if max(map(len, row)) <= recipe.longest]
        sizes = [len(source) + len(target) for source, target in self._rows]
        chance = random.Random(recipe.seed)
        self._batches: list[list[int]] = [[]]
        for index in sorted(range(len(sizes)), key=lambda i: (sizes[i], chance.random())):
            if (len(self._batches[-1]) + 1) * sizes[index] > recipe.tokens:
                self._batches.append([])
            self._batches[-1].append(index)
        chance.shuffle(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sources, targets = zip(*(self._rows[i] for i in self._batches[index]), strict=True)
        inputs, labels = _padded(sources, self._pad), _padded(targets, IGNORED)
        # The decoder reads what it should have written so far, behind the padding token, which starts it.
        read = torch.nn.functional.pad(labels[:, :-1], (1, 0), value=self._pad).masked_fill(
            labels == IGNORED, self._pad
        )
        return {
            "input_ids": inputs,
            "attention_mask": (inputs != self._pad).long(),
            "decoder_input_ids": read,
            "labels": labels,
        }


def _padded(rows: Sequence[np.ndarray], value: int) -> torch.Tensor:
    """Shape (rows, longest)."""
    padded = torch.full((len(rows), max(map(len, rows))), value)
    for place, row in zip(padded.numpy(), rows, strict=True):
        place[: len(row)] = row
    return padded


class Watch(TrainerCallback):
    """Averages the weights, ends in time with small steps, and keeps the average with each checkpoint."""

    def __init__(self, model: MarianMTModel, recipe: Recipe, seconds: float) -> None:
        self.average = WeightAverage(dict(model.named_parameters()), recipe.average)
        self._until = time.monotonic() + seconds
        self._cooling = recipe.cooldown * seconds if seconds < math.inf else 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
        # The schedule sets every step's rate anew, so that this does not multiply up. Falling to nothing at the end
        # gains what a schedule of known length would (Hägele et al. 2024, arXiv:2405.18392).
        left = self._until - time.monotonic()
        if self._cooling and left < self._cooling:
            for group in optimizer.param_groups:
                group["lr"] *= max(0.0, left / self._cooling)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.average.update(state.global_step)
        if time.monotonic() > self._until:
            control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        torch.save(self.average.values, folder / "average.pt")

    def resume(self, checkpoint: Path) -> None:
        """Continue from the average of a checkpoint of this program."""
        self.average.load(torch.load(checkpoint / "average.pt", weights_only=True))


def smoothed_loss(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Mean cross entropy of (rows, tokens, pieces) with label smoothing; half the time of Trainer's own on a CPU."""
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing
    )


def train(model: MarianMTModel, batches: Batches, folder: Path, recipe: Recipe, minutes: float, resume: bool) -> None:
    """Train until `recipe.steps` or the time is over; the averaged weights are in the model afterwards."""
    placement = choose_placement()
    workers = 0 if placement.device == "cpu" else WORKERS
    if placement.device == "cpu":
        keep_freed_memory(TRAINING_BLOCK)
    arguments = TrainingArguments(
        output_dir=str(folder / "run"),
        max_steps=recipe.steps,
        per_device_train_batch_size=1,
        learning_rate=recipe.lr,
        lr_scheduler_type="inverse_sqrt",
        warmup_steps=recipe.warmup_steps,
        adam_beta2=0.98,
        weight_decay=0.01,
        max_grad_norm=1.0,
        bf16=placement.dtype == "bfloat16",
        use_cpu=placement.device == "cpu",
        logging_steps=50,
        save_steps=500,
        save_total_limit=2,
        report_to="none",
        seed=recipe.seed,
        dataloader_num_workers=workers,
        dataloader_persistent_workers=workers > 0,
        remove_unused_columns=False,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=batches,
        data_collator=lambda rows: rows[0],
        compute_loss_func=lambda outputs, labels, **_: smoothed_loss(outputs["logits"], labels, recipe.label_smoothing),
    )
    # Now that the model stands on its device: the averages stand beside it.
    watch = Watch(model, recipe, minutes * 60)
    trainer.add_callback(watch)
    last = transformers.trainer_utils.get_last_checkpoint(arguments.output_dir) if resume else None
    if last:
        watch.resume(Path(last))
    trainer.train(resume_from_checkpoint=last)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(watch.average.values[name])


def main() -> None:
    """Read, train, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of folders with train.jsonl[.gz]")
    parser.add_argument("--out", type=Path, required=True, help="where the model and the run go")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).with_name("pretrain.toml"))
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop, with a checkpoint, after so long")
    parser.add_argument("--limit", type=int, help="rows of each set, for a trial")
    parser.add_argument("--start", type=Path, help="a translator of this program, to go on from")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    arguments = parser.parse_args()
    recipe = Recipe(**tomllib.loads(arguments.recipe.read_text(encoding="utf-8")))
    arguments.out.mkdir(parents=True, exist_ok=True)
    pairs = read_pairs(arguments.data, recipe, arguments.limit)
    if arguments.start:
        tokenizer = MarianTokenizer.from_pretrained(arguments.start)
        tokenizer.save_pretrained(arguments.out)
        model = MarianMTModel.from_pretrained(arguments.start, dtype=torch.float32, dropout=recipe.dropout)
    else:
        tokenizer = make_tokenizer(pairs, arguments.out, recipe)
        model = make_model(tokenizer, recipe)
    batches = Batches(encode(pairs, tokenizer), tokenizer.convert_tokens_to_ids("<pad>"), recipe)
    print(f"{len(pairs):,} pairs in {len(batches):,} batches, {model.num_parameters():,} parameters", flush=True)
    train(model, batches, arguments.out, recipe, arguments.minutes, arguments.resume)
    model.to(torch.bfloat16).save_pretrained(arguments.out, max_shard_size=SHARD)
    print(f"saved in {arguments.out}")


if __name__ == "__main__":
    main()
