"""Words, tags and spans: pure functions on code points, from a text and its tags to entities."""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Literal

from nlptasks.families.scores import softmax

Span = tuple[int, int]
"""(start, end) in code points."""

Row = Sequence[float]
"""One score a tag."""

Aggregation = Literal["first", "average", "max"]

_ZWJ = "\u200d"
# Invisible characters inside words and emoji: soft hyphen, Mongolian separator, (non-)joiners, flag tags.
_JOINERS = frozenset({"\u00ad", "\u180e", "\u200c", _ZWJ, "\u2060", *map(chr, range(0xE0020, 0xE0080))})
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x3005, 0x3007),  # ideographic iteration mark and zero
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # halfwidth Katakana
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),
)

_HYPHENS = frozenset("-\u2010\u2011")
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")

_Kind = Literal["blank", "letter", "mark", "joiner", "symbol", "flag", "tone"]


@lru_cache(maxsize=8192)
def _kind(char: str) -> _Kind:
    code, category = ord(char), unicodedata.category(char)
    if char in _JOINERS:
        return "joiner"
    if category[0] == "M":
        return "mark"
    if char.isspace() or category in {"Cc", "Cf"}:
        return "blank"
    if 0x1F1E6 <= code <= 0x1F1FF:
        return "flag"
    if 0x1F3FB <= code <= 0x1F3FF:
        return "tone"
    if category[0] in "LN" and not any(low <= code <= high for low, high in _UNSPACED):
        return "letter"
    return "symbol"


def words(text: str) -> list[Span]:
    """The units on which tags are decided, in order; all that is between them is white space or invisible.

    A word is a run of letters, digits and marks. Punctuation marks and symbols are words of their own, as in the
    tokenisation of CoNLL-2003, and so is each character of a script that writes no spaces (Han, kana, Thai,
    Lao). Combining marks and joiners stay with the character before them, and an emoji sequence (UTS #51: ZWJ,
    skin tone, flag) is one word.
    """
    runs: list[Span] = []
    opened: _Kind = "blank"
    for i, char in enumerate(text):
        kind = _kind(char)
        if runs and runs[-1][1] == i and _continues(opened, kind, text[runs[-1][0] : i]):
            runs[-1] = (runs[-1][0], i + 1)
        elif kind not in {"blank", "joiner"}:
            runs.append((i, i + 1))
            opened = "letter" if kind == "mark" else kind
    return runs


def compounds(text: str, words: Sequence[Span]) -> list[range]:
    """Indices of neighbouring words that hyphens join: Rolls, -, Royce."""
    runs: list[range] = []
    for i in range(1, len(words) - 1):
        (_, before), (start, end), (after, _) = words[i - 1 : i + 2]
        letters = text[words[i - 1][0]].isalnum() and text[after].isalnum()
        if text[start] in _HYPHENS and before == start and end == after and letters:
            first = runs.pop().start if runs and runs[-1].stop == i else i - 1
            runs.append(range(first, i + 2))
    return runs


def abbreviations(text: str, words: Sequence[Span]) -> list[range]:
    """Indices of neighbouring words that are letters with a period behind each: U, ., K, .; the last may lack it."""
    runs: list[range] = []
    first = 0
    while first < len(words):
        end = first
        while end < len(words) and (end == first or words[end - 1][1] == words[end][0]):
            start, stop = words[end]
            fits = text[start] == "." if (end - first) % 2 else stop - start == 1 and text[start].isalpha()
            if not fits:
                break
            end += 1
        if end - first > 2:
            runs.append(range(first, end))
        first = max(end, first + 1)
    return runs


def unescape(text: str) -> tuple[str, Sequence[int]]:
    """A text with the characters that HTML's references stand for (&amp;), and where each begins in the original.

    One more place than characters: the last is the original's end.
    """
    pieces: list[str] = []
    places: list[int] = []
    end = 0
    for reference in _REFERENCE.finditer(text):
        char = html.unescape(reference[0])
        if len(char) == 1 and char != "\ufffd":
            pieces += text[end : reference.start()], char
            places += range(end, reference.start() + 1)
            end = reference.end()
    return "".join([*pieces, text[end:]]), [*places, *range(end, len(text) + 1)]


def _continues(opened: _Kind, kind: _Kind, word: str) -> bool:
    """Whether a character belongs to the word right before it."""
    if kind == "letter":
        return opened == "letter"
    if kind == "flag" and opened == "flag":
        return len(word) == 1
    if kind == "tone":
        return opened == "symbol"
    if kind == "symbol":
        return opened in {"symbol", "flag", "tone"} and word[-1] == _ZWJ
    return kind in {"mark", "joiner"}


def tokens_of_words(words: Sequence[Span], tokens: Iterable[Span]) -> dict[int, list[int]]:
    """Indices of the tokens that overlap each word; a word without tokens is left out.

    A token's leading space, as byte-level BPE counts it, overlaps no word, and an empty token overlaps nothing.
    Several tokens may share one character, and one token several words.
    """
    indices: dict[int, list[int]] = {}
    for index, (start, end) in enumerate(tokens):
        word = bisect_right(words, start, key=itemgetter(1))
        while start < end and word < len(words) and words[word][0] < end:
            indices.setdefault(word, []).append(index)
            word += 1
    return indices


