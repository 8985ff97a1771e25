"""Trains the adapter `entities`: spans of any type, by the type's name and description.

python recipes/zero_shot/entities.py DATA OUT [--steps 1000] [--check 100]

DATA is a folder of `ner/SET`, `classification/dbpedia14`, `nli/...` and `qa/...` as the adapter's card lists them; OUT
becomes the adapter's folder. A batch has rows of Few-NERD, rows whose types are words of their own sentences ("the
Danish composer Carl Nielsen"), and rows of another set. Each type is written with one of its names, in two batches of
five with a description. The loss is the cross-entropy of three yes-or-no questions for each token and type of the row's
set: is it the start, the end, the inside of such an entity? CrossNER, the MIT corpora and mixtures with them are never
trained on. `entity_scores.py` then fits temperature and threshold.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from entity_data import MAX_TOKENS, TYPES, UNIONS, Row, dbpedia, few_nerd, labelled, mined, read, sentences_of
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from torch.nn import functional

from nlptasks import Recipe, Settings
from nlptasks.families.type_vectors import END, INSIDE, START
from nlptasks.families.zero_shot_entities import MATCH
from nlptasks.runtime.loading.devices import choose_placement
from nlptasks.runtime.loading.match_head import SIZE
from nlptasks.runtime.verbs.encoding import pad
from nlptasks.store.adapters import PEFT_WEIGHTS
from nlptasks.store.download import find_base
from nlptasks.training.families.base import Calibration
from nlptasks.training.families.token_classification import TokenClassificationTrainer
from nlptasks.training.loop.models import Trainable, build
from nlptasks.training.publishing.publish import describe, save
from nlptasks_plugins.entities import AnyEntities

LAYERS = tuple(
    f"layer.{number}.{part}"
    for number in range(2, 6)
    for part in (
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        "intermediate.dense", "output.dense",
    )
)  # fmt: skip
"""The upper four of six: what lies below costs a third of the time and gains little."""

RECIPE = Recipe(
    base="minilm",
    r=32,
    lora_alpha=64,
    lora_dropout=0.0,
    base_dropout=0.0,
    target_modules=LAYERS,
    learning_rate=1e-3,
    num_train_epochs=1,
    max_length=256,
    seed=13,
)

WEIGHTS = {
    "wnut17": 1, "wikigold": 1, "broad_twitter_corpus": 1, "bc5cdr": 1, "ncbi_disease": 0.5, "bionlp13cg": 1.5,
    "cyner": 0.7, "snips_slots": 3, "stackoverflow": 1, "restaurants8k": 0.5, "skillspan": 0.7, "pii_presidio_synth": 1,
    "grobid_wikipedia": 0.5, "toxic_spans": 0.2,
}  # fmt: skip
"""How often a batch has rows of a set, beside Few-NERD and the sentences that name their own types."""

MOST_TYPES = 8
"""Types of one set in a batch."""


class MatchTrainer(TokenClassificationTrainer):
    """What the house's training code needs to know of the head."""

    trained_head = MATCH


@dataclass
class Encoded:
    """A row as token ids; `mentions` are (first token, last token, label), `unknown` marks tokens that may be part of
    names that the row does not mark."""

    ids: list[int]
    mentions: list[tuple[int, int, str]]
    unknown: np.ndarray


@dataclass
class Source:
    """The rows of a set. `table` has the words of its labels, None where a label is its own name."""

    name: str
    rows: list[Encoded]
    table: dict[str, dict[str, list[str]]] | None
    open: bool = False
    size: int = 8
    order: list[int] = field(default_factory=list)


