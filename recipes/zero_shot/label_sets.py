"""The rows and the label wordings that `classify.py` trains on and chooses by.

The files are public data sets as rows of JSON; `classify.py` says how their folder is laid out. Every wording of a
label was written for this recipe.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wordings import (
    ABOUT,
    ASKS,
    BANK,
    CHOOSING,
    COUNTERFACTUAL,
    DBPEDIA,
    DOLLY,
    DOMAINS,
    FEELING_CONTEXTS,
    FEELING_TEXTS,
    FEELINGS,
    FEELS,
    GENRES,
    GRADE_TEXTS,
    GRADES,
    HARM,
    HARMFUL,
    INTENT,
    KIND,
    MIXED_TEXTS,
    NEUTRAL,
    OPINION,
    RATINGS,
    REVIEWS,
    SECTIONS,
    SNIPS,
    THINGS,
    TYPES,
)

FILES: dict[str, tuple[int, str]] = {}
"""Rows and SHA-256 of every file that was read."""

Row = tuple[str, str]
"""A text and the key of its label."""


@dataclass
class LabelSet:
    """Texts of several labels. `wordings` are what may stand for a label: (name, description) pairs by its key.

    Without wordings the keys are the labels, and any two texts with different ones are each other's negatives.
    """

    name: str
    rows: list[Row]
    wordings: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    instructions: Sequence[str] = ("",)
    weight: float = 1.0
    by_label: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.keep(self.rows)

    def keep(self, rows: list[Row]) -> None:
        """Have these rows only."""
        self.rows, self.by_label = rows, defaultdict(list)
        for text, label in rows:
            self.by_label[label].append(text)


def read(data: Path, name: str, most: int | None = None) -> list[dict[str, Any]]:
    """The rows of a JSONL file, packed or not; the first ones if there are more than `most`."""
    file = data / f"{name}.jsonl"
    packed = data / f"{name}.jsonl.gz"
    source = packed if packed.exists() else file
    content = source.read_bytes()
    text = gzip.decompress(content) if source == packed else content
    rows = [json.loads(line) for line in text.decode("utf-8").split("\n")[:most] if line]
    FILES[str(source.relative_to(data))] = len(rows), hashlib.sha256(content).hexdigest()
    return rows


def labelled(data: Path, name: str, label: str = "label_text") -> list[Row]:
    """Texts and labels of a classification set."""
    return [(row["text"], str(row[label])) for row in read(data, name)]


def words_of(data: Path, name: str) -> list[str]:
    """The sentences of a set of tokens."""
    texts = [" ".join(row["tokens"]) if "tokens" in row else row["text"] for row in read(data, name)]
    return [text for text in texts if len(text.split()) > 5]


def field_of(data: Path, name: str, column: str, least: int = 6) -> list[str]:
    """One column's texts of at least so many words, each once."""
    texts = (str(row[column]) for row in read(data, name, 20_000))
    return list(dict.fromkeys(text for text in texts if len(text.split()) >= least))


def described(table: str) -> dict[str, list[tuple[str, str]]]:
    """Wordings from lines of the form `key = name: description | name: description | name`."""
    wordings: dict[str, list[tuple[str, str]]] = {}
    for line in table.strip().splitlines():
        key, _, rest = line.partition(" = ")
        parts = [part.strip().partition(": ") for part in rest.split(" | ")]
        wordings[key.strip()] = [(name, text) for name, _, text in parts]
    return wordings


def plain(labels: Iterable[str], *templates: str) -> dict[str, list[tuple[str, str]]]:
    """Wordings of labels that explain themselves: the name, and the name with each template as its description."""
    return {label: [(label, ""), *((label, text.format(label)) for text in templates)] for label in labels}


def parts_of(table: str) -> list[str]:
    """The parts between bars and lines."""
    return [part.strip() for part in re.split(r"[|\n]", table) if part.strip()]


def feelings(chance: random.Random, count: int = 3000) -> LabelSet:
    """Sentences made of a word for a feeling and a context."""
    templates, contexts = parts_of(FEELING_TEXTS), parts_of(FEELING_CONTEXTS)
    rows = []
    for _ in range(count):
        feeling = chance.choice([*FEELINGS])
        word = chance.choice(FEELINGS[feeling].split())
        rows.append((chance.choice(templates).format(word, chance.choice(contexts)), feeling))
    wordings = {}
    for feeling, words in FEELINGS.items():
        known = words.split()
        chance.shuffle(known)
        names = [feeling, feeling, *known[:2]]
        lists = [", ".join(chance.sample(known, 3)) for _ in names]
        wordings[feeling] = [(name, f"feeling {text}") for name, text in zip(names, lists, strict=True)]
    return LabelSet("feelings", rows, wordings, FEELS, 1.5)


