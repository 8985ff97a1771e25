"""Train the adapter of `classify`: texts and the texts of labels in one space of vectors.

    python recipes/zero_shot/classify.py train DATA OUT [--steps 1000]
    python recipes/zero_shot/classify.py compare DATA OUT CHECKPOINT...
    python recipes/zero_shot/classify.py finish DATA OUT CHECKPOINT --shares SHARE

DATA holds the public sets of the adapter's card as rows of JSON (`classification/banking77/train.jsonl` and so on).
`train` writes checkpoints: PEFT adapters of the bare base. `compare` prints what they and shares of their change reach
on sets that are not trained on. `finish` fits temperature and bias there and writes the folder to ship.

A step draws a few label sets. Of each it draws labels, words for them, and texts; the loss is the cross entropy over
the set's labels and "none of these", whose score is a number that is learned too. Some texts have none of the labels.
A hypothesis is a label of its premise. The scores are cosines / 0.05.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from label_sets import FILES, FITTED, LabelSet, choosing_sets, hypotheses, training_sets
from torch.nn import functional
from wordings import CHOOSING

from nlptasks import EMBED, Settings
from nlptasks.families.text_classification import readable
from nlptasks.families.zero_shot_classification import label_text
from nlptasks.store.adapters import PEFT_CONFIG, PEFT_WEIGHTS, BaseReference, Manifest
from nlptasks.store.download import find_base
from nlptasks.store.weights import fingerprint
from nlptasks.training.metrics.labels import calibration_error
from nlptasks.training.publishing import gate
from nlptasks.training.publishing.gate import serve_again
from nlptasks.training.publishing.publish import versions, write_manifest

BASE = "sentence-transformers/all-MiniLM-L6-v2"

SCALE = 20.0
LENGTH = 40
ROWS = 12
NONE = -1
"""The target of a text that has none of the labels."""


class Encoder:
    """The base with LoRA: unit vectors of texts, means of the last hidden states."""

    def __init__(self, folder: Path | str, adapter: Path | None = None, *, rank: int = 32, layers: Sequence[int] = ()):
        from peft import LoraConfig, PeftModel, get_peft_model
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        base = AutoModel.from_pretrained(folder, attn_implementation="sdpa")
        config = LoraConfig(
            task_type="FEATURE_EXTRACTION",
            r=rank,
            lora_alpha=2 * rank,
            target_modules=rf".*encoder\.layer\.({'|'.join(map(str, layers))})\..*(query|key|value|dense)",
        )
        self.first = min(layers, default=0)
        self._frozen: dict[tuple[str, int], Any] = {}
        self.model: Any = PeftModel.from_pretrained(base, adapter) if adapter else get_peft_model(base, config)

    @property
    def bert(self) -> Any:
        """The model within PEFT's."""
        return self.model.get_base_model()

    def __call__(self, texts: Sequence[str], length: int = LENGTH) -> Any:
        """Vectors of shape (texts, hidden size), to be trained; what the frozen layers give is kept for each text."""
        keys = [(readable(text, reads_emoji=False), length) for text in texts]
        fresh = sorted({key for key in keys if key not in self._frozen}, key=lambda key: len(key[0]))
        for start in range(0, len(fresh), ROWS):
            self._freeze(fresh[start : start + ROWS], length)
        # Texts of about the same length together: padding costs as much as text.
        order = sorted(range(len(keys)), key=lambda i: len(self._frozen[keys[i]]))
        parts = [order[i : i + ROWS] for i in range(0, len(order), ROWS)]
        rows = torch.cat([self._rest([self._frozen[keys[i]] for i in part]) for part in parts])
        return rows[torch.argsort(torch.tensor(order))]

    def _freeze(self, keys: Sequence[tuple[str, int]], length: int) -> None:
        batch = self.tokenizer(
            [text for text, _ in keys], padding=True, truncation=True, max_length=length, return_tensors="pt"
        )
        mask = batch["attention_mask"].bool()
        with torch.no_grad():
            hidden = self.bert.embeddings(input_ids=batch["input_ids"])
            for layer in self.bert.encoder.layer[: self.first]:
                hidden = layer(hidden, mask[:, None, None])
        for key, row, count in zip(keys, hidden, mask.sum(1).tolist(), strict=True):
            self._frozen[key] = row[:count].half()

    def _rest(self, rows: Sequence[Any]) -> Any:
        hidden = torch.nn.utils.rnn.pad_sequence([row.float() for row in rows], batch_first=True)
        mask = torch.arange(hidden.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
        for layer in self.bert.encoder.layer[self.first :]:
            hidden = layer(hidden, mask[:, None, None])
        return self._mean(hidden, mask)

    def _mean(self, hidden: Any, mask: Any) -> Any:
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)

    def _whole(self, texts: Sequence[str], length: int) -> Any:
        named = [readable(text, reads_emoji=False) for text in texts]
        batch = self.tokenizer(named, padding=True, truncation=True, max_length=length, return_tensors="pt")
        return self._mean(self.model(**batch).last_hidden_state, batch["attention_mask"])

    def vectors(self, texts: Sequence[str], length: int = 256, size: int = 32) -> Any:
        """The same for many texts, without gradients."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        self.model.eval()
        with torch.inference_mode():
            parts = [self._whole([texts[i] for i in order[j : j + size]], length) for j in range(0, len(order), size)]
        rows = torch.cat(parts)
        return rows[torch.argsort(torch.tensor(order))]


def draw(chosen: LabelSet, chance: random.Random, size: int) -> tuple[list[str], list[str], list[int]]:
    """Texts, labels and targets of a set."""
    known = [*chosen.by_label]
    count = min(len(known), chance.choice((2, 3, 4, 6, 8, 12)) if len(known) > 4 else len(known))
    if not chosen.wordings:
        count = size
    labels = chance.sample(known, count)
    lost = [label for label in known if label not in labels]
    pairs = []
    for place in range(size):
        missing = bool(lost) and chance.random() < 0.12 and bool(chosen.wordings)
        label = chance.choice(lost) if missing else labels[place % count]
        pairs.append((chance.choice(chosen.by_label[label]), NONE if missing else place % count))
    instructions = chance.choice(chosen.instructions) if chance.random() < 0.6 else ""
    style = chance.choice(("name", "described", "described", "description"))
    wordings = [chance.choice(chosen.wordings.get(label) or [(label, "")]) for label in labels]
    spoken = []
    for name, text in wordings:
        if style == "description" and text:
            name, text = text, ""
        spoken.append(label_text(name, "" if style == "name" else text, instructions))
    return [text for text, _ in pairs], spoken, [target for _, target in pairs]


def train(data: Path, out: Path, base: Path, *, steps: int, rate: float, rank: int, first: int, minutes: float) -> None:
    """Write checkpoints to the folder `out`."""
    torch.set_num_threads(1)
    torch.manual_seed(13)
    chance = random.Random(13)
    sets = training_sets(data, chance)
    premises = chance.sample(hypotheses(data), 600)
    encoder = Encoder(base, rank=rank, layers=range(first, 6))
    encoder.model.eval()
    none = torch.nn.Parameter(torch.tensor(0.25 * SCALE))
    weights = [value for value in encoder.model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW([{"params": weights}, {"params": [none], "lr": 0.01}], lr=rate, weight_decay=0.01)
    log = 20
    started, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        # Whatever the machine's load, the rate reaches 0 in time.
        spent = max(step / steps, (time.monotonic() - started) / (60 * minutes))
        for group in optimizer.param_groups:
            group["lr"] = (
                (rate if group["params"][0] is not none else 0.01) * min(step / 50, 1.0) * max(0.02, 1 - spent)
            )
        groups = [draw(each, chance, 8) for each in chance.choices(sets, [each.weight for each in sets], k=3)]
        trios = chance.sample(premises, 3)
        texts = [text for group in groups for text in group[0]] + [premise for premise, _ in trios]
        labels = [label for group in groups for label in group[1]] + [h for _, each in trios for h, _ in each[:4]]
        text_vectors, label_vectors = encoder(texts), encoder(labels, 32)
        scores = SCALE * text_vectors @ label_vectors.T
        losses, row, column = [], 0, 0
        for group_texts, group_labels, targets in groups:
            block = scores[row : row + len(group_texts), column : column + len(group_labels)]
            block = torch.cat([block, none.expand(len(block), 1)], dim=1)
            losses.append(functional.cross_entropy(block, torch.tensor(targets) % block.shape[1]))
            row, column = row + len(group_texts), column + len(group_labels)
        pairs = []
        for _, each in trios:
            for _, follows in each[:4]:
                pairs.append((scores[row, column] - none, float(follows)))
                column += 1
            row += 1
        values, follows = torch.stack([value for value, _ in pairs]), torch.tensor([follow for _, follow in pairs])
        loss = torch.stack(losses).mean() + 0.3 * functional.binary_cross_entropy_with_logits(values, follows)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        total += float(loss.detach())
        if step % log == 0:
            seconds = time.monotonic() - started
            print(f"{step} loss {total / log:.3f} none {float(none.detach()) / SCALE:.3f} {seconds:.0f} s", flush=True)
            total = 0.0
        if step % 200 == 0 or spent >= 1 or step == steps:
            encoder.model.save_pretrained(out / f"step{step}")
        if spent >= 1:
            return


def scores_of(encoder: Encoder, sets: Sequence[LabelSet]) -> list[tuple[Any, list[int]]]:
    """Cosines of shape (texts, labels) and the right labels' places, for each set."""
    answers = []
    for each in sets:
        keys = [*each.wordings]
        labels = encoder.vectors([label_text(*each.wordings[key][0], each.instructions[0]) for key in keys])
        texts = encoder.vectors([text for text, _ in each.rows])
        answers.append((texts @ labels.T, [keys.index(label) for _, label in each.rows]))
    return answers


