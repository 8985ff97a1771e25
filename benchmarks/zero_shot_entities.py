"""Strict span F1 of the task `entities` on sets that its adapter never saw, with types named in words.

    python benchmarks/zero_shot_entities.py DATA [--rows 400] [--sets crossner_ai,mit_movie] [--adapter FOLDER]

DATA is a folder with SET/test.jsonl (or .gz) of IOB2 rows `{tokens, tags}`. An entity is right if its type and both
borders are. The mean over the yardsticks (CrossNER and the MIT corpora) is the figure that GLiNER's paper states, too:
there 0.56 for its 209 M parameters (arXiv:2311.08526, table 2, the medium model). Sets for choosing thresholds and
settings are measured where they are named. `--names` leaves the descriptions out.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlptasks import Engine
from nlptasks_plugins.entities import AnyEntities

_COMMON = {
    "person": "person: the name of a person",
    "organisation": "organization: a company, institution, party or another group",
    "location": "location: a city, region or another place",
    "country": "country: the name of a country",
    "event": "event: something that happened and has a name, such as a war or a festival",
    "award": "award: a prize or an honour",
    "university": "university: a place of higher education and research",
    "misc": "other named entity: a nationality, language, title or another name",
}
WORDS = {
    "crossner_ai": {
        "algorithm": "algorithm: a method or model of machine learning",
        "conference": "conference: a scientific meeting",
        "product": "product: a software, system or device",
        "task": "task: a problem that a computer is to solve, such as machine translation",
        "field": "research field: a scientific discipline, such as computer vision",
        "metrics": "metric: a measure of quality or error",
        "researcher": "researcher: a scientist",
        "programlang": "programming language: a language that programs are written in",
    },
    "crossner_literature": {
        "writer": "writer: an author or poet",
        "book": "book: the title of a book",
        "literarygenre": "literary genre: a kind of literature, such as novel or science fiction",
        "poem": "poem: the title of a poem",
        "magazine": "magazine: a magazine, newspaper or journal",
    },
    "crossner_music": {
        "song": "song: the title of a song",
        "band": "band: a group of musicians",
        "album": "album: the title of a music album",
        "musicgenre": "music genre: a style of music",
        "musicalartist": "musical artist: a singer, musician or composer",
        "musicalinstrument": "musical instrument: something that music is played on",
    },
    "crossner_politics": {
        "politician": "politician: a person in politics",
        "election": "election: a vote for an office or parliament",
        "politicalparty": "political party: a party in politics",
    },
    "crossner_science": {
        "astronomicalobject": "astronomical object: a star, planet, moon or galaxy",
        "chemicalcompound": "chemical compound: a chemical substance",
        "protein": "protein: a protein or receptor",
        "scientist": "scientist: a person who does research",
        "enzyme": "enzyme: a protein that speeds up a reaction",
        "academicjournal": "academic journal: a journal that publishes research",
        "chemicalelement": "chemical element: an element such as hydrogen",
        "discipline": "discipline: a field of science",
        "theory": "theory: a theory or law of science",
    },
    "mit_movie": {
        "genre": "genre: a kind of movie, such as comedy",
        "year": "year: a year or decade in which a movie was released",
        "plot": "plot: what a movie is about",
        "average ratings": "average rating: how well a movie is rated, such as four stars or highly rated",
        "actor": "actor: a person who plays in a movie",
        "title": "title: the title of a movie",
        "song": "song: a piece of music in a movie",
        "character": "character: a role in a movie",
        "rating": "age rating: who may see a movie, such as PG-13 or rated R",
        "review": "review: a word for an opinion on a movie",
        "director": "director: a person who directs movies",
        "trailer": "trailer: a short advertisement of a movie",
    },
    "mit_restaurant": {
        "rating": "rating: how good a restaurant is, such as five star or best",
        "location": "location: where a restaurant is, such as a city or nearby",
        "amenity": "amenity: something that a restaurant offers, such as parking or outdoor seating",
        "cuisine": "cuisine: a kind of food, such as Italian",
        "hours": "hours: when a restaurant is open",
        "price": "price: how expensive a restaurant is",
        "dish": "dish: something to eat or drink",
        "restaurant name": "restaurant name: what a restaurant is called",
    },
}
"""The yardsticks: a type and what it is, by set and label; those in `_COMMON` are the same for all."""

CHOOSING = {
    "few_nerd_inter": {
        "sports event": "sports event: a championship, cup, match or season of sports",
        "government agency": "government agency: a ministry, court, office or parliament",
        "body of water": "body of water: a river, lake, sea or ocean",
        "music": "song or album: a piece of music by its title",
        "weapon": "weapon: a gun, missile or another thing to fight with",
        "athlete": "athlete: a person who does a sport",
        "theater": "theater: a place where plays are performed",
        "living thing": "living thing: a species of animals or plants",
        "hospital": "hospital: a place where the ill are treated",
        "other location": "location: a place, region or building",
        "car": "car: a model of a car",
        "written work": "written work: the title of a book, poem or magazine",
        "educational degree": "educational degree: a title that one earns at a university",
        "political party": "political party: a party in politics",
        "actor": "actor: a person who plays in films or on stage",
        "medical thing": "medical term: a drug, a therapy or a part of the body",
        "election": "election: a vote for an office or parliament",
    },
    "conll04": {
        "location": _COMMON["location"],
        "organization": _COMMON["organisation"],
        "person": _COMMON["person"],
        "other": _COMMON["misc"],
    },
    "scierc": {
        "other scientific term": "scientific term: a notion of a science",
        "method": "method: a method, model or system",
        "task": "task: a problem that is to be solved",
        "generic": "generic term: a general word for a method or task, such as approach",
        "material": "material: data, such as a corpus",
        "metric": "metric: a measure of quality",
    },
}
"""Sets for choosing settings."""

Span = tuple[int, int, str]


def read(data: Path, name: str, most: int | None) -> list[tuple[str, set[Span]]]:
    """Texts with their right spans in characters; of more than `most` rows every n-th."""
    file = next(path for end in ("jsonl", "jsonl.gz") if (path := data / name / f"test.{end}").is_file())
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    rows = [json.loads(line) for line in content.splitlines()]
    step = max(1, len(rows) // most) if most else 1
    return [spans_of(row["tokens"], row["tags"]) for row in rows[::step][:most]]


def spans_of(tokens: Sequence[str], tags: Sequence[str]) -> tuple[str, set[Span]]:
    """The tokens with blanks between them, and the entities' places in that text."""
    starts = [0, *itertools.accumulate(len(token) + 1 for token in tokens)]
    entities: list[Span] = []
    for i, tag in enumerate(tags):
        if tag[:2] == "B-":
            entities.append((starts[i], starts[i + 1] - 1, tag[2:]))
        elif tag[:2] == "I-" and entities:
            entities[-1] = (entities[-1][0], starts[i + 1] - 1, entities[-1][2])
    return " ".join(tokens), set(entities)