def ratings(chance: random.Random, count: int = 2000) -> LabelSet:
    """Opinions made of an adjective and a thing."""
    rows = []
    for _ in range(count):
        grade, thing = chance.choice([*GRADES]), chance.choice(THINGS.split())
        word = chance.choice(GRADES[grade].split())
        if grade == "neutral" and chance.random() < 0.5:
            good, bad = (chance.choice(GRADES[name].split()) for name in ("positive", "negative"))
            rows.append((chance.choice(parts_of(MIXED_TEXTS)).format(good, thing, bad), grade))
        else:
            rows.append((chance.choice(parts_of(GRADE_TEXTS)).format(word, thing), grade))
    return LabelSet("ratings", rows, described(RATINGS), OPINION, 0.7)


def answer_type(question: str) -> str:
    """The type of a question's answer by its first words; '' if they do not say it."""
    rules = (
        (r"(who|whom|whose)\b|(what|which) (person|man|woman|actor|singer|king|president|author)\b", "person"),
        (r"where\b|(in |at |to |from )?(what|which) (city|country|place|state|town|river|street|region)\b", "place"),
        (r"when\b|(in |on |during )?(what|which) (year|date|day|month|century|decade|time)\b", "date"),
        (r"how (many|much|long|old|far|often|tall|big|high)\b|what (percentage|number|amount)\b", "number"),
        (r"why\b|what (caused|is the reason)\b", "reason"),
        (r"how (do|does|did|can|is|are|was|were|to|could|would|should)\b", "manner"),
        (r"what (is|are) (a|an) [\w-]+( [\w-]+)?\s*\?$|what does .* mean\b|define\b", "definition"),
        (r"(what|which) (is|are|was|were|did|does|do|[a-z]+)\b", "thing"),
    )
    return next((kind for pattern, kind in rules if re.match(pattern, question.strip().casefold())), "")


def capped(rows: Sequence[Any], count: int, chance: random.Random) -> list[Any]:
    """At most so many of the rows."""
    return chance.sample(list(rows), min(count, len(rows)))