def macro_f1(scores: Any, right: Sequence[int]) -> float:
    """Macro-F1 of the best labels."""
    from sklearn.metrics import f1_score

    return float(f1_score(right, scores.argmax(1), average="macro", zero_division=0))


def scaled(encoder: Encoder, share: float) -> None:
    """Keep a share of what the adapter changes."""
    from peft.tuners.lora import LoraLayer

    for module in encoder.model.modules():
        if isinstance(module, LoraLayer):
            module.scaling = dict.fromkeys(module.scaling, share * 2.0)


def compare(
    data: Path, base: Path, checkpoints: Sequence[Path], rows: int, shares: Sequence[float]
) -> list[tuple[float, float, Path]]:
    """Print what each checkpoint and share of it reaches on the sets to choose by, best first."""
    sets = choosing_sets(data, rows)
    print(" ".join(each.name for each in sets))
    answers = []
    for place, folder in enumerate(checkpoints):
        encoder = Encoder(base, folder)
        for share in [*([0.0] if place == 0 else []), *shares]:
            scaled(encoder, share)
            values = [macro_f1(*pair) for pair in scores_of(encoder, sets)]
            mean = sum(values) / len(values)
            print(folder.name, share, f"{mean:.4f}", [round(value, 3) for value in values], flush=True)
            answers.append((mean, share, folder))
    return sorted(answers, key=lambda answer: -answer[0])


