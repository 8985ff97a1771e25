"""The phrase book: everyday sentences with places for names, numbers, dates and things, and their translations.

    python recipes/translator/phrases.py [--model MODEL]

checks which of its fixed phrases a translator gets right. `phrases.tsv` has a phrase a line: English, French, German,
Spanish. `{name}` is a place that every language fills with the same entry of a list; `# name` begins a list.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

BOOK = Path(__file__).with_name("phrases.tsv")
COLUMNS = ("en", "fr", "de", "es")
CLAUSES = "event"
"""A list whose entries are no texts of their own: the German ones have the order of words behind `dass`."""
_PLACE = re.compile(r"\{(\w+)\}")
_NUMBERS = {"number": [(2, 20), (2, 100), (2, 999)], "year": [(1500, 2035)], "day": [(2, 31)], "hour": [(2, 12)]}

Phrase = dict[str, str]
"""A phrase by language."""
Book = tuple[Sequence[Phrase], dict[str, list[Phrase]]]
"""The phrases, and the lists that fill their places."""


def read_book(file: Path) -> Book:
    """The phrases and the lists: lines behind `# name`, which last until the next such line; `# phrases` ends them."""
    phrases: list[Phrase] = []
    lists: dict[str, list[Phrase]] = defaultdict(list)
    place = "phrases"
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("# "):
            place = line[2:].strip()
        elif line.strip():
            texts = line.split("\t")
            if len(texts) != len(COLUMNS):
                raise SystemExit(f"{file}:{number}: expected {len(COLUMNS)} texts between tabs, found {len(texts)}.")
            (phrases if place == "phrases" else lists[place]).append(dict(zip(COLUMNS, texts, strict=True)))
    return phrases, lists


def fill(phrase: Phrase, lists: dict[str, list[Phrase]], chance: random.Random) -> Phrase:
    """The phrase with an entry of the list in each place, the same one in all languages; an entry may have places."""
    while places := dict.fromkeys(_PLACE.findall(phrase["en"])):
        for name in places:
            chosen = entry(name, lists, chance)
            phrase = {language: text.replace(f"{{{name}}}", chosen[language]) for language, text in phrase.items()}
    return phrase | {
        "fr": re.sub(r"\bde (?=[AEIOUÉ])", "d'", phrase["fr"]),
        "es": re.sub(r"\by (?=I)", "e ", phrase["es"]),
    }


def entry(name: str, lists: dict[str, list[Phrase]], chance: random.Random) -> Phrase:
    """An entry of a list, or a number: `{number}`, `{year}`, `{day}`, `{hour}`. `{Role}` is a capital `{role}`."""
    if name in _NUMBERS:
        return dict.fromkeys(COLUMNS, str(chance.randint(*chance.choice(_NUMBERS[name]))))
    if name.startswith("name"):
        return chance.choice(lists["man"] + lists["woman"])
    chosen = chance.choice(lists[name.rstrip("2").lower()])
    return {language: text[0].upper() + text[1:] for language, text in chosen.items()} if name[0].isupper() else chosen


def fixed(book: Book) -> list[tuple[Phrase, str]]:
    """Every phrase without places and every entry of the lists, with each language it is for."""
    phrases, lists = book
    entries = [entry for name, entries in lists.items() if name != CLAUSES for entry in entries]
    whole = [phrase for phrase in phrases if not _PLACE.search(phrase["en"])]
    return [(phrase, language) for phrase in (*whole, *entries) for language in COLUMNS[1:]]


def filled(book: Book, rows: int, chance: random.Random) -> list[tuple[Phrase, str]]:
    """`rows` fillings of the phrases with places, as often each and in each language, without doubles."""
    phrases, lists = book
    patterns = [phrase for phrase in phrases if _PLACE.search(phrase["en"])]
    made, seen = [], set()
    for turn in range(rows if patterns else 0):
        phrase = fill(patterns[turn % len(patterns)], lists, chance)
        language = COLUMNS[1 + turn // len(patterns) % 3]
        if (mark := (phrase["en"], phrase[language], language)) not in seen:
            seen.add(mark)
            made.append((phrase, language))
    return made


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def main() -> None:
    """Print the share of fixed phrases that are translated as the book has them, and those that are not."""
    from nlptasks import Engine

    parser = argparse.ArgumentParser(description="Check a translator on the phrase book.")
    parser.add_argument("--model", default="translator")
    arguments = parser.parse_args()
    whole = [phrase for phrase in read_book(BOOK)[0] if not _PLACE.search(phrase["en"])]
    with Engine(arguments.model) as engine:
        for target in COLUMNS[1:]:
            results = engine.run(
                "translation", [phrase["en"] for phrase in whole], source_language="en", target_language=target
            )
            wrong = [
                (phrase["en"], result.translation)
                for phrase, result in zip(whole, results, strict=True)
                if _plain(result.translation) != _plain(phrase[target])
            ]
            print(f"en to {target}: {len(whole) - len(wrong)} of {len(whole)} as the book has them")
            for english, translation in wrong:
                print(f"  {english} -> {translation}")


if __name__ == "__main__":
    main()
