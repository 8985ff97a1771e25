"""Questions that their context does not answer, made from ones that it does.

Two ways, both known from SQuAD 2.0 (Rajpurkar et al. 2018, arXiv:1806.03822): the question is asked of another
passage of the same article, the one that shares most with it; or a name or number in it is exchanged for one of
another passage.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nlptasks.training.questions import QuestionRow

MOST_COMPARED = 40
"""Passages of an article that are compared with a question."""

_WORD = re.compile(r"\w+")
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][\w’'-]*(?: [A-Z][\w’'-]*)*")
_NUMBER = re.compile(r"\b\d+(?:[.,]\d+)*\b")


def with_unanswerable(rows: Sequence[QuestionRow], share: float, seed: int) -> list[QuestionRow]:
    """The rows, and as many made ones as it takes for `share` of all to have no answer.

    Rows that have none already count. Fewer are made where an article has no second passage and the question
    neither name nor number. The same for a seed.
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
        ways = [article.elsewhere, article.exchanged]
        found = ways[number % 2](row, chance) or ways[1 - number % 2](row, chance)
        if found:
            made.append(replace(found, id=f"{row.id}-unanswerable", answers=()))
    return [*rows, *made]


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
                    question = row.question[: match.start()] + other + row.question[match.end() :]
                    return replace(row, question=question)
        return None
