"""English questions that their context does not answer, made from ones that it does.

python recipes/unanswerable_questions.py train.jsonl more.jsonl

Each row of train.jsonl has `question`, `context`, and `answers` or `answer`. more.jsonl has these rows, and behind them
made ones without an answer. A made question is one of the rows' with a name or a number of another context in place of
its own, with a word turned into its opposite, or negated, as people made those of SQuAD 2.0 (Rajpurkar et al. 2018,
arXiv:1806.03822, table 1). Training itself asks questions of other passages until a third of all have no answer; by
default two thirds of these are made here, as for the shipped `qa` adapter.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

NEGATED = 0.25
"""Share of the questions without an antonym that are negated: SQuAD 2.0 has twice as many antonyms as negations, and
a model that sees only such negations takes every "not" for a question without an answer."""

MOST_COMPARED = 40
"""Names or numbers of other contexts that are tried for one question."""

_WORD = re.compile(r"\w+")
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][\w’'-]*(?: [A-Z][\w’'-]*)*")
_NUMBER = re.compile(r"\b\d+(?:[.,]\d+)*\b")
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


def opposites(pairs: str) -> dict[str, list[str]]:
    """Every word of the pairs with those that it may be turned into."""
    words: dict[str, list[str]] = defaultdict(list)
    for one, other in map(str.split, pairs.split(",")):
        words[one].append(other)
        words[other].append(one)
    return dict(words)


OPPOSITES = opposites(_PAIRS)


def turned(question: str, context: str, chance: random.Random) -> str | None:
    """The question with a word turned into an opposite that its context does not hold, or else, sometimes, negated."""
    words = set(_WORD.findall(context.casefold()))
    turns = [
        (match, opposite)
        for match in _MEANT.finditer(question)
        for opposite in OPPOSITES.get(match[0], ())
        if opposite not in words
    ]
    if turns:
        return with_word(question, *chance.choice(turns))
    auxiliary = _AUXILIARY.search(question)
    if not auxiliary or auxiliary[0] not in _NEGATIVES or _NEGATION.search(question):
        return None
    return with_word(question, auxiliary, _NEGATIVES[auxiliary[0]]) if chance.random() < NEGATED else None


def with_word(question: str, place: re.Match[str], word: str) -> str:
    """The question with another word at a place of it."""
    return f"{question[: place.start()]}{word}{question[place.end() :]}"


class Exchange:
    """The names and numbers of all contexts, to be put into the questions of others."""

    def __init__(self, rows: Sequence[Row]) -> None:
        contexts = {row["context"] for row in rows}
        self._pools = {
            pattern: sorted({text for context in contexts for text in pattern.findall(context)})
            for pattern in (_NAME, _NUMBER)
        }

    def __call__(self, question: str, context: str, chance: random.Random, apart: str | None = None) -> str | None:
        """The question with a name or number of its context exchanged for a like one that the context does not hold.

        `apart` is the text that must not hold it instead of the context: the sentences with the answer.
        """
        apart = context if apart is None else apart
        places = [
            (match, pattern) for pattern in self._pools for match in pattern.finditer(question) if match[0] in context
        ]
        chance.shuffle(places)
        for match, pattern in places:
            # A year is exchanged for a year; names of any length are alike.
            like = [text for text in self._pools[pattern] if pattern is _NAME or len(text) == len(match[0])]
            for other in chance.sample(like, min(MOST_COMPARED, len(like))):
                if other not in apart and other not in question:
                    return with_word(question, match, other)
        return None


def has_answer(row: Row) -> bool:
    """Whether the row's context answers its question; `answers` are SQuAD's, a list of such, or texts."""
    answers = row.get("answers") or row.get("answer")
    return bool(answers.get("text") if isinstance(answers, dict) else answers)


def made(rows: Sequence[Row], share: float, seed: int) -> list[Row]:
    """As many rows without an answer as it takes for `share` of all to have none; the two ways take turns.

    Fewer are made where a question has nothing to exchange or to turn. The same for a seed.
    """
    answered = [row for row in rows if has_answer(row)]
    wanted = round((share * len(rows) - (len(rows) - len(answered))) / (1 - share))
    chance = random.Random(seed)
    exchange = Exchange(rows)
    new: list[Row] = []
    for number, row in enumerate(chance.sample(answered, len(answered))):
        if len(new) >= wanted:
            break
        ways = (exchange, turned) if number % 2 else (turned, exchange)
        question = next(filter(None, (way(row["question"], row["context"], chance) for way in ways)), None)
        if question:
            fields = {name: row[name] for name in row if name not in ("answer", "answer_start", "is_impossible")}
            named = {"id": f"{row['id']}-unanswerable"} if "id" in row else {}
            new.append({**fields, **named, "question": question, "answers": {"text": [], "answer_start": []}})
    return new


def main() -> None:
    """Read the rows, write them with the made ones behind them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=2 / 9, help="of all rows, those that have no answer")
    parser.add_argument("--seed", type=int, default=13)
    arguments = parser.parse_args()
    with arguments.rows.open(encoding="utf-8") as lines:
        rows: list[Row] = [json.loads(line) for line in lines if line.strip()]
    new = made(rows, arguments.share, arguments.seed)
    with arguments.out.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in [*rows, *new])
    print(f"{len(rows)} rows, and {len(new)} made ones without an answer")


if __name__ == "__main__":
    main()
