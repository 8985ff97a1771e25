"""Clean parallel rows and pack them into one file for `pretrain.py`.

    python recipes/translator/pack.py PARALLEL --tokenizer FOLDER --out rows.npz [--held-out PARALLEL]

PARALLEL is a folder of folders with `train.jsonl[.gz]`, rows with `en` and one of `fr`, `de`, `es`. The phrase book
beside this file is a set of its own. Rows whose text or translation stands in a `test*` or `validation*` file of
--held-out are left out; a few rows of its `validation` files are packed for the loss that `pretrain.py` prints.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import MarianTokenizer

from nlptasks_plugins import languages

sys.path.insert(0, str(Path(__file__).parent))
from phrases import BOOK, filled, fixed, read_book

LANGUAGES = ("fr", "de", "es")
BOOK_SETS = ("phrases", "patterns")
LONGEST = 128
"""Pieces of a text, its end included; longer rows are left out."""
TRANSLATIONS = 4
"""The most translations of one English text in a language."""
VALIDATION = 120
"""Rows of each validation file that are packed."""


@dataclass(frozen=True)
class Pair:
    """A row: the English text, the other one, its language."""

    english: str
    other: str
    language: str

    @property
    def key(self) -> tuple[str, str]:
        """What two rows that differ in case and signs alone have in common."""
        return plain(self.english), plain(self.other)


def plain(text: str) -> str:
    """Letters and digits in lower case."""
    return "".join(character for character in text.casefold() if character.isalnum())


def files_of(folder: Path, kind: str) -> Iterator[Path]:
    """The files of a kind, such as `train`, of every set."""
    yield from sorted(folder.glob(f"*/{kind}*.jsonl*"))


def rows_of(file: Path) -> Iterator[Pair]:
    """The pairs of a file; a row with several languages is several pairs."""
    content = file.read_bytes()
    text = (gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8")
    for row in map(json.loads, text.strip().split("\n")):
        for language in LANGUAGES:
            if language in row:
                yield Pair(" ".join(row["en"].split()), " ".join(row[language].split()), language)


_NUMBER = re.compile(r"\d+")
_LETTER = re.compile(r"[^\W\d_]")


def fault(pair: Pair) -> str:
    """Why a row is no translation, or an empty text."""
    english, other = pair.english, pair.other
    letters = len(_LETTER.findall(english)), len(_LETTER.findall(other))
    if min(letters) < 2 or 2 * letters[0] < len(english) or 2 * letters[1] < len(other):
        return "signs"
    if len(english) > 2.2 * len(other) + 15 or len(other) > 2.2 * len(english) + 15:
        return "length"
    if len(english.split()) > 3 and plain(english) == plain(other):
        return "copied"
    if sorted(_NUMBER.findall(english.replace(",", "").replace(".", ""))) != sorted(
        _NUMBER.findall(re.sub(r"[.,\u202f\u00a0]|(?<=\d) (?=\d{3}\b)", "", other))
    ):
        return "numbers"
    if (english[-1] == "?") != (other[-1] == "?"):
        return "question"
    return ""


def foreign(pair: Pair) -> bool:
    """Whether the translation is surely in another of the languages, as half-translated documentation is.

    Detection takes a millisecond: only texts that have a third of their words in common with the English are asked.
    """
    words, same = pair.other.split(), set(pair.english.split())
    if len(words) < 4 or 3 * sum(word in same for word in words) < len(words):
        return False
    tag = languages.detect(pair.other, ("en", *LANGUAGES)).tag
    return tag not in (pair.language, languages.UNDETERMINED)


def clean(
    pairs: Iterable[Pair], held_out: set[tuple[str, str]], seen: set[tuple[str, str]], why: Counter[str]
) -> Iterator[Pair]:
    """The pairs that are translations, each once; `why` counts what was left out."""
    translations: Counter[tuple[str, str]] = Counter()
    for pair in pairs:
        english, other = pair.key
        reason = fault(pair)
        if not reason and ((pair.language, english) in held_out or (pair.language, other) in held_out):
            reason = "held out"
        if not reason and (english, other) in seen:
            reason = "double"
        if not reason and translations[pair.language, english] >= TRANSLATIONS:
            reason = "many"
        if not reason and foreign(pair):
            reason = "language"
        if reason:
            why[reason] += 1
            continue
        seen.add((english, other))
        translations[pair.language, english] += 1
        yield pair


def texts_held_out(folder: Path) -> set[tuple[str, str]]:
    """(Language of the pair, plain text) of everything that is measured on."""
    texts: set[tuple[str, str]] = set()
    for kind in ("test", "validation"):
        for file in files_of(folder, kind):
            for pair in rows_of(file):
                texts.update((pair.language, text) for text in pair.key)
    return texts


def encode(texts: list[str], tokenizer: MarianTokenizer) -> list[np.ndarray]:
    """The pieces of texts as the tokenizer would number them, with the end, each text read once."""
    model = tokenizer.spm_source  # the same as that of the targets
    vocabulary = tokenizer.get_vocab()
    numbers = np.array([vocabulary[model.id_to_piece(i)] for i in range(model.get_piece_size())], dtype=np.uint16)
    return [numbers[row] for row in model.encode(texts, out_type=int, num_threads=os.cpu_count() or 1, add_eos=True)]


def pack(sets: dict[str, list[Pair]], tokenizer: MarianTokenizer) -> dict[str, np.ndarray]:
    """Arrays of all rows: the pieces one after another, their counts, each row's language and set."""
    pieces: list[np.ndarray] = []
    rows: list[tuple[int, int, int, int]] = []
    for number, pairs in enumerate(sets.values()):
        english, other = (encode([getattr(pair, side) for pair in pairs], tokenizer) for side in ("english", "other"))
        for pair, first, second in zip(pairs, english, other, strict=True):
            if max(len(first), len(second)) < LONGEST:
                pieces += [first, second]
                rows.append((len(first), len(second), LANGUAGES.index(pair.language), number))
    table = np.array(rows, dtype=np.uint8).reshape(-1, 4)
    return {"pieces": np.concatenate(pieces or [np.zeros(0, np.uint16)]), "rows": table, "sets": np.array([*sets])}


