"""The training rows and the held-out rows of the shipped `ner` adapter.

python recipes/ner_data.py SETS train.jsonl validation.jsonl

SETS is a folder with a folder for each set: the mixture that the adapter's card describes (`MIXTURE`), with `train` and
`test`, the Broad Twitter Corpus, with `validation` and `test`, and the sets of `TYPES`, with `train`. All are mapped to
people, organisations and places. Copies with other names, some of persons in forms that the sets seldom have (with a
title, initials or a hyphen), stand in place of rows that the adapter was trained on before. The base reads lower case,
so that case needs no copies.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from zero_shot.entity_data import Mention, Row, labelled, read

from nlptasks.data import splits

MIXTURE = "permissive_mix_per_org_loc"
TWEETS = "broad_twitter_corpus"

TYPES: dict[str, dict[str, str | None]] = {
    "few_nerd_inter": {
        "artist or author": "PER", "politician": "PER", "soldier": "PER", "director": "PER",
        "company": "ORG", "other organization": "ORG", "sports team": "ORG", "education": "ORG",
        "media or newspaper": "ORG", "sports league": "ORG",
        "country, city or region": "LOC", "road or railway": "LOC", "mountain": "LOC", "island": "LOC",
        "airport": "LOC", "sports facility": "LOC", "god": None, "hotel": None, "restaurant": None,
    },
    "grobid_wikipedia": {
        "person": "PER", "organisation": "ORG", "institution": "ORG", "business": "ORG", "media": "ORG",
        "location": "LOC", "installation": None, "website": None,
    },
    "pii_presidio_synth": {"person": "PER", "organization": "ORG", "gpe": "LOC", "street address": None},
    "snips_slots": {
        "restaurant name": "ORG", "city": "LOC", "state": "LOC", "country": "LOC", "poi": None, "geographic poi": None,
        "artist": None, "entity name": None, "album": None, "track": None, "playlist": None, "service": None,
        "object name": None, "movie name": None, "location name": None, "party size description": None,
        "current location": None, "playlist owner": None,
    },
    "stackoverflow": {"user name": "PER", "organization": "ORG", "website": None, "application": None, "device": None,
                      "operating system": None},
}  # fmt: skip
"""The type of each label of a set; rows with a label of type None are left out, and other labels name nothing."""

MOST = {
    "few_nerd_inter": 4500, "broad_twitter_corpus": 2600, "pii_presidio_synth": 400, "stackoverflow": 250,
    "grobid_wikipedia": 100, "snips_slots": 100, "uner_en_ewt": 1500, "wikigold": 1100, "wnut17": 2400,
    "crossner_ai": 150, "crossner_literature": 150, "crossner_music": 150, "crossner_politics": 150,
    "crossner_science": 150,
}  # fmt: skip
"""Most rows of a set that are trained on."""

COPIES = {"uner_en_ewt": 2, "wikigold": 2, "wnut17": 1, "crossner_ai": 1, "crossner_literature": 1, "crossner_music": 1,
          "crossner_politics": 1, "crossner_science": 1}  # fmt: skip
"""How many copies with other names stand in place of each row of a set: the adapter that is trained further knows these
rows by heart."""

WITHOUT_NAMES = 0.35
"""Share that is trained on of these sets' rows that name nothing."""

LONGEST = 32
"""Most words of a row that is trained on."""

PLACES_ONLY = 0.4
"""Share that is trained on of the rows without a person or an organisation of Few-NERD, which are many."""

HELD_OUT, SEED = 0.06, 13
"""The split of the mixture that the shipped adapter was trained with first: its held-out rows stay held out."""

HELD_OUT_MORE = 0.05
"""Share of the other sets that is held out."""

UNCHANGED = 0.5
"""Share of the names that a copy leaves as they are."""

MADE = 0.5
"""Share of the new persons' names with a title, initials or a hyphen."""

TITLES = ("Mr.", "Mrs.", "Ms.", "Dr.", "Prof.", "Mr", "Mrs", "Ms", "Miss", "Dr", "Professor", "Judge", "Captain")