def pool(rows: Sequence[Row], count: int, chance: random.Random) -> list[Row]:
    """About so many rows, of each label the same number."""
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in chance.sample(list(rows), len(rows)):
        by_label[row[1]].append(row)
    labels = chance.sample(sorted(by_label), min(count, len(by_label)))
    return [row for label in labels for row in by_label[label][: max(1, count // len(labels))]]


def training_sets(data: Path, chance: random.Random) -> list[LabelSet]:
    """The sets that are trained on."""
    squad = read(data, "qa/squad_v2.0_train_sample/train")
    shifts: Callable[[str], list[str]] = lambda name: field_of(data, f"qa/squadshifts_{name}/train", "context")  # noqa: E731
    wiki = field_of(data, "qa/qamr/train", "context")
    genres = {
        "review": shifts("amazon_reviews"),
        "wiki": field_of(data, "qa/squad_v2.0_train_sample/train", "context") + wiki,
        "reddit": shifts("reddit"),
        "tale": field_of(data, "qa/fairytaleqa_extractive/train", "context"),
        "science": field_of(data, "summarization/acl_abstract_title/train", "document"),
        "doctor": field_of(data, "summarization/mts_dialog/train", "document"),
        "job": words_of(data, "ner/skillspan/train"),
        "code": words_of(data, "ner/stackoverflow/train"),
        "booking": field_of(data, "ner/restaurants8k/train", "text"),
        "bible": field_of(data, "translation/bible_en_de/train", "en"),
        "law": field_of(data, "translation/canada_laws_en_fr/train", "en"),
        "manual": field_of(data, "translation/php_docs_en_fr/train", "en"),
        "meeting": field_of(data, "summarization/qmsum_query/train", "document"),
        "tweet": words_of(data, "ner/broad_twitter_corpus/train"),
    }
    genres = {name: capped(texts, 400, chance) for name, texts in genres.items()}
    questions = [row["question"] for row in (*squad, *capped(read(data, "qa/qamr/train"), 6000, chance))]
    questions += [row["instruction"] for row in read(data, "generation/dolly/train") if row["category"] == "open_qa"]
    types = [(text, kind) for text in questions if (kind := answer_type(text))]
    types += [(row["question"] + "?", "yes or no") for row in read(data, "qa/boolq/train")]
    toxic = [(row["text"], "toxic") for row in read(data, "ner/toxic_spans/train") if row["entities"]]
    calm = [(text, "not toxic") for text in capped(genres["reddit"], 150, chance)]
    harm = [*labelled(data, "classification/surge_toxicity/train"), *capped(toxic, 150, chance), *calm]
    reviews = labelled(data, "sentiment/customer_reviews/train")
    facts = [(text, "neutral") for text in capped([*wiki, *genres["tweet"]], 1200, chance)]
    titles = [(row["context"], row["title"]) for row in squad]
    titles += [(row["passage"], row["title"]) for row in read(data, "qa/boolq/train")]
    shifted = read(data, "qa/squadshifts_new_wiki/train")
    titles += [(row["context"], row["title"].replace("_", " ")) for row in shifted]
    papers = [(row["document"], row["summary"]) for row in read(data, "summarization/acl_abstract_title/train")]
    queries = [(row["context"], row["question"]) for row in capped([*squad, *shifted], 4000, chance)]
    clinc = [row for row in read(data, "classification/clinc150/train") if row["label_text"] != "out of scope"]
    intents, domains = ([(row["text"], row[key]) for row in clinc] for key in ("label_text", "domain"))
    banking, bitext = (labelled(data, f"classification/{n}/train") for n in ("banking77", "bitext_support_intents"))
    sections = described(SECTIONS)
    visits = [(row["document"], row["section"]) for row in read(data, "summarization/mts_dialog/train")]
    dolly = [(row["instruction"], row["category"]) for row in read(data, "generation/dolly/train")]
    support = ("the customer asks about: {}", "{} with a shop")
    sets = [
        LabelSet("banking77", banking, plain({label for _, label in banking}, "the customer asks about: {}"), BANK),
        LabelSet("clinc150", intents, plain({label for _, label in intents}, "a request about {}"), INTENT),
        LabelSet("clinc150 domains", domains, described(DOMAINS), ABOUT, 1.0),
        LabelSet("bitext", bitext, plain({label for _, label in bitext}, *support), INTENT, 0.7),
        LabelSet("snips", labelled(data, "classification/snips_intents/train"), described(SNIPS), INTENT, 0.5),
        LabelSet("dbpedia14", labelled(data, "classification/dbpedia14/train"), described(DBPEDIA), ABOUT, 2.0),
        LabelSet("customer reviews", reviews, described(REVIEWS), OPINION, 1.5),
        LabelSet("reviews and facts", [*reviews, *facts], described(REVIEWS + NEUTRAL.lstrip()), OPINION, 1.5),
        LabelSet(
            "counterfactual",
            labelled(data, "classification/amazon_counterfactual/train"),
            described(COUNTERFACTUAL),
            ("", "Did this happen?", "Is this real?"),
            0.3,
        ),
        LabelSet("toxicity", harm, described(HARMFUL), HARM, 0.8),
        LabelSet("answer types", types, described(TYPES), ASKS, 1.5),
        LabelSet("dolly", dolly, described(DOLLY), ("", "What does this instruction ask for?"), 0.5),
        LabelSet(
            "genres", [(t, n) for n, texts in genres.items() for t in texts], described(GENRES), KIND + ABOUT, 2.0
        ),
        LabelSet("visits", [row for row in visits if row[1] in sections], sections, ABOUT, 0.3),
        LabelSet("titles", [row for row in titles if row[1].strip()], {}, ABOUT, 3.0),
        LabelSet("papers", papers, {}, ("", "The title of this paper:"), 1.0),
        LabelSet("questions", queries, {}, ("", "Which question does this text answer?"), 1.0),
        feelings(chance),
        ratings(chance),
    ]
    for each in sets:
        each.keep(pool(each.rows, 1200 if len(each.by_label) > 50 else 500, chance))
    return sets


def hypotheses(data: Path) -> list[tuple[str, list[tuple[str, bool]]]]:
    """Premises, each with hypotheses and whether they follow."""
    by_premise: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for name in ("nli/snli/validation", "nli/fever_nli/train"):
        for row in read(data, name):
            by_premise[row["premise"]].append((row["hypothesis"], row["label"] == "entailment"))
    return list(by_premise.items())


FITTED = ("sib200", "hatecheck", "rotten_tomatoes", "goemotions")
"""Those that temperature and bias are fitted to."""


def choosing_sets(data: Path, count: int) -> list[LabelSet]:
    """The sets of `CHOOSING`, with at most so many rows each."""
    chance = random.Random(7)
    sets = []
    for name, (instructions, column, table) in CHOOSING.items():
        wordings = described(table)
        values = [(row["text"], row[column]) for row in read(data, name)]
        rows = [(text, v[0] if isinstance(v, list) else v) for text, v in values if isinstance(v, str) or len(v) == 1]
        rows = [row for row in rows if row[1] in wordings]
        sets.append(LabelSet(name.split("/")[1], capped(rows, count, chance), wordings, (instructions,)))
    return sets