def aggregate(rows: Sequence[Row], how: Aggregation) -> Row:
    """A word's scores from those of its tokens.

    The mean of logits and the mean of log-softmax differ by a constant that the next softmax removes.
    """
    if how == "first" or len(rows) == 1:
        return rows[0]
    if how == "max":
        return max(rows, key=lambda row: max(softmax(row)))
    return [sum(value / len(rows) for value in column) for column in zip(*rows, strict=True)]


def depth(word: Span, window: Span) -> int:
    """Characters from a word to the nearer border of a window; negative where the border cuts the word.

    The score that picks a window is "max context" of BERT's SQuAD code (Devlin et al. 2019,
    `_check_is_max_context` in run_squad.py).
    """
    return min(word[0] - window[0], window[1] - word[1])


def merge(words: Sequence[Span], windows: Iterable[tuple[Span, dict[int, Row]]]) -> dict[int, Row]:
    """Each word's scores from the window in which it is deepest, among those that read it."""
    best: dict[int, tuple[int, Row]] = {}
    for window, scores in windows:
        for word, row in scores.items():
            here = depth(words[word], window)
            if word not in best or here > best[word][0]:
                best[word] = (here, row)
    return {word: row for word, (_, row) in best.items()}


@dataclass(frozen=True)
class Tag:
    """A word's place in an entity, from a model's label. `type` is empty outside of entities."""

    place: Literal["begin", "inside", "end", "single", "outside"]
    type: str = ""


OUTSIDE = Tag("outside")

_PLACES: dict[str, Literal["begin", "inside", "end", "single"]] = {
    "B": "begin",
    "I": "inside",
    "E": "end",
    "L": "end",
    "S": "single",
    "U": "single",
}


def parse_tag(label: str) -> Tag:
    """Read a label of the schemes IOB, IOBES, BILOU, or IO where the bare type stands for inside."""
    if label in {"O", "o", ""}:
        return OUTSIDE
    if len(label) > 2 and label[0] in _PLACES and label[1] in "-_":
        return Tag(_PLACES[label[0]], label[2:])
    return Tag("inside", label)


def iob2(types: Sequence[str]) -> tuple[str, ...]:
    """The labels of a head for entity types: O, then B- and I- of each."""
    return ("O", *(f"{place}-{name}" for name in types for place in "BI"))


@dataclass(frozen=True)
class Group:
    """Neighbouring words `first`..`last` that form one entity."""

    type: str
    first: int
    last: int


def decode(tags: Sequence[Tag]) -> list[Group]:
    """The entities of a sequence of tags, one tag a word.

    Faults are repaired as in conlleval: inside or end without an open entity of its type starts one.
    """
    groups: list[Group] = []
    opened = False
    for i, tag in enumerate(tags):
        continues = opened and tag.place in {"inside", "end"} and groups[-1].type == tag.type
        if continues:
            groups[-1] = Group(tag.type, groups[-1].first, i)
        elif tag.place != "outside":
            groups.append(Group(tag.type, i, i))
        opened = tag.place in {"begin", "inside"}
    return groups


_OPENED: dict[str, Literal["begin", "inside"]] = {"single": "begin", "end": "inside"}
_CONTINUED: dict[str, Literal["inside", "end"]] = {"begin": "inside", "single": "end"}


def join_tokens(best: Sequence[Tag], tokens: Sequence[Hashable | None]) -> list[Tag]:
    """The words' tags where one token is several words and has one tag for all: 北京 begins one entity, not two.

    Args:
        best: one tag a word.
        tokens: which token each word has its tag from; None for a word that has none.
    """
    joined = list(best)
    for i in range(1, len(joined)):
        if tokens[i] is not None and tokens[i] == tokens[i - 1]:
            before, tag = joined[i - 1], joined[i]
            joined[i - 1] = Tag(_OPENED.get(before.place, before.place), before.type)
            joined[i] = Tag(_CONTINUED.get(tag.place, tag.place), tag.type)
    return joined


def join_compounds(
    compounds: Iterable[range],
    best: Sequence[Tag],
    rows: Mapping[int, Row],
    tags: Sequence[Tag],
    *,
    only_letters: bool = False,
) -> list[Tag]:
    """The words' tags with one entity for each compound that is in entities from end to end, its hyphens too.

    Its type is the likeliest one over all its words. "Israel-Hamas" keeps two entities if its hyphen is in none.

    Args:
        compounds: from the function of this name, or `abbreviations`.
        best: one tag a word.
        rows: the words' scores; one a tag.
        tags: the model's.
        only_letters: whether each second word, an abbreviation's period, may be in no entity.
    """
    joined = list(best)
    for run in compounds:
        if all(best[i].type for i in run[:: 1 + only_letters]) and all(i in rows for i in run):
            chances = {tag.type: sum(type_probability(rows[i], tags, tag.type) for i in run) for tag in tags}
            likeliest = max(filter(None, chances), key=chances.__getitem__)
            opens = best[run.start].place in {"begin", "single"}
            joined[run.start : run.stop] = [Tag("inside", likeliest)] * len(run)
            joined[run.start] = Tag("begin" if opens else "inside", likeliest)
    return joined


def type_probability(row: Row, tags: Sequence[Tag], wanted: str) -> float:
    """The probability of an entity type in one word: that of all its tags together."""
    return min(1.0, sum(p for p, tag in zip(softmax(row), tags, strict=True) if tag.type == wanted))
