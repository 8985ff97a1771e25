"""Rows to learn entity types from: labelled sets, and sentences that say what a name is."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

_WORDS = tomllib.loads((Path(__file__).parent / "entity_types.toml").read_text(encoding="utf-8"))

TYPES: dict[str, dict[str, dict[str, list[str]]]] = _WORDS["types"]
"""Names and descriptions by set and label."""

UNIONS: dict[str, list[str]] = _WORDS["unions"]
COUNTRIES = frozenset(_WORDS["countries"]["names"])
_NO_NAMES = frozenset(_WORDS["patterns"]["no_names"])
_STOP = frozenset(_WORDS["patterns"]["stop"])
_VAGUE = frozenset(_WORDS["patterns"]["vague"])
_FUNCTION = frozenset(_WORDS["patterns"]["function"])

MAX_TOKENS = 48


class Mention(NamedTuple):
    """Characters of a text, and the label that its set gives them."""

    start: int
    end: int
    label: str


@dataclass
class Row:
    """A text with the entities of its set's types."""

    text: str
    mentions: list[Mention]


def read(folder: Path, split: str = "train") -> list[dict[str, Any]]:
    """The rows of a set's file."""
    for name in (f"{split}.jsonl", f"{split}.jsonl.gz"):
        file = folder / name
        if file.is_file():
            content = gzip.decompress(file.read_bytes()) if name.endswith(".gz") else file.read_bytes()
            return [json.loads(line) for line in content.splitlines()]
    raise FileNotFoundError(folder / f"{split}.jsonl")


def from_tags(tokens: Sequence[str], tags: Sequence[str]) -> Row:
    """A row with a text of tokens and blanks. BERT's tokenizer splits punctuation marks off anyway."""
    starts = [0, *itertools.accumulate(len(token) + 1 for token in tokens)]
    mentions: list[Mention] = []
    for i, tag in enumerate(tags):
        if tag[:2] == "B-":
            mentions.append(Mention(starts[i], starts[i + 1] - 1, tag[2:]))
        elif tag[:2] == "I-" and mentions:
            mentions[-1] = mentions[-1]._replace(end=starts[i + 1] - 1)
    return Row(" ".join(tokens), mentions)


def labelled(folder: Path, split: str = "train") -> list[Row]:
    """The rows of a set for named entities."""
    rows = []
    for row in read(folder, split):
        if "tokens" not in row:
            rows.append(Row(row["text"], [Mention(e["start"], e["end"], e["label"]) for e in row["entities"]]))
            continue
        made = from_tags(row["tokens"], row["tags"])
        if row.get("entities"):
            starts = [0, *itertools.accumulate(len(token) + 1 for token in row["tokens"])]
            made.mentions = [Mention(starts[e["start"]], starts[e["end"]] - 1, e["type"]) for e in row["entities"]]
        rows.append(made)
    return rows


def few_nerd(folder: Path) -> list[Row]:
    """Few-NERD with countries apart from other places, and its wider classes as types of their own."""
    rows = labelled(folder)
    wider = {label: union for union, labels in UNIONS.items() for label in labels}
    for row in rows:
        more = []
        for mention in row.mentions:
            if mention.label in wider:
                more.append(mention._replace(label=wider[mention.label]))
            if mention.label == "country, city or region":
                name = row.text[mention.start : mention.end].lower().removeprefix("the ")
                more.append(mention._replace(label="country" if name in COUNTRIES else "city or region"))
        row.mentions += more
    return rows


_IS_A = re.compile(
    r"^(?:The )?(?P<name>[A-Z][^,.;:()]{1,60}?)(?: \([^)]*\))?(?:,[^,]{1,40},)? (?:is|was|are|were) "
    r"(?:an?|the|one of the) (?P<kind>[^.;()]{3,90})"
)
_APPOSITION = re.compile(
    r"(?<![\w-])(?P<kind>(?:[a-z-]{3,} ){1,2})(?P<name>[A-Z][\w'’.-]*(?: (?:[A-Z][\w'’.-]*|of|the|de|van))*)(?<![. ])"
)


def kind_of(phrase: str) -> list[str]:
    """The words that name a kind, without what follows them: "ice hockey player" of "former American ice hockey
    player who"."""
    words: list[str] = []
    for word in phrase.split():
        bare = word.strip(",\"'")
        if bare in _STOP or not re.fullmatch(r"[a-z][a-z-]*", bare):
            if bare[:1].isupper() and not words:
                continue
            if bare[:1].isupper():
                words = []
                continue
            break
        words.append(bare)
        if word != bare:
            break
    return words[-3:]


def definitions(sentences: Iterable[str]) -> Iterator[tuple[str, tuple[int, int], list[str]]]:
    """Sentences that say what their subject is: the text, the subject's place, the words of the kind."""
    for text in sentences:
        match = _IS_A.match(text)
        if not match or match["name"].split()[0].lower() in _NO_NAMES:
            continue
        words = match["name"].split()
        if not words[-1][0].isupper() and not words[-1][0].isdigit():
            continue
        kind = kind_of(match["kind"])
        if kind and len(kind[-1]) > 2 and kind[-1] not in _VAGUE:
            yield text, match.span("name"), kind


def mined(sentences: Sequence[str], rng: random.Random) -> list[Row]:
    """Rows whose labels are the words of the sentences themselves. Other names in them are unknown."""
    rows: dict[str, Row] = {}
    heads: Counter[str] = Counter()
    for text, (start, end), kind in definitions(sentences):
        heads[kind[-1]] += 1
        size = rng.choice((1, 2, 2, 3, 3))
        rows[text] = Row(text, [Mention(start, end, " ".join(kind[-size:]))])
    known = {head for head, count in heads.items() if count >= 4}
    for text in sentences:
        for match in _APPOSITION.finditer(text):
            words = match["kind"].split()
            if words[-1] not in known or words[-1] in _VAGUE or match.start() == 0:
                continue
            row = rows.setdefault(text, Row(text, []))
            start, end = match.span("name")
            if all(end <= m.start or m.end <= start for m in row.mentions):
                kind = (
                    words if words[0] not in _STOP and rng.random() < 0.4 and words[0] not in _FUNCTION else words[-1:]
                )
                row.mentions.append(Mention(start, end, " ".join(kind)))
    return list(rows.values())


def sentences_of(data: Path) -> list[str]:
    """Sentences of Wikipedia from sets that may be trained on."""
    texts: dict[str, None] = {}
    for row in read(data / "nli" / "fever_nli"):
        texts[row["premise"]] = None
        if row["label"] == "entailment":
            texts[row["hypothesis"]] = None
    for row in read(data / "nli" / "conjnli"):
        texts[row["premise"]] = None
    for row in read(data / "qa" / "squadshifts_new_wiki"):
        texts[row["context"]] = None
    sentences: dict[str, None] = {}
    for text in texts:
        for sentence in re.split(r"(?<=[a-z)][.!?]) (?=[A-Z])", text):
            if 20 < len(sentence) < 300:
                sentences[sentence] = None
    return list(sentences)


def dbpedia(folder: Path) -> tuple[list[Row], list[str]]:
    """The subjects of articles with their classes, and the first sentences of all articles."""
    classes = {}
    for row in read(folder):
        classes[re.split(r"(?<=[a-z)][.]) (?=[A-Z])", row["text"])[0][:300]] = row["label_text"]
    rows = [Row(text, [Mention(*place, classes[text])]) for text, place, _ in definitions(classes)]
    return rows, list(classes)