def words_of(name: str, labels: set[str]) -> dict[str, str]:
    """The words of each label of a set."""
    table = {**_COMMON, **{**WORDS, **CHOOSING}[name]}
    return {label: table[label] for label in sorted(labels)}


def f1(right: int, wrong: int, missed: int) -> float:
    """2 * right / (2 * right + wrong + missed)."""
    return 2 * right / max(1, 2 * right + wrong + missed)


def measure(engine: Any, rows: Sequence[tuple[str, set[Span]]], words: dict[str, str], options: dict[str, Any]) -> Any:
    """Counts of right, wrong and missed spans by label."""
    labels = {text.partition(": ")[0]: label for label, text in words.items()}
    types = dict(text.split(": ", 1) for text in words.values())
    if options.pop("names", False):
        types = dict.fromkeys(types)
    results = engine.run(AnyEntities, [text for text, _ in rows], labels=types, **options)
    counts = {label: [0, 0, 0] for label in words}
    for (_, right), result in zip(rows, results, strict=True):
        answered = {(e.start, e.end, labels[e.label]) for e in result.entities}
        for column, part in enumerate((answered & right, answered - right, right - answered)):
            for *_, label in part:
                counts[label][column] += 1
    return counts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, help="of each set at most")
    parser.add_argument("--sets", default=",".join(WORDS), help="of %(default)s; or few_nerd_inter, conll04, scierc")
    parser.add_argument("--adapter", help="a name or folder instead of the shipped one")
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--names", action="store_true", help="the types' names alone")
    parser.add_argument("--types", action="store_true", help="a line for each type")
    arguments = parser.parse_args()
    means = []
    with Engine() as engine:
        for name in arguments.sets.split(","):
            rows = read(arguments.data, name, arguments.rows)
            words = words_of(name, {span[2] for _, right in rows for span in right})
            options = {"adapter": arguments.adapter, "threshold": arguments.threshold, "names": arguments.names}
            began = time.perf_counter()
            counts = measure(engine, rows, words, {key: value for key, value in options.items() if value is not None})
            seconds = time.perf_counter() - began
            right, wrong, missed = (sum(column) for column in zip(*counts.values(), strict=True))
            means.append(f1(right, wrong, missed))
            print(
                f"{name}: F1 {means[-1]:.3f}, precision {right / max(1, right + wrong):.3f}, "
                f"recall {right / max(1, right + missed):.3f}, {len(rows)} rows, {len(rows) / seconds:.0f} a second",
                flush=True,
            )
            for label, row in counts.items() if arguments.types else ():
                print(f"    {label}: F1 {f1(*row):.3f} of {row[0] + row[2]}")
    print(f"mean F1 {sum(means) / len(means):.3f}")


if __name__ == "__main__":
    main()