_DEMONYM = re.compile(
    r"\w+(?:[ie]an|can|uban|oman|ese|ish|ench)s?|(?:german|greek|thai|arab|turk|finn|dane|swede|pole|scot|serb|kurd|"
    r"afghan|czech|philippine|argentine|slav|saxon)s?|soviets?|dutch|swiss|welsh|spaniards?|arabic|maori|israelis?|"
    r"iraqis?|pakistanis?|catalans?|tibetans?|filipinos?|slavic",
    re.IGNORECASE,
)
_PLACE = re.compile(r"caribbean|mediterranean|vatican|isle of man|oman", re.IGNORECASE)
_SENTENCE_START = frozenset(".!?:\"“”'‘`(-–—") | {"``", "''"}
_NAME = re.compile(r"([A-Z][a-zé]{2,}) ([A-Z][a-z]{2,})")


def marked_whole(row: Row) -> bool:
    """Whether each word with a capital letter, but for those that begin a sentence, stands in a marked name.

    Few-NERD's splits for few examples mark some types only, and rows with an unmarked name teach the wrong thing.
    """
    before = "."
    for word in re.finditer(r"\S+", row.text):
        free = all(word.end() <= mention.start or mention.end <= word.start() for mention in row.mentions)
        if free and word[0][0].isupper() and before not in _SENTENCE_START and word[0] != "I":
            return False
        before = word[0]
    return True


def mapped(row: Row, types: dict[str, str | None]) -> Row | None:
    """The row with people, organisations and places only; None if it has a type that may be any of them."""
    if any(types.get(mention.label, "") is None for mention in row.mentions):
        return None
    mentions = [
        Mention(mention.start, mention.end, str(types[mention.label]))
        for mention in row.mentions
        if mention.label in types and not _demonym(row.text[mention.start : mention.end], mention.label)
    ]
    return Row(row.text, mentions)


def _demonym(name: str, label: str) -> bool:
    """Whether a place is a people or an adjective: "Danish", "Romans"."""
    return label == "country, city or region" and bool(_DEMONYM.fullmatch(name)) and not _PLACE.fullmatch(name)


def with_signs(row: Row) -> Row:
    """The row with the @ before each name as a part of it: the corpus marks some with it and some without."""
    mentions = []
    for mention in row.mentions:
        before = row.text[: mention.start].rstrip(" ")
        start = len(before) - 1 if before.endswith("@") else mention.start
        mentions.append(mention._replace(start=start))
    return Row(row.text, mentions)


def rewritten(row: Row, name: Callable[[str, str], tuple[str, str]]) -> Row:
    """The row with other names.

    `name` makes of a name and its label the words before the new name, such as a title, and the new name.
    """
    text, mentions, end = "", [], 0
    for mention in row.mentions:
        text += row.text[end : mention.start]
        before, written = name(row.text[mention.start : mention.end], mention.label)
        text += "" if text.rstrip().endswith(TITLES) else before
        mentions.append(Mention(len(text), len(text) + len(written), mention.label))
        text += written
        end = mention.end
    return Row(text + row.text[end:], mentions)


class Names:
    """Other names for those of rows: known names of the same type, and persons' names in forms made of their words."""

    def __init__(self, rows: Iterable[Row], chance: random.Random) -> None:
        known: dict[str, dict[str, None]] = {"PER": {}, "ORG": {}, "LOC": {}}
        for row in rows:
            for mention in row.mentions:
                name = row.text[mention.start : mention.end]
                if name[0] not in "@#" and any(map(str.isalpha, name)):
                    known[mention.label][name] = None
        self.known = {label: list(names) for label, names in known.items()}
        pairs = [match.groups() for name in self.known["PER"] if (match := _NAME.fullmatch(name))]
        self.first, self.last = [[pair[i] for pair in pairs] for i in (0, 1)]
        self.chance = chance

    def __call__(self, name: str, label: str) -> tuple[str, str]:
        """What stands before a name, such as "Dr. ", and the name: another in half of the cases."""
        if name[0] in "@#" or self.chance.random() < UNCHANGED:
            return "", name
        if label == "PER" and self.chance.random() < MADE:
            return self.person()
        return "", self.chance.choice(self.known[label])

    def person(self) -> tuple[str, str]:
        """A person's name in a form that is rare in the sets, and what stands before it."""
        first, other, last, second = (
            self.chance.choice(words) for words in (self.first, self.first, self.last, self.last)
        )
        title = self.chance.choice(TITLES) + " "
        return self.chance.choice(
            [
                (title, last),
                (title, f"{first} {last}"),
                (title, f"{first[0]}. {last}"),
                ("", f"{first[0]}. {last}"),
                ("", f"{first[0]}. {other[0]}. {last}"),
                ("", f"{first[0]}.{other[0]}. {last}"),
                ("", f"{first} {other[0]}. {last}"),
                ("", f"{first}-{other} {last}"),
                ("", f"{first} {last}-{second}"),
                (title, f"{last}-{second}"),
            ]
        )


