"""Training rows of the shipped `sentiment` adapter's second round: reviews, comments, facts and hard constructions.

python recipes/sentiment_data.py SETS OUT

SETS is a folder with a folder for each set of `MOST`, which has `train.jsonl` or `train.jsonl.gz`. OUT becomes a folder
with `train.jsonl`, and with `held_out.jsonl`, whose rows have three labels: the borders of `neutral` were fitted on it.

A neutral text is in the training rows twice, once with either label: the head of two labels learns a probability of
one half for it, half way between negative and positive.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Pair = tuple[str, str]
"""A text and its label."""

TEMPLATES = Path(__file__).with_suffix("").with_name("sentiment_templates.toml")

EMOTIONS = {
    "positive": {"admiration", "excitement", "gratitude", "joy", "love", "pride", "relief"},
    "negative": {"anger", "annoyance", "disappointment", "disapproval", "disgust", "embarrassment", "sadness"},
    "neutral": {"neutral"},
}
"""The emotions that decide a comment's sentiment. GoEmotions' others (curiosity, approval, desire) do not."""

NAMES = ("Anna", "Ben", "Chloe", "David", "Emma", "Farid", "Grace", "Hugo", "Iris", "James", "Kim", "Liam", "Maya")
"""What stands in for GoEmotions' [NAME]."""

_SLOT = re.compile(r"{(\w+)}")


class Writer:
    """Sentences from the templates, at random; `draw` decides all."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._kinds: dict[str, Any] = tomllib.loads(TEMPLATES.read_text(encoding="utf-8"))
        self._words: dict[str, list[str]] = self._kinds.pop("words")
        self._shares: dict[str, int] = self._kinds.pop("share")

    def rows(self, count: int) -> Iterator[Pair]:
        """Different sentences with their labels; the labels of a kind are equally frequent."""
        seen: set[str] = set()
        kinds, weights = list(self._shares), list(self._shares.values())
        while len(seen) < count:
            templates: dict[str, list[str]] = self._kinds[self._draw.choices(kinds, weights)[0]]
            label = self._draw.choice(list(templates))
            text = self.sentence(self._draw.choice(templates[label]))
            if text not in seen:
                seen.add(text)
                yield text, label

    def sentence(self, template: str) -> str:
        """The template with words in its slots; one {thing}, {other} and {kind} throughout."""
        kind = self._one(self._draw.choice(("product", "work", "place")))
        first, second = self._draw.sample(self._words["brand"], 2)
        things = (f"the {first}", f"the {first} {kind}", f"this {kind}", f"the new {kind}", f"{first}'s {kind}", first)
        others = (f"the {second}", f"the {second} {kind}", f"the old {kind}", f"{second}'s", "the other one", second)
        fixed = {"kind": kind, "thing": self._draw.choice(things), "other": self._draw.choice(others)}
        text = template
        while _SLOT.search(text):
            text = _SLOT.sub(lambda slot: self._fill(slot[1], fixed), text)
        text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
        return text[0].upper() + text[1:]

    def _fill(self, slot: str, fixed: Mapping[str, str]) -> str:
        word = fixed.get(slot.lower()) or self._one(slot.lower())
        return word[0].upper() + word[1:] if slot[0].isupper() else word

    def _one(self, name: str) -> str:
        return self._draw.choice(self._words[name])


def records(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    """The rows of a set's split."""
    path = next(folder.glob(f"{split}.jsonl*"))
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def review(row: Mapping[str, Any], _: random.Random) -> Pair:
    """A labelled text as it is."""
    return row["text"], row["label_text"]


def comment(row: Mapping[str, Any], draw: random.Random) -> Pair | None:
    """A comment whose emotions all have one sentiment."""
    for label, emotions in EMOTIONS.items():
        if set(row["label_texts"]) <= emotions:
            return re.sub(r"\[\w+\]", lambda _: draw.choice(NAMES), row["text"]), label
    return None


def fact(row: Mapping[str, Any], _: random.Random) -> Pair | None:
    """A sentence of an encyclopedia, a request or a question, which judges nothing."""
    text = " ".join(row["tokens"]) if "tokens" in row else row.get("text") or row["instruction"]
    return (text, "neutral") if 3 <= len(text.split()) <= 40 else None


MOST: dict[str, tuple[Callable[..., Pair | None], int, int]] = {
    "sst2": (review, 10_000, 10_000),
    "rotten_tomatoes": (review, 8_000, 5_000),
    "customer_reviews": (review, 4_000, 1_500),
    "goemotions": (comment, 12_000, 2_000),
    "few_nerd_inter": (fact, 2_000, 300),
    "dolly": (fact, 800, 200),
    "snips_intents": (fact, 500, 150),
    "restaurants8k": (fact, 500, 150),
}
"""How the rows of each set are read, and most of them in the two mixes: `wide`, then `reviews`."""

HELD_OUT = {"goemotions": 3_000, "sst2": 872, "rotten_tomatoes": 1_066, "snips_intents": 150}
"""Most rows of each set's `validation.jsonl`, none of which is trained on."""

WRITTEN = (14_000, 4_000)
"""Sentences from the templates in each mix."""

MIXES = ("wide", "reviews")


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mix", choices=MIXES, default="wide")
    parser.add_argument("--written", type=int, help="sentences from the templates")
    parser.add_argument("--seed", type=int, default=13)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    mix = MIXES.index(arguments.mix)
    arguments.out.mkdir(parents=True, exist_ok=True)

    def sample(name: str, split: str, most: int) -> list[Pair]:
        read = MOST[name][0]
        usable = [pair for row in records(arguments.sets / name, split) if (pair := read(row, draw))]
        print(f"{name}, {split}: {min(most, len(usable))} of {len(usable)} usable rows")
        return draw.sample(usable, min(most, len(usable)))

    pairs = [pair for name, (_, *most) in MOST.items() for pair in sample(name, "train", most[mix])]
    pairs += Writer(draw).rows(arguments.written or WRITTEN[mix])
    both = ("negative", "positive")
    rows = [(text, one) for text, label in pairs for one in (both if label == "neutral" else (label,))]
    draw.shuffle(rows)
    held_out = [pair for name, most in HELD_OUT.items() for pair in sample(name, "validation", most)]
    for name, part in (("train", rows), ("held_out", held_out)):
        lines = (json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in part)
        (arguments.out / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{name}.jsonl: {len(part)} rows")


if __name__ == "__main__":
    main()
