"""Questions that their context does not answer, made from ones that it does: each is asked of another passage.

People made some of SQuAD 2.0's in this way (Rajpurkar et al. 2018, arXiv:1806.03822, table 1). It knows no language;
`recipes/unanswerable_questions.py` has other ways, for English.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from nlptasks.data.questions import QuestionRow

MOST_COMPARED = 40
"""Passages of an article that are compared with a question."""


def with_unanswerable(rows: Sequence[QuestionRow], share: float, seed: int) -> list[QuestionRow]:
    """The rows, and as many made ones as it takes for `share` of all to have no answer.

    Rows that have none already count. Fewer are made where no other passage will do. The same for a seed.
    """
    answered = [row for row in rows if row.answers]
    wanted = round((share * len(rows) - (len(rows) - len(answered))) / (1 - share))
    if wanted <= 0:
        return list(rows)
    chance = random.Random(seed)
    articles = _articles(rows)
    made: list[QuestionRow] = []
    for row in chance.sample(answered, len(answered)):
        if len(made) == wanted:
            break
        article = articles.get((row.source, row.title)) or articles[row.source, ""]
        if context := article.other_passage(row, chance):
            made.append(replace(row, id=f"{row.id}-unanswerable", context=context, answers=()))
    return [*rows, *made]


def _articles(rows: Sequence[QuestionRow]) -> dict[tuple[str, str], _Article]:
    """The passages of each title with more than one of them, and of each file."""
    contexts: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for row in rows:
        contexts[row.source, row.title][row.context] = None
        contexts[row.source, ""][row.context] = None
    return {key: _Article(list(passages)) for key, passages in contexts.items() if len(passages) > 1 or not key[1]}


class _Article:
    """Passages that stand together."""

    def __init__(self, passages: list[str]) -> None:
        self._passages = passages
        self._words = [_words(passage) for passage in passages]
        counts = Counter(word for words in self._words for word in words)
        self._weight = {word: math.log(len(passages) / count) for word, count in counts.items()}

    def other_passage(self, row: QuestionRow, chance: random.Random) -> str | None:
        """The passage that shares most with the question, of those that hold none of its answers."""
        question = _words(row.question)
        answers = [text.casefold() for text, _ in row.answers]
        best: tuple[float, str] | None = None
        for index in chance.sample(range(len(self._passages)), min(MOST_COMPARED, len(self._passages))):
            passage = self._passages[index]
            if passage == row.context or any(answer in passage.casefold() for answer in answers):
                continue
            score = sum(self._weight[word] for word in question & self._words[index])
            if best is None or score > best[0]:
                best = (score, passage)
        return best[1] if best else None


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
