"""Questions that their context does not answer, made from ones that it does.

Three ways, of the kinds that people used in SQuAD 2.0 (Rajpurkar et al. 2018, arXiv:1806.03822, table 1): the question
is asked of another passage of the same article, the one that shares most with it; a name or number in it is exchanged
for one of another passage; or it is turned round, by an antonym or a negation.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nlptasks.data.questions import QuestionRow

MOST_COMPARED = 40
"""Passages of an article that are compared with a question."""

_WORD = re.compile(r"\w+")
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][\w’'-]*(?: [A-Z][\w’'-]*)*")
_NUMBER = re.compile(r"\b\d+(?:[.,]\d+)*\b")

NEGATED = 0.25
"""Share of the questions without an antonym that are negated: SQuAD 2.0 has twice as many antonyms as negations, and
a model that sees only such negations takes every "not" for a question without an answer."""

_MEANT = re.compile(r"(?<![Hh]ow )\b\w+")
"""The words that mean what they say: "How old is it?" asks the same as "How new is it?"."""

_PAIRS = """
first last, largest smallest, biggest smallest, most least, more fewer, before after, oldest youngest, highest lowest,
longest shortest, earliest latest, best worst, strongest weakest, richest poorest, increase decrease, begin end,
increased decreased, began ended, start stop, started stopped, open close, opened closed, north south, east west,
northern southern, eastern western, early late, major minor, win lose, won lost, allowed forbidden, accept reject,
accepted rejected, always never, male female, large small, big little, long short, high low, old new, buy sell,
bought sold, support oppose, supported opposed, love hate, liked disliked, above below, inside outside, public private,
success failure, friend enemy, same different, positive negative, strong weak, rich poor, arrive depart,
arrived departed, majority minority, maximum minimum, good bad, easy difficult, rise fall, rose fell, import export,
join leave, joined left, gained lost, upper lower, inner outer, common rare, famous unknown, modern ancient, hot cold,
warm cool, light dark, fast slow, full empty, safe dangerous, legal illegal, possible impossible,
important unimportant, successful unsuccessful, happy sad, remember forget, remembered forgot, found lost,
built destroyed, created destroyed, entered left, gave took, give take, teach learn, taught learned, urban rural,
husband wife, brother sister, father mother, son daughter, king queen, boy girl, man woman, men women
"""

_NEGATIVES = {
    **{word: f"{word}n't" for word in ("did", "does", "do", "is", "are", "was", "were", "has", "have", "had")},
    **{word: f"{word}n't" for word in ("would", "could", "should")},
    **{"can": "can't", "will": "won't"},
}
_AUXILIARY = re.compile(rf"\b(?:{'|'.join(_NEGATIVES)}|may|might|must|shall|to)\b")
"""The first of them is the question's own; "have" and "do" behind it are not negated."""

_NEGATION = re.compile(r"\b(?:no|not|never|none|nothing|nobody|nor|neither|cannot|without)\b|n[’']t\b", re.IGNORECASE)