def encode(rows: Sequence[Row], tokenizer: Any) -> list[Encoded]:
    """Rows of at most MAX_TOKENS tokens, sorted by length; mentions that are cut are left out."""
    encoded = []
    texts = [row.text for row in rows]
    answers = tokenizer(texts, truncation=True, max_length=MAX_TOKENS, return_offsets_mapping=True)
    for row, ids, spans in zip(rows, answers["input_ids"], answers["offset_mapping"], strict=True):
        starts = {start: i for i, (start, end) in enumerate(spans) if end > start}
        ends = {end: i for i, (start, end) in enumerate(spans) if end > start}
        mentions = [
            (starts[m.start], ends[m.end], m.label) for m in row.mentions if m.start in starts and m.end in ends
        ]
        capital = [
            end > start
            and (row.text[start].isupper() or (i > 1 and spans[i - 1][1] == start and row.text[start].isalnum()))
            for i, (start, end) in enumerate(spans)
        ]
        # A word part belongs to its word, and the first word of a sentence is capital anyway.
        for i in range(2, len(capital)):
            if spans[i][0] == spans[i - 1][1] and row.text[spans[i][0] : spans[i][1]].isalnum():
                capital[i] = capital[i - 1]
        encoded.append(Encoded(ids, mentions, np.array(capital)))
    return sorted(encoded, key=lambda row: len(row.ids))


def prepare(data: Path, tokenizer: Any, rng: random.Random) -> tuple[Source, Source, Source, dict[str, Source]]:
    """Few-NERD, sentences with their own types, DBpedia's classes, and all other sets."""
    held_out = {
        "".join(filter(str.isalnum, row.text.lower()))
        for name in ("ai", "literature", "music", "politics", "science")
        for row in labelled(data / "ner" / f"crossner_{name}", "test")
    }
    nerd = few_nerd(data / "ner" / "few_nerd_inter")
    classes, first = dbpedia(data / "classification" / "dbpedia14")
    named = mined([*sentences_of(data), *first, *(row.text for row in nerd)], rng)

    def source(name: str, rows: Sequence[Row], **settings: Any) -> Source:
        chosen = [row for row in rows if "".join(filter(str.isalnum, row.text.lower())) not in held_out]
        chosen = [row for row in chosen if row.mentions or rng.random() < 0.3]
        table = TYPES.get(name)
        for row in chosen if table else ():
            row.mentions = [m for m in row.mentions if m.label in table]
        print(f"{name}: {len(chosen)} of {len(rows)} rows", flush=True)
        return Source(name, encode(chosen, tokenizer), table, **settings)

    others = {name: source(name, labelled(data / "ner" / name)) for name in WEIGHTS}
    return (
        source("few_nerd_inter", nerd),
        source("own types", named, open=True),
        source("dbpedia14", classes, open=True),
        others,
    )


def batch_of(source: Source, rng: random.Random, size: int) -> list[Encoded]:
    """Rows of about the same length."""
    start = rng.randrange(max(1, len(source.rows) - 4 * size))
    return rng.sample(source.rows[start : start + 4 * size], min(size, len(source.rows)))


def wordings(source: Source, labels: Sequence[str], rng: random.Random) -> list[str]:
    """One of the texts that stand for each label; all of a batch with a description, or none."""
    if source.table is None:
        return list(labels)
    described = rng.random() < 0.4
    texts = []
    for label in labels:
        names, descriptions = source.table[label]["names"], source.table[label]["descriptions"]
        name = rng.choice(names)
        texts.append(f"{name}: {rng.choice(descriptions)}" if described and descriptions else name)
    return texts