def other_sets(sets: Path, chance: random.Random) -> dict[str, list[Row]]:
    """The rows of the sets of `TYPES`."""
    rows: dict[str, list[Row]] = {}
    for name, types in TYPES.items():
        whole = [row for row in labelled(sets / name) if name != "few_nerd_inter" or marked_whole(row)]
        new = [row for row in (mapped(row, types) for row in whole) if row]
        if name == "few_nerd_inter":
            new = [
                row
                for row in new
                if any(mention.label != "LOC" for mention in row.mentions) or chance.random() < PLACES_ONLY
            ]
        rows[name] = chance.sample(new, len(new))
    return rows


def parts_of_mixture(sets: Path) -> tuple[dict[str, list[Row]], list[Row]]:
    """The training rows of the mixture by their set, and its held-out rows."""
    rows = labelled(sets / MIXTURE)
    sources = [row["source"] for row in read(sets / MIXTURE)]
    source_of = {id(row): source for row, source in zip(rows, sources, strict=True)}
    tests = [row.text for row in labelled(sets / MIXTURE, "test")]
    left = splits.without(rows, tests, text=lambda row: row.text)
    training, held_out = splits.split(
        left, HELD_OUT, SEED, text=lambda row: row.text, label=lambda row: bool(row.mentions)
    )
    parts: dict[str, list[Row]] = {}
    for row in training:
        parts.setdefault(source_of[id(row)], []).append(with_signs(row))
    return parts, [with_signs(row) for row in held_out]


def thinned(name: str, rows: Sequence[Row], chance: random.Random) -> list[Row]:
    """The rows of a set that are trained on."""
    short = [row for row in rows if len(row.text.split()) <= LONGEST]
    return chance.sample(short, min(MOST[name], len(short)))


def with_copies(parts: dict[str, list[Row]], chance: random.Random) -> list[Row]:
    """The rows that are trained on: the sets of `COPIES` with other names only, the others as they are."""
    names = Names((row for rows in parts.values() for row in rows), chance)
    training: list[Row] = []
    for name, rows in parts.items():
        if name not in COPIES:
            training += rows
            continue
        training += [rewritten(row, names) for row in rows if row.mentions for _ in range(COPIES[name])]
        training += [row for row in rows if not row.mentions and chance.random() < WITHOUT_NAMES]
    return training


def write(path: Path, rows: Sequence[Row]) -> None:
    """A file that `nlptasks train` and `nlptasks eval` read."""
    with path.open("w", encoding="utf-8") as out:
        for row in rows:
            entities = [mention._asdict() for mention in sorted(row.mentions)]
            out.write(json.dumps({"text": row.text, "entities": entities}, ensure_ascii=False) + "\n")
    counts = Counter(mention.label for row in rows for mention in row.mentions)
    print(f"{path}: {len(rows)} rows, {dict(counts)}")


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    arguments = parser.parse_args()
    chance = random.Random(SEED)
    parts, held_out = parts_of_mixture(arguments.sets)
    tests = [row.text for row in labelled(arguments.sets / MIXTURE, "test")]
    tests += [row.text for row in labelled(arguments.sets / TWEETS, "test")]
    for name, rows in other_sets(arguments.sets, chance).items():
        rows = splits.without(rows, tests, text=lambda row: row.text)
        count = round(HELD_OUT_MORE * len(rows))
        held_out += rows[:count]
        parts[name] = rows[count:]
    held_out += labelled(arguments.sets / TWEETS, "validation")
    held_texts = [row.text for row in held_out]
    parts = {name: splits.without(rows, held_texts, text=lambda row: row.text) for name, rows in parts.items()}
    training = with_copies({name: thinned(name, rows, chance) for name, rows in parts.items()}, chance)
    chance.shuffle(training)
    write(arguments.train, training)
    write(arguments.validation, held_out)


if __name__ == "__main__":
    main()