def fit(answers: Sequence[tuple[Any, list[int]]]) -> tuple[float, float]:
    """Temperature and bias with the least negative log-likelihood, every set of the same weight.

    The temperature is that of the softmax over the labels. The bias, with this temperature, that of three answers:
    a label among the others and `other`, `other` where the right label is left out, and each label on its own.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar

    def labels(temperature: float) -> float:
        losses = [functional.cross_entropy(s / temperature, torch.tensor(right)) for s, right in answers]
        return float(torch.stack(losses).mean())

    best = minimize_scalar(lambda log: labels(np.exp(log)), bounds=(-5.0, 0.0), method="bounded")
    temperature = float(np.exp(best.x))

    def others(bias: float) -> float:
        losses = []
        for scores, right in answers:
            target = torch.tensor(right)
            values = (torch.cat([scores, torch.full((len(scores), 1), bias)], 1)) / temperature
            place = torch.arange(len(right))
            without = values.clone()
            without[place, target] = -torch.inf
            none = torch.full_like(target, values.shape[1] - 1)
            single = (scores - bias) / temperature
            hits, misses = single[place, target], single[functional.one_hot(target, scores.shape[1]) == 0]
            binary = functional.softplus(-hits).mean() + functional.softplus(misses).mean()
            both = functional.cross_entropy(values, target) + functional.cross_entropy(without, none)
            losses.append(both + binary)
        return float(torch.stack(losses).mean())

    bias = float(minimize_scalar(others, bounds=(-0.5, 1.0), method="bounded").x)
    return round(temperature, 4), round(bias, 4)


def errors_of(answers: Sequence[tuple[Any, list[int]]], temperature: float) -> list[float]:
    """Expected calibration error of each set."""
    errors = []
    for scores, right in answers:
        chances = torch.softmax(scores / temperature, 1)
        hits = chances.argmax(1) == torch.tensor(right)
        errors.append(float(calibration_error(chances.max(1).values.numpy(), hits.numpy())))
    return errors


def finish(data: Path, out: Path, base: Any, checkpoint: Path, share: float, rows: int, steps: str) -> None:
    """Fit temperature and bias, write the folder to ship, and compare what it serves with what was trained."""
    sets = choosing_sets(data, rows)
    encoder = Encoder(base.path, checkpoint)
    scaled(encoder, share)
    answers = scores_of(encoder, sets)
    fitted = [pair for each, pair in zip(sets, answers, strict=True) if each.name in FITTED]
    temperature, bias = fit(fitted)
    values = [macro_f1(*pair) for pair in answers]
    errors = errors_of(answers, temperature)
    outside = [error for each, error in zip(sets, errors, strict=True) if each.name not in FITTED]
    metrics = {f"macro_f1 {each.name}": value for each, value in zip(sets, values, strict=True)}
    metrics |= {"macro_f1": sum(values) / len(values), "ece": sum(outside) / len(outside)}
    for each, value, error in zip(sets, values, errors, strict=True):
        print(f"{each.name:24} macro-F1 {value:.3f} ECE {error:.3f}{' (fitted)' if each.name in FITTED else ''}")
    print(f"temperature {temperature} bias {bias}", {name: round(value, 4) for name, value in metrics.items()})
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(checkpoint / PEFT_WEIGHTS, out)
    settings = json.loads((checkpoint / PEFT_CONFIG).read_text(encoding="utf-8"))
    rank = settings["r"]
    settings |= {"lora_alpha": round(2 * rank * share), "base_model_name_or_path": BASE, "auto_mapping": None}
    (out / PEFT_CONFIG).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    recipe = {"method": "lora", "base": "minilm", "r": rank, "lora_alpha": settings["lora_alpha"], "seed": 13}
    manifest = Manifest(
        name="classify",
        task="classify",
        family="text_classification",
        verb=EMBED.verb,
        base=BaseReference(
            id=base.id, fingerprint=fingerprint(base.path), model_type="bert", hidden_size=settings_of(encoder)
        ),
        temperature=temperature,
        bias=bias,
        max_length=256,
        recipe={**recipe, "steps": steps, "scale": 1 / SCALE, "max_length": LENGTH},
        metrics={name: round(value, 6) for name, value in metrics.items()},
        data={"train": training_files(data), "choosing": [*CHOOSING]},
        versions=versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    card = out / "README.md"
    write_manifest(out, manifest, card.read_text(encoding="utf-8") if card.exists() else "# classify\n")
    texts = [text for each in sets for text, _ in each.rows[:8] if len(text) < 800]
    served = serve_again(base, out, EMBED, texts, device="cpu")
    difference = gate.compare(encoder.vectors(texts).tolist(), served, EMBED.tolerance)
    print(f"served by a fresh process: largest difference {difference:.1e} of the largest number")


def settings_of(encoder: Encoder) -> int:
    """The hidden size of the base."""
    return int(encoder.model.config.hidden_size)


def training_files(data: Path) -> list[dict[str, Any]]:
    """Name, rows and SHA-256 of each file that is trained on."""
    FILES.clear()
    training_sets(data, random.Random(13))
    hypotheses(data)
    return [{"name": name, "rows": rows, "sha256": digest} for name, (rows, digest) in sorted(FILES.items())]


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["train", "compare", "finish"])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--first", type=int, default=4)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--shares", default="0.5,0.75,1.0")
    arguments = parser.parse_args()
    base = find_base("minilm", Settings.from_env())
    torch.set_num_threads(1)
    shares = [float(share) for share in arguments.shares.split(",")]
    if arguments.what == "train":
        train(
            arguments.data,
            arguments.out,
            base.path,
            steps=arguments.steps,
            rate=arguments.rate,
            rank=arguments.rank,
            first=arguments.first,
            minutes=arguments.minutes,
        )
    elif arguments.what == "compare":
        compare(arguments.data, base.path, arguments.checkpoints, arguments.rows, shares)
    else:
        [checkpoint] = arguments.checkpoints
        finish(arguments.data, arguments.out, base, checkpoint, shares[0], arguments.rows, str(arguments.steps))


if __name__ == "__main__":
    main()
