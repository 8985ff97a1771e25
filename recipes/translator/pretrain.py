"""Train the embedded translator: a small Marian model for English with French, German and Spanish, both ways.

    python recipes/translator/pretrain.py ROWS.npz --out translator [--start FOLDER] [--minutes 150] [--cooldown 0.3]

ROWS.npz is what `pack.py` beside this file makes. One model translates both ways: the wanted language stands before
the text (`>>fra<< Good day.`), as in opus-mt's multilingual checkpoints. The run goes on from the checkpoint in --out
if there is one, so that it may be killed at any time. The result is a standard MarianMT folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import MarianConfig, MarianMTModel, MarianTokenizer

from nlptasks.runtime.cpu.memory import TRAINING_BLOCK, keep_freed_memory
from nlptasks.runtime.loading.devices import choose_placement
from nlptasks.training.loop.average import WeightAverage

LANGUAGES = {"fr": ">>fra<<", "de": ">>deu<<", "es": ">>spa<<"}
"""What the model is told before an English text, by the language that is wanted: opus-mt's form of ISO 639-3."""
ENGLISH = ">>eng<<"

SHARD = "15MB"
"""Largest file of the result."""
CHECKPOINT = "checkpoint.pt"
CHECKPOINT_SECONDS, VALIDATION_SECONDS = 300.0, 1800.0
LONGEST_STEP = 300.0
"""Seconds. A step that took longer had been stopped from outside; the rest does not count as time of the run."""
VALIDATION_SETS = ("tatoeba", "wmt")
VALIDATED = 40
"""Rows of each of their validation files; the loss of more says little more and takes longer."""


@dataclass(frozen=True)
class Recipe:
    """The settings of `pretrain.toml`; sizes in transformers' terms, `tokens` is the padded size of a batch."""

    d_model: int = 256
    encoder_layers: int = 6
    decoder_layers: int = 2
    attention_heads: int = 4
    ffn_dim: int = 1024
    lr: float = 1e-3
    warmup_steps: int = 300
    tokens: int = 6000
    label_smoothing: float = 0.1
    average: float = 0.9995
    seed: int = 13
    into_english: float = 1.0
    """How often a row comes with English as its target, where 1 is as often as the other way."""
    joined: float = 0.0
    """Share of the short rows that come two by two as one text."""
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    """How often the rows of a set come in an epoch, by the beginning of its name; 1 for others."""