def with_book(file: Path, book: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a packed file, its rows of the phrase book replaced."""
    with np.load(file) as arrays:
        pieces, rows, names = arrays["pieces"], arrays["rows"], [str(name) for name in arrays["sets"]]
    stays = np.array([name not in BOOK_SETS for name in names])[rows[:, 3]]
    pieces = pieces[np.repeat(stays, rows[:, :2].sum(1, dtype=np.int64))]
    added = book["rows"] + np.array([0, 0, 0, len(names)], dtype=np.uint8)
    return {
        "pieces": np.concatenate((pieces, book["pieces"])),
        "rows": np.concatenate((rows[stays], added)),
        "sets": np.array([name if name not in BOOK_SETS else f"old {name}" for name in names] + [*book["sets"]]),
    }


def read_sets(folder: Path, measured: Path | None, limit: int | None) -> dict[str, list[Pair]]:
    """The clean rows of every set, and some of each validation file."""
    held_out = texts_held_out(measured) if measured else set()
    seen: set[tuple[str, str]] = set()
    sets: dict[str, list[Pair]] = {}
    for file in files_of(folder, "train"):
        why: Counter[str] = Counter()
        pairs = [*rows_of(file)][:limit]
        sets[file.parent.name] = [*clean(pairs, held_out, seen, why)]
        print(f"{file.parent.name}: {len(sets[file.parent.name]):,} of {len(pairs):,} {dict(why)}", flush=True)
    if not sets:
        raise SystemExit(f"{folder}: expected folders with train.jsonl or train.jsonl.gz, found none.")
    for file in files_of(measured, "validation") if measured else ():
        rows = [*rows_of(file)]
        sets[f"validation/{file.parent.name}"] = random.Random(13).sample(rows, min(VALIDATION, len(rows)))
    return sets


def main() -> None:
    """Read, clean, pack, say how much of each set is left."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of folders with train.jsonl[.gz]")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of a translator")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, help="folder of folders with test and validation files")
    parser.add_argument("--patterns", type=int, default=60_000, help="rows made from the phrases with places")
    parser.add_argument("--reuse", type=Path, help="a packed file whose rows stay, but for the phrase book's")
    parser.add_argument("--limit", type=int, help="rows of each set, for a trial")
    arguments = parser.parse_args()
    tokenizer = MarianTokenizer.from_pretrained(arguments.tokenizer)
    book = read_book(BOOK)
    made = fixed(book), filled(book, arguments.patterns, random.Random(13))
    sets = {
        name: [Pair(row["en"], row[language], language) for row, language in rows]
        for name, rows in zip(BOOK_SETS, made, strict=True)
    }
    print(f"phrase book: {len(made[0]):,} rows and {len(made[1]):,} of patterns", flush=True)
    if arguments.reuse:
        arrays = with_book(arguments.reuse, pack(sets, tokenizer))
    else:
        arrays = pack(sets | read_sets(arguments.data, arguments.held_out, arguments.limit), tokenizer)
    np.savez_compressed(arguments.out, **arrays)
    size = arguments.out.stat().st_size / 1e6
    print(f"{len(arrays['rows']):,} rows, {len(arrays['pieces']):,} pieces, {size:.1f} MB")


if __name__ == "__main__":
    main()
