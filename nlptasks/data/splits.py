"""Splits of rows: nothing is lost, and no text is on both sides."""

from __future__ import annotations

import random
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import TypeVar

Row = TypeVar("Row")

MAX_HELD_OUT = 5000
"""Maximum number of held-out rows: more would cost time and change the metrics little."""

_WORD = re.compile(r"\w+")


def normalised(text: str) -> str:
    """The words of a text: two texts that differ in case, spaces or punctuation only are the same."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_WORD.findall(folded)) or " ".join(folded.split())


ALONE = "a label's only text is not held out, and rows of one text stay together"
"""Why a split may hold out no row."""


def split(
    rows: Sequence[Row],
    share: float,
    seed: int,
    *,
    text: Callable[[Row], str],
    label: Callable[[Row], Hashable],
) -> tuple[list[Row], list[Row]]:
    """Training rows and held-out rows, both in the order of `rows`.

    Every label keeps its share. Rows with the same words stay on one side. A label with a single text is not held
    out.
    """
    by_label = _groups(rows, text, label)
    share = min(share, MAX_HELD_OUT / max(1, len(rows)))
    chance = random.Random(seed)
    held: set[int] = set()
    for members in by_label.values():
        chance.shuffle(members)
        count = min(len(members) - 1, max(1, round(share * len(members))))
        held.update(index for group in members[:count] for index in group)
    training = [row for index, row in enumerate(rows) if index not in held]
    return training, [row for index, row in enumerate(rows) if index in held]


def folds(
    rows: Sequence[Row], count: int, seed: int, *, text: Callable[[Row], str], label: Callable[[Row], Hashable]
) -> list[tuple[list[Row], list[Row]]]:
    """`count` pairs of training rows and held-out rows; every row is held out once, every label keeps its share.

    Rows with the same words stay on one side.
    """
    chance = random.Random(seed)
    fold_of: dict[int, int] = {}
    dealt = 0
    for members in _groups(rows, text, label).values():
        chance.shuffle(members)
        for group in members:
            fold_of |= dict.fromkeys(group, dealt % count)
            dealt += 1
    return [
        (
            [row for index, row in enumerate(rows) if fold_of[index] != fold],
            [row for index, row in enumerate(rows) if fold_of[index] == fold],
        )
        for fold in range(count)
    ]


def _groups(
    rows: Sequence[Row], text: Callable[[Row], str], label: Callable[[Row], Hashable]
) -> dict[Hashable, list[list[int]]]:
    """For each label its groups of rows with the same words, as indices."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[normalised(text(row))].append(index)
    by_label: dict[Hashable, list[list[int]]] = defaultdict(list)
    for group in groups.values():
        by_label[label(rows[group[0]])].append(group)
    return by_label


def sample(rows: Sequence[Row], count: int, seed: int, *, label: Callable[[Row], Hashable]) -> list[Row]:
    """At most `count` rows in their order, every label with its share."""
    if count >= len(rows):
        return list(rows)
    chance = random.Random(seed)
    by_label: dict[Hashable, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        by_label[label(row)].append(index)
    # Each row is ranked within its label, from 0 to 1; the rows of lowest rank are taken.
    places = []
    for members in by_label.values():
        chance.shuffle(members)
        places += [((rank + 0.5) / len(members), index) for rank, index in enumerate(members)]
    chosen = {index for _, index in sorted(places)[:count]}
    return [row for index, row in enumerate(rows) if index in chosen]


def without(rows: Sequence[Row], texts: Collection[str], *, text: Callable[[Row], str]) -> list[Row]:
    """The rows whose words are not those of one of `texts`."""
    excluded = {normalised(other) for other in texts}
    return [row for row in rows if normalised(text(row)) not in excluded]


def conflicts(
    rows: Sequence[Row], *, text: Callable[[Row], str], label: Callable[[Row], Hashable]
) -> list[tuple[Row, Row]]:
    """Pairs of rows with the same words and different labels."""
    first: dict[str, Row] = {}
    pairs = ((first.setdefault(normalised(text(row)), row), row) for row in rows)
    return [(other, row) for other, row in pairs if label(other) != label(row)]