def align(trainable: Trainable, sources: Sequence[Source]) -> None:
    """Let the head start as the base's own similarity of words and types.

    MiniLM learnt to give texts of one meaning similar means of states: "restaurant" is near "cuisine" before any
    training. All four projections start as the main components of such states, so that scores are dot products of
    what is left of them, and generalise to types that no set has.
    """
    model, tokenizer = trainable.model, trainable.tokenizer
    body, head = trainable.task_model.base_model, trainable.task_model.get_submodule("head")
    body.eval()
    states, means = [], []
    with torch.inference_mode():
        for source in sources:
            for row in source.rows[:: max(1, len(source.rows) // 100)]:
                ids = torch.tensor([row.ids])
                states.append(body(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0, 1:-1])
            for label in source.table or {}:
                ids = torch.tensor([tokenizer(source.table[label]["names"][0])["input_ids"]])
                hidden = body(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0, 1:-1]
                means.append(hidden.mean(0, keepdim=True))
    tokens, types = torch.cat(states), torch.cat(means)
    centred = torch.cat([tokens - tokens.mean(0), (types - types.mean(0)).repeat(len(tokens) // len(types) // 2, 1)])
    main = SCALE * torch.linalg.eigh(centred.T @ centred).eigenvectors[:, 1 - SIZE :].T
    project = getattr(head, "modules_to_save", {"default": head})["default"].project
    with torch.no_grad():
        for place in range(4):
            rows = slice(place * SIZE, (place + 1) * SIZE - 1)
            project.weight[rows] = main
            project.bias[rows] = -main @ (types if place == 3 else tokens).mean(0)
            project.weight[rows.stop] = 0
    model.train()


SCALE = 1.8
"""Makes the first scores of a word and its type three or so above those of others."""


class Loss:
    """The loss of a batch of one set."""

    def __init__(self, trainable: Trainable, *, exclusive: bool) -> None:
        """`exclusive`: a wider class is wrong for an entity whose narrower type is in the batch too."""
        self._exclusive = exclusive
        self._model = trainable.model
        self._tokenizer = trainable.tokenizer
        self._near: dict[str, Any] = {}

    def _vectors(self, ids: Sequence[list[int]]) -> Any:
        rows = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids]
        batch = pad(rows, self._tokenizer.pad_token_id, "cpu")
        return self._model(**batch).logits, batch["attention_mask"]

    def __call__(self, source: Source, rows: Sequence[Encoded], rng: random.Random) -> Any:
        labels = sorted({label for row in rows for *_, label in row.mentions})
        rng.shuffle(labels)
        if source.table is not None:
            rest = [label for label in source.table if label not in labels]
            labels = (
                (labels + rng.sample(rest, len(rest)))[:MOST_TYPES] if len(labels) < MOST_TYPES else labels[:MOST_TYPES]
            )
        else:
            labels = labels[:MOST_TYPES]
        texts = wordings(source, labels, rng)
        values, mask = self._vectors([row.ids for row in rows])
        type_ids = self._tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        type_values, type_mask = self._vectors(type_ids)
        inner = type_mask.clone()
        # Without the special tokens, as in serving.
        inner[:, 0] = 0
        inner.scatter_(1, type_mask.sum(1, keepdim=True) - 1, 0)
        types = (type_values[..., 3 * SIZE :] * inner.unsqueeze(-1)).sum(1) / inner.sum(1, keepdim=True)
        tokens = values[..., : 3 * SIZE].unflatten(-1, (3, SIZE))
        scores = torch.einsum("btkd,nd->btkn", tokens[..., :-1], types[:, :-1]) / SIZE**0.5
        scores = scores + tokens[..., -1:] + types[:, -1]
        target = torch.zeros_like(scores)
        weight = mask[..., None, None].float().expand_as(scores).clone()
        weight[:, 0] = 0
        number = {label: i for i, label in enumerate(labels)}
        for i, row in enumerate(rows):
            weight[i, len(row.ids) - 1] = 0
            unknown = torch.from_numpy(row.unknown)
            for label, n in number.items():
                if source.open or (source.name == "few_nerd_inter" and label in UNIONS):
                    weight[i, : len(row.ids), :, n][unknown] = 0
            for first, last, label in row.mentions:
                # What a mention is, is known for all types; one that is near its own may be right too.
                for other, n in number.items():
                    sure = 1.0 if source.table is not None else float(self._differ(label, other))
                    weight[i, first : last + 1, :, n] = sure
            narrow = {(first, last) for first, last, label in row.mentions if label in number and label not in UNIONS}
            for first, last, label in row.mentions:
                if label in number and not (self._exclusive and label in UNIONS and (first, last) in narrow):
                    n = number[label]
                    weight[i, first : last + 1, :, n] = 1
                    target[i, first, START, n] = target[i, last, END, n] = 1
                    target[i, first : last + 1, INSIDE, n] = 1
        loss = functional.binary_cross_entropy_with_logits(scores.float(), target, weight, reduction="sum")
        # A set with many types in a batch is not worth much more than one with few.
        return loss / len(rows) / max(4, len(labels)) ** 0.5

    def _differ(self, one: str, other: str) -> bool:
        """Whether something of one kind is surely not of another."""
        if one == other:
            return True
        for kind in (one, other):
            if kind not in self._near:
                ids = torch.tensor(self._tokenizer(kind, add_special_tokens=False)["input_ids"])
                with torch.no_grad():
                    state = self._model.get_base_model().base_model.get_input_embeddings()(ids)
                self._near[kind] = functional.normalize(state.mean(0), dim=0)
        return bool(self._near[one] @ self._near[other] < 0.5) and one.split()[-1] != other.split()[-1]


def files_of(data: Path) -> list[dict[str, Any]]:
    """Name, rows and SHA-256 of each file that is trained on."""
    folders = [
        "ner/few_nerd_inter", *(f"ner/{name}" for name in WEIGHTS), "classification/dbpedia14", "nli/fever_nli",
        "nli/conjnli", "qa/squadshifts_new_wiki",
    ]  # fmt: skip
    files = []
    for folder in folders:
        file = next(path for end in ("jsonl", "jsonl.gz") if (path := data / folder / f"train.{end}").is_file())
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        files.append({"name": f"{folder}/{file.name}", "rows": len(read(data / folder)), "sha256": digest})
    return files


def write(
    trainable: Trainable, family: MatchTrainer, base: Any, out: Path, calibration: Calibration, data: Any, card: str
) -> None:
    """Write the adapter's folder."""
    out.mkdir(parents=True, exist_ok=True)
    manifest = describe(AnyEntities(), family, "entities", base, trainable, RECIPE, (), calibration, data)
    save(trainable, out, manifest, card)


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--check", type=int, default=100, help="write the folder after so many steps")
    parser.add_argument("--stop", type=int, help="end after so many of the steps, whose rates it keeps")
    parser.add_argument(
        "--start", type=Path, help="an adapter to go on from, with wider classes apart from narrower ones"
    )
    parser.add_argument("--lr", type=float, default=RECIPE.learning_rate)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(RECIPE.seed + bool(arguments.start))
    base = find_base("minilm", Settings.from_env())
    family = MatchTrainer(AnyEntities())
    trainable = build(base, family, (), RECIPE, choose_placement("cpu", "float32"))
    nerd, named, classes, others = prepare(arguments.data, trainable.tokenizer, random.Random(RECIPE.seed))
    loss_of = Loss(trainable, exclusive=bool(arguments.start))
    if arguments.start:
        set_peft_model_state_dict(trainable.model, load_file(arguments.start / PEFT_WEIGHTS))
        trainable.model.train()
    else:
        align(trainable, [nerd, named, *others.values()])
    optimizer = torch.optim.AdamW(trainable.trained.values(), lr=arguments.lr, weight_decay=0.01)
    warmup = arguments.steps // 20
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min((n + 1) / warmup, (arguments.steps - n) / (arguments.steps - warmup))
    )
    began, sums, files = time.time(), {}, files_of(arguments.data)
    last = arguments.stop or arguments.steps
    for step in range(1, last + 1):
        other = rng.choices(list(others), list(WEIGHTS.values()))[0]
        parts = [nerd, named if rng.random() < 0.75 else classes, others[other]]
        for part in parts:
            loss = loss_of(part, batch_of(part, rng, part.size), rng)
            loss.backward()
            old = sums.get(part.name, loss.item())
            sums[part.name] = 0.95 * old + 0.05 * loss.item()
        torch.nn.utils.clip_grad_norm_(trainable.trained.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 50 == 0:
            losses = " ".join(f"{name[:8]} {value:.2f}" for name, value in sums.items())
            print(f"{step} {time.time() - began:.0f} s {losses}", flush=True)
        if step % arguments.check == 0 or step == last:
            write(
                trainable, family, base, arguments.out, Calibration(), {"steps": step, "train": files}, "In training.\n"
            )


if __name__ == "__main__":
    logging.disable(logging.INFO)
    main()