class Rows:
    """The rows of a packed file, in batches."""

    def __init__(self, file: Path, tokenizer: MarianTokenizer, recipe: Recipe) -> None:
        with np.load(file) as arrays:
            self._pieces, table, names = arrays["pieces"], arrays["rows"].astype(np.int64), arrays["sets"]
        ends = np.cumsum(table[:, :2].ravel()).reshape(-1, 2)
        self._ends, self._sizes, self._language = ends, table[:, :2], table[:, 2]
        self.names = [str(name) for name in names]
        self._set = table[:, 3]
        weights = [_weight(name, recipe.weights) for name in self.names]
        self._weights = np.array(weights)[self._set]
        vocabulary = tokenizer.get_vocab()
        self._codes = [vocabulary[code] for code in LANGUAGES.values()]
        self._english, self._pad, self._end = vocabulary[ENGLISH], vocabulary["<pad>"], tokenizer.eos_token_id
        self._recipe = recipe

    def epoch(self, number: int) -> list[np.ndarray]:
        """Batches of one epoch, each an array (rows, 3): a row, the row joined to it or -1, whether English is wanted.

        The same for a number. A batch has about `tokens` padded tokens, of rows of like lengths.
        """
        recipe, chance = self._recipe, np.random.default_rng((self._recipe.seed, number))
        parts = []
        for backwards in (0, 1):
            times = self._weights * (recipe.into_english if backwards else 1.0)
            counts = np.floor(times + chance.random(len(times))).astype(np.int64)
            row = np.repeat(np.arange(len(times)), counts)
            parts.append(np.stack([row, np.full_like(row, -1), np.full_like(row, backwards)], 1))
        entries = np.concatenate(parts)
        chance.shuffle(entries)
        entries = self._join(entries, chance)
        source, target = self._lengths(entries)
        # Like sources first, like targets among them: rows of one sum have up to a fifth more padding.
        order = np.lexsort((chance.random(len(entries)), target, (source + 3) // 4))
        batches, first, longest = [], 0, [0, 0]
        for place, pair in enumerate(zip(source[order].tolist(), target[order].tolist(), strict=True)):
            wider = [max(longest[0], pair[0]), max(longest[1], pair[1])]
            if place > first and (place - first + 1) * sum(wider) > recipe.tokens:
                batches.append(entries[order[first:place]])
                first, wider = place, [*pair]
            longest = wider
        batches.append(entries[order[first:]])
        chance.shuffle(batches)
        return batches

    def validation(self) -> dict[str, list[np.ndarray]]:
        """Batches of the rows held out, both ways, by the names of their sets."""
        batches = {}
        for number, name in enumerate(self.names):
            rows = np.flatnonzero(self._set == number)
            if name.startswith(tuple(f"validation/{start}" for start in VALIDATION_SETS)) and len(rows):
                rows = rows[:VALIDATED]
                rows = rows[np.argsort(self._sizes[rows].sum(1), kind="stable")]
                parts = [np.stack([rows, np.full_like(rows, -1), np.full_like(rows, back)], 1) for back in (0, 1)]
                batches[name.removeprefix("validation/")] = [
                    half for part in parts for half in np.array_split(part, max(1, len(part) // 10))
                ]
        return batches

    def tensors(self, entries: np.ndarray) -> dict[str, torch.Tensor]:
        """What the model reads of a batch, and `labels`: the targets' pieces one after another, without padding."""
        sources, targets = [], []
        for row, joined, backwards in entries:
            halves = [self._texts(row), *([self._texts(joined)] if joined >= 0 else [])]
            wanted = self._english if backwards else self._codes[self._language[row]]
            source, target = (np.concatenate([half[side] for half in halves]) for side in (backwards, 1 - backwards))
            sources.append(np.concatenate(([wanted], source, [self._end])))
            targets.append(np.concatenate((target, [self._end])))
        inputs, labels = _padded(sources, self._pad), _padded(targets, -1)
        # The decoder reads what it should have written so far, behind the padding token, which starts it.
        read = np.full_like(labels, self._pad)
        read[:, 1:] = labels[:, :-1]
        return {
            "input_ids": torch.from_numpy(inputs),
            "attention_mask": torch.from_numpy((inputs != self._pad).astype(np.int64)),
            "decoder_input_ids": torch.from_numpy(np.where(read < 0, self._pad, read)),
            "places": torch.from_numpy(np.flatnonzero(labels.ravel() >= 0)),
            "labels": torch.from_numpy(labels[labels >= 0]),
        }

    def _texts(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """The pieces of a row's English text and of the other one, without their ends."""
        middle, end = self._ends[row]
        start = middle - self._sizes[row, 0]
        return self._pieces[start : middle - 1], self._pieces[middle : end - 1]

    def _lengths(self, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes = self._sizes[entries[:, 0]]
        sizes = sizes + np.where(entries[:, 1:2] >= 0, self._sizes[entries[:, 1]] - 1, 0)
        rows = np.arange(len(entries))
        return sizes[rows, entries[:, 2]] + 1, sizes[rows, 1 - entries[:, 2]]

    def _join(self, entries: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """The entries, of which a share of the short ones has become half as many long ones."""
        short = (self._sizes[entries[:, 0]].sum(1) < 50) & (chance.random(len(entries)) < self._recipe.joined)
        kinds = self._language[entries[:, 0]] * 2 + entries[:, 2]
        parts = [entries[~short]]
        for kind in np.unique(kinds[short]):
            chosen = entries[short & (kinds == kind)]
            half = len(chosen) // 2
            pairs = chosen[:half].copy()
            pairs[:, 1] = chosen[half : 2 * half, 0]
            parts += [pairs, chosen[2 * half :]]
        return np.concatenate(parts)


def _weight(name: str, weights: Mapping[str, float]) -> float:
    if name.startswith("validation/"):
        return 0.0
    return next((weight for start, weight in weights.items() if name.startswith(start)), 1.0)


def _padded(rows: Sequence[np.ndarray], value: int) -> np.ndarray:
    """Shape (rows, longest)."""
    padded = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    return padded


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
        dropout=0.0,  # fewer steps than rows: nothing is learnt by heart
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


def widen(model: MarianMTModel, weights: Mapping[str, torch.Tensor]) -> None:
    """Give `model` the weights of one with narrower feed-forward layers; it computes the same.

    The units that are added keep their random weights towards the input and have none towards the output (Chen et al.
    2016, arXiv:1511.05641).
    """
    with torch.no_grad():
        for name, value in model.state_dict().items():
            smaller = weights[name]
            if ".fc2.weight" in name:
                value.zero_()[:, : smaller.shape[1]] = smaller
            elif ".fc1." in name:
                value[: smaller.shape[0]] = smaller
            else:
                value.copy_(smaller)


def loss_of(model: MarianMTModel, batch: Mapping[str, torch.Tensor], smoothing: float) -> torch.Tensor:
    """Mean cross entropy of a batch's targets, with label smoothing; padding has no logits."""
    read = {name: value for name, value in batch.items() if name not in ("places", "labels")}
    states = model.model(**read, use_cache=False).last_hidden_state.flatten(0, 1)
    logits = model.lm_head(states[batch["places"]])
    return torch.nn.functional.cross_entropy(logits.float(), batch["labels"], label_smoothing=smoothing)


class Run:
    """A training that can go on from its checkpoint."""

    def __init__(self, model: MarianMTModel, rows: Rows, recipe: Recipe, folder: Path) -> None:
        placement = choose_placement()
        self._device, self._half = placement.device, placement.dtype == "bfloat16"
        if self._device == "cpu":
            keep_freed_memory(TRAINING_BLOCK)
            # oneDNN would keep its work for 1,024 sizes of products, 23 GB in bfloat16. It reads this at the first one.
            os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
            # With the fused attention, whose backward pass is slow for short texts, a step takes a fifth longer.
            model.set_attn_implementation("eager")
        self.model = model.to(self._device)
        self._rows, self._recipe, self._file = rows, recipe, folder / CHECKPOINT
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, betas=(0.9, 0.98), weight_decay=0.01)
        self._average = WeightAverage(dict(model.named_parameters()), recipe.average)
        self.state: dict[str, Any] = {"step": 0, "epoch": 0, "batch": 0, "tokens": 0, "seconds": 0.0}
        if self._file.is_file():
            saved = torch.load(self._file, map_location=self._device, weights_only=True)
            model.load_state_dict(saved["model"])
            self._average.load(saved["average"])
            self._optimizer.load_state_dict(saved["optimizer"])
            self.state = saved["state"]

    def save(self) -> None:
        """Write the checkpoint: all of it, or the one before stays."""
        saved = {
            "model": self.model.state_dict(),
            "average": self._average.values,
            "optimizer": self._optimizer.state_dict(),
            "state": self.state,
        }
        part = self._file.with_suffix(".part")
        with part.open("wb") as file:
            torch.save(saved, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._file)

    def train(self, minutes: float, cooldown: float, steps: float) -> None:
        """Train until the time or the steps are over; the averaged weights are in the model afterwards.

        The learning rate falls to nothing in the last `cooldown` of the time, which gains what a schedule of known
        length would (Hägele et al. 2024, arXiv:2405.18392).
        """
        spent, saved, validated, recent, state, whole = 0.0, 0.0, -math.inf, [], self.state, 60 * minutes
        for batch in self._batches() if minutes and steps else ():
            began = time.monotonic()
            rate = min(1.0, (state["step"] + 1) / self._recipe.warmup_steps)
            if cooldown and whole < math.inf:
                rate *= min(1.0, max(0.0, (whole - spent) / (cooldown * whole)))
            recent.append(self._step(batch, rate))
            state["step"] += 1
            state["tokens"] += int(batch["attention_mask"].sum()) + len(batch["labels"])
            self._average.update(state["step"])
            took = min(time.monotonic() - began, LONGEST_STEP)
            spent += took
            state["seconds"] += took
            over = spent >= whole or state["step"] >= steps
            if spent - saved > CHECKPOINT_SECONDS or over:
                self.save()
                validate = over or spent - validated > VALIDATION_SECONDS
                self._report(recent, rate, self._validation() if validate else {})
                saved, validated, recent = spent, spent if validate else validated, []
            if over:
                break
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self._average.values[name])

    def _step(self, batch: dict[str, torch.Tensor], rate: float) -> float:
        with torch.autocast(self._device, torch.bfloat16) if self._half else nullcontext():
            loss = loss_of(self.model, batch, self._recipe.label_smoothing)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.lr * rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def _batches(self) -> Iterator[dict[str, torch.Tensor]]:
        """Batches from where the run is, each made while the model computes the one before."""
        with ThreadPoolExecutor(1) as maker:
            while True:
                batches = self._rows.epoch(self.state["epoch"])
                ready = None
                for entries in batches[self.state["batch"] :]:
                    coming = maker.submit(self._rows.tensors, entries)
                    if ready is not None:
                        yield self._placed(ready.result())
                        self.state["batch"] += 1
                    ready = coming
                if ready is not None:
                    yield self._placed(ready.result())
                self.state["epoch"] += 1
                self.state["batch"] = 0

    def _placed(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: value.to(self._device, non_blocking=True) for name, value in batch.items()}

    def _report(self, recent: Sequence[float], rate: float, validation: dict[str, float]) -> None:
        line = {
            "time": time.strftime("%H:%M:%S"), **self.state, "seconds": round(self.state["seconds"]),
            "rate": round(rate, 3), "loss": round(sum(recent) / len(recent), 4), "validation": validation,
        }  # fmt: skip
        print(json.dumps(line), flush=True)

    def _validation(self) -> dict[str, float]:
        """The averaged weights' loss, without smoothing, on each set held out."""
        losses = {}
        with self._average.applied(), torch.no_grad():
            for name, batches in self._rows.validation().items():
                placed = (self._placed(self._rows.tensors(entries)) for entries in batches)
                sums = [(loss_of(self.model, b, 0.0).item(), len(b["labels"])) for b in placed]
                losses[name] = round(sum(loss * count for loss, count in sums) / sum(count for _, count in sums), 3)
        return losses


def main() -> None:
    """Read, train, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", type=Path, help="what pack.py made")
    parser.add_argument("--out", type=Path, required=True, help="where the model and the checkpoint go")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).with_name("pretrain.toml"))
    parser.add_argument("--start", type=Path, required=True, help="a translator or a folder with a tokenizer only")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop, with a checkpoint, after so long")
    parser.add_argument("--cooldown", type=float, default=0.0, help="share of --minutes in which the rate falls to 0")
    parser.add_argument("--steps", type=float, default=math.inf, help="stop after so many steps of all runs")
    arguments = parser.parse_args()
    recipe = Recipe(**tomllib.loads(arguments.recipe.read_text(encoding="utf-8")))
    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizer = MarianTokenizer.from_pretrained(arguments.start)
    tokenizer.save_pretrained(arguments.out)
    model = make_model(tokenizer, recipe)
    if (arguments.start / "config.json").is_file():
        started = MarianMTModel.from_pretrained(arguments.start, dtype=torch.float32)
        widen(model, started.state_dict())
    run = Run(model, Rows(arguments.rows, tokenizer, recipe), recipe, arguments.out)
    print(f"{model.num_parameters():,} parameters, from step {run.state['step']:,}", flush=True)
    run.train(arguments.minutes, arguments.cooldown, arguments.steps)
    model.to("cpu", torch.bfloat16).save_pretrained(arguments.out, max_shard_size=SHARD)
    print(f"saved in {arguments.out}")


if __name__ == "__main__":
    main()