def _opposites(pairs: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for one, other in map(str.split, pairs.split(",")):
        found[one].append(other)
        found[other].append(one)
    return dict(found)


_OPPOSITES = _opposites(_PAIRS)


def with_unanswerable(rows: Sequence[QuestionRow], share: float, seed: int) -> list[QuestionRow]:
    """The rows, and as many made ones as it takes for `share` of all to have no answer.

    Rows that have none already count. The ways take turns; where one cannot, the next does. Fewer are made where an
    article has no second passage and the question nothing to exchange or to turn. The same for a seed.
    """
    answered = [row for row in rows if row.answers]
    wanted = round((share * len(rows) - (len(rows) - len(answered))) / (1 - share))
    if wanted <= 0:
        return list(rows)
    chance = random.Random(seed)
    articles = _articles(rows)
    made: list[QuestionRow] = []
    for number, row in enumerate(chance.sample(answered, len(answered))):
        if len(made) == wanted:
            break
        article = articles[_article(row, articles)]
        ways = [article.elsewhere, article.exchanged, turned]
        first = number % len(ways)
        found = next(filter(None, (way(row, chance) for way in [*ways[first:], *ways[:first]])), None)
        if found:
            made.append(replace(found, id=f"{row.id}-unanswerable", answers=()))
    return [*rows, *made]


def turned(row: QuestionRow, chance: random.Random) -> QuestionRow | None:
    """The question with a word turned into an opposite that its passage does not hold, or else, sometimes, negated."""
    said = set(_WORD.findall(row.context.casefold()))
    turns = [
        (match, opposite)
        for match in _MEANT.finditer(row.question)
        for opposite in _OPPOSITES.get(match[0], ())
        if opposite not in said
    ]
    if turns:
        return _with_word(row, *chance.choice(turns))
    auxiliary = _AUXILIARY.search(row.question)
    if not auxiliary or auxiliary[0] not in _NEGATIVES or _NEGATION.search(row.question):
        return None
    return _with_word(row, auxiliary, _NEGATIVES[auxiliary[0]]) if chance.random() < NEGATED else None


def _with_word(row: QuestionRow, place: re.Match[str], word: str) -> QuestionRow:
    """The row with another word at a place of its question."""
    return replace(row, question=f"{row.question[: place.start()]}{word}{row.question[place.end() :]}")


def _articles(rows: Sequence[QuestionRow]) -> dict[tuple[str, str], _Article]:
    """The passages of each title with more than one of them, and of each file."""
    contexts: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for row in rows:
        contexts[row.source, row.title][row.context] = None
        contexts[row.source, ""][row.context] = None
    return {key: _Article(list(found)) for key, found in contexts.items() if len(found) > 1 or not key[1]}


def _article(row: QuestionRow, articles: dict[tuple[str, str], _Article]) -> tuple[str, str]:
    key = (row.source, row.title)
    return key if key in articles else (row.source, "")


@dataclass
class _Article:
    """The passages that stand together, and what words, names and numbers they have."""

    contexts: list[str]

    def __post_init__(self) -> None:
        self._words = [set(_WORD.findall(context.casefold())) for context in self.contexts]
        seen = Counter(word for words in self._words for word in words)
        self._weight = {word: math.log(len(self.contexts) / count) for word, count in seen.items()}
        self._pools = {
            pattern: sorted({found for context in self.contexts for found in pattern.findall(context)})
            for pattern in (_NAME, _NUMBER)
        }

    def elsewhere(self, row: QuestionRow, chance: random.Random) -> QuestionRow | None:
        """The question asked of the most similar other passage that holds none of its answers."""
        asked = set(_WORD.findall(row.question.casefold()))
        answers = [text.casefold() for text, _ in row.answers]
        best: tuple[float, str] | None = None
        for index in chance.sample(range(len(self.contexts)), min(MOST_COMPARED, len(self.contexts))):
            context = self.contexts[index]
            if context == row.context or any(answer in context.casefold() for answer in answers):
                continue
            score = sum(self._weight[word] for word in asked & self._words[index])
            if best is None or score > best[0]:
                best = (score, context)
        return replace(row, context=best[1]) if best else None

    def exchanged(self, row: QuestionRow, chance: random.Random) -> QuestionRow | None:
        """The question with one of its names or numbers exchanged for a like one that its passage does not hold."""
        places = [
            (match, pattern)
            for pattern in self._pools
            for match in pattern.finditer(row.question)
            if match[0] in row.context
        ]
        chance.shuffle(places)
        for match, pattern in places:
            others = self._pools[pattern]
            # A year is exchanged for a year; names of any length are alike.
            like = [text for text in others if pattern is _NAME or len(text) == len(match[0])]
            for other in chance.sample(like, min(MOST_COMPARED, len(like))):
                if other not in row.context and other not in row.question:
                    return _with_word(row, match, other)
        return None
