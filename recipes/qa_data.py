"""The training rows and the held-out rows of the shipped `qa` adapter.

python recipes/qa_data.py SETS train.jsonl validation.jsonl

SETS is a folder with one folder for each set of `MOST`, for `boolq` and `dolly`, which has `train.jsonl` or
`train.jsonl.gz`, and for `selqa_rerank`, which has `validation.jsonl`. Half of the questions have no answer in their
context: those that people wrote to mislead (SQuAD 2.0), those about another part of an article (SelQA), those of yes
or no (BoolQ, Dolly), and those that are made of answered ones. The held-out rows choose the checkpoint, the
temperature and the null threshold, so they are of the same kinds, on other contexts. The rows that a first round of
training leaves are written to `train_second.jsonl`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from unanswerable_questions import Exchange, has_answer, turned

Row = dict[str, Any]

MOST = {
    "squad_v2.0_train_sample": 2600,
    "squad_v1.1_train_sample": 1000,
    "squadshifts_new_wiki": 550,
    "squadshifts_amazon_reviews": 220,
    "squadshifts_reddit": 220,
    "fairytaleqa_extractive": 120,
    "qamr": 120,
    "dolly_extractive": 120,
}
"""Most questions with an answer of each set that are drawn; of them some are held out and others turned round."""

MADE = {"moved": 550, "without": 550, "exchanged": 950, "turned": 750}
"""Most questions that are made of drawn ones: asked of the most similar other passage, asked of their passage without
the sentence of the answer, with a name or number of another sentence in place of theirs, turned into the opposite."""

COUNTED = 320
"""Most questions after a number or a time that the context does not state."""

YES_OR_NO = 450
"""Most questions of yes or no."""

TRAINED = {
    "squad_v2.0_train_sample": 1700, "squad_v1.1_train_sample": 350, "squadshifts_new_wiki": 150,
    "squadshifts_amazon_reviews": 60, "squadshifts_reddit": 60, "fairytaleqa_extractive": 40, "qamr": 30,
    "dolly_extractive": 60, "exchanged": 700, "turned": 330, "article": 320, "moved": 260, "without": 220,
    "yes_or_no": 220, "counted": 90,
}  # fmt: skip
"""Most questions of each set or kind that are trained on: what one core reads in an hour. Most of them are new to the
adapter that is trained further, or wrong."""

TRAINED_LONGEST = 950
"""Most characters of a context that is trained on: the adapter that is trained further has read longer ones."""

WRITTEN = 3
"""How often each question without an answer that people wrote is trained on in an epoch; there are few."""

PER_CONTEXT = 4
"""Most questions with an answer of one context."""

HELD_OUT = 0.07
"""Share of the contexts that are held out."""

HELD_OUT_WRITTEN = 0.35
"""Share that is held out of the contexts with questions that people wrote to mislead."""

LONGEST = 1300
"""Most characters of a context."""

LEAST = 120
"""Fewest characters of a context that a sentence was taken out of."""

_SENTENCE = re.compile(r"(?<=[.!?])[\"”’)]*\s+(?=[A-Z\"“(])")
_NUMERAL = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|hundred|thousand|million|several|"
    r"couple|pair|both|once|twice|first|second|third|single)\b",
    re.IGNORECASE,
)
_NOUNS = re.compile(
    r"^(?:What|Which) (?:kinds? of |types? of )?(?!do|did|does|are|were|have|has|had|was|is|two)"
    r"((?:[a-z]+ )?(?!does|has|was|this)[a-z]{3,}s) (?=did|do|were|are|have)"
)
_YES = re.compile(r"^(?:yes|no)\b", re.IGNORECASE)
_PLACE = re.compile(r"^(?:Where (?=did|was|is|does|were)|Who (?=did))")
_TIME = re.compile(
    r"\d|\b(?:January|February|March|April|May|June|July|August|September|October|November|December|Monday|Tuesday|"
    r"Wednesday|Thursday|Friday|Saturday|Sunday|today|yesterday|century|year|month|week|day|when|after|before|during)",
    re.IGNORECASE,
)


def read(folder: Path, name: str = "train") -> list[Row]:
    """The rows of a set."""
    path = folder / f"{name}.jsonl"
    table = path.read_bytes() if path.exists() else gzip.decompress(Path(f"{path}.gz").read_bytes())
    rows = map(json.loads, table.splitlines())
    return [row for row in rows if len(row.get("context") or row.get("passage") or "") <= LONGEST]


def texts(row: Row) -> list[str]:
    """The right answers."""
    return list(row["answers"]["text"])


def unanswered(row: Row, kind: str, *, question: str = "", context: str = "") -> Row:
    """A row without an answer, of another row."""
    return {
        "id": f"{row['id']}-{kind}",
        "kind": kind,
        "title": row.get("title", ""),
        "context": context or row["context"],
        "question": question or row["question"],
        "answers": {"text": [], "answer_start": []},
    }


def holds(context: str, row: Row) -> bool:
    """Whether a context has one of the row's answers."""
    return any(text.casefold() in context.casefold() for text in texts(row))


def without(row: Row) -> str | None:
    """The context without the sentences that hold the answer."""
    sentences = _SENTENCE.split(row["context"])
    rest = " ".join(sentence for sentence in sentences if not holds(sentence, row))
    return rest if len(rest) >= LEAST and len(rest) < len(row["context"]) and not holds(rest, row) else None


def exchanged(row: Row, chance: random.Random) -> str | None:
    """The question with a name or number of its context exchanged for one of another sentence, without the answer."""
    sentences = _SENTENCE.split(row["context"])
    apart = " ".join(sentence for sentence in sentences if holds(sentence, row))
    others = " ".join(sentence for sentence in sentences if not holds(sentence, row))
    return Exchange([{"context": others}])(row["question"], row["context"], chance, apart)


def counted(row: Row) -> str | None:
    """A question after a number or a time that the context does not state, of one after things or a place."""
    things = _NOUNS.search(row["question"])
    if things and not _NUMERAL.search(row["context"]):
        return f"How many {things[1]} {row['question'][things.end() :]}"
    if _PLACE.search(row["question"]) and not _TIME.search(row["context"]):
        return _PLACE.sub("When ", row["question"])
    return None


def most_similar(rows: Sequence[Row], embed: Callable[[list[str]], Any], count: int) -> Iterator[tuple[Row, str]]:
    """Some rows, each with the passage of its file whose vector is most like the question's and has no answer."""
    contexts = list(dict.fromkeys(row["context"] for row in rows))
    passages = embed(contexts)
    rows = rows[:count]
    for row, near in zip(rows, embed([row["question"] for row in rows]) @ passages.T, strict=True):
        for index in (-near).argsort()[:12]:
            if contexts[index] != row["context"] and not holds(contexts[index], row):
                yield row, contexts[index]
                break


def embedder() -> Callable[[list[str]], Any]:
    """Vectors of texts, of length 1, by the base."""
    import numpy as np

    from nlptasks import Engine

    engine = Engine()
    return lambda batch: np.asarray([result.vector for result in engine.run("embedding", batch)], dtype=np.float32)


def made(
    rows: Sequence[Row], most: dict[str, int], embed: Callable[[list[str]], Any], chance: random.Random
) -> list[Row]:
    """Questions without an answer, of `rows` that have one: at most so many of each kind."""
    order = chance.sample(rows, len(rows))
    new: list[Row] = []
    taken: Counter[str] = Counter()

    def take(kind: str, row: Row, **changes: str | None) -> None:
        if taken[kind] < most[kind] and all(changes.values()):
            taken[kind] += 1
            new.append(unanswered(row, kind, **changes))

    files: dict[str, list[Row]] = defaultdict(list)
    for row in order:
        files[row["set"]].append(row)
    for number, row in enumerate(order):
        if number % 4 == 0:
            take("without", row, context=without(row))
        elif number % 4 == 1:
            take("turned", row, question=turned(row["question"], row["context"], chance))
        else:
            take("exchanged", row, question=exchanged(row, chance))
    for members in files.values():
        count = round(most["moved"] * len(members) / len(rows))
        for row, context in most_similar(members, embed, count):
            take("moved", row, context=context)
    return new


def answered(sets: Path, chance: random.Random) -> tuple[list[Row], list[Row]]:
    """Questions with an answer, and those that people wrote without one."""
    rows: list[Row] = []
    written: list[Row] = []
    for name, most in MOST.items():
        per_context: Counter[str] = Counter()
        all_rows = read(sets / name)
        chosen = 0
        for row in chance.sample(all_rows, len(all_rows)):
            row = {**row, "set": name, "kind": "answered"}
            if not has_answer(row):
                written.append({**row, "kind": "written"})
            elif per_context[row["context"]] < PER_CONTEXT and chosen < most:
                per_context[row["context"]] += 1
                chosen += 1
                rows.append(row)
        print(f"{name}: {chosen} of {len(all_rows)}")
    return rows, written


def about_articles(sets: Path, chance: random.Random) -> list[Row]:
    """SelQA's questions, beside the sentences of a part of the article that do not answer them."""
    rows = []
    for number, row in enumerate(read(sets / "selqa_rerank", "validation")):
        others = [candidate["text"] for candidate in row["candidates"] if not candidate["label"]]
        start = chance.randrange(max(1, len(others) - 6))
        context = " ".join(others[start : start + 8])
        if len(context) >= LEAST:
            rows.append(unanswered({"id": f"selqa-{number}"}, "article", question=row["query"], context=context))
    return rows


def yes_or_no(sets: Path, chance: random.Random) -> list[Row]:
    """Questions of yes or no, beside their passages."""
    rows = [
        unanswered({"id": f"boolq-{number}"}, "yes_or_no", question=row["question"], context=row["passage"])
        for number, row in enumerate(read(sets / "boolq"))
    ]
    # As people write them: a capital at the start and a question mark at the end, of every other one.
    for row in rows[::2]:
        row["question"] = row["question"][0].upper() + row["question"][1:] + "?"
    rows += [
        unanswered({"id": f"dolly-{number}"}, "yes_or_no", question=row["instruction"], context=row["context"])
        for number, row in enumerate(read(sets / "dolly"))
        if row["context"] and _YES.match(row["response"])
    ]
    return chance.sample(rows, YES_OR_NO)


def numbers(sets: Path, chance: random.Random) -> list[Row]:
    """Questions after a number or a time that the context does not state, at most one of a context."""
    rows = [row for name in MOST for row in read(sets / name) if has_answer(row)]
    chosen = {}
    for row in chance.sample(rows, len(rows)):
        if row["context"] not in chosen and (question := counted(row)):
            chosen[row["context"]] = unanswered(row, "counted", question=question)
    return list(chosen.values())[:COUNTED]


def rounds(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of the first round of training, and the others."""
    taken: Counter[str] = Counter()
    first: list[Row] = []
    second: list[Row] = []
    for row in rows:
        kind = row["set"] if row["kind"] == "answered" else row["kind"]
        if len(row["context"]) <= TRAINED_LONGEST and taken[kind] < TRAINED.get(kind, len(rows)):
            taken[kind] += 1
            first.append(row)
        else:
            second.append(row)
    return first, second


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write a file, and say what is in it."""
    with path.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{path}: {len(rows)} rows, {dict(Counter(row['kind'] for row in rows))}")


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--seed", type=int, default=13)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    rows, written = answered(arguments.sets, chance)
    others = [*about_articles(arguments.sets, chance), *yes_or_no(arguments.sets, chance)]
    # Questions on one context stand on one side.
    misleading = {row["context"] for row in written}
    held = {
        context
        for context in dict.fromkeys(row["context"] for row in [*rows, *written, *others])
        if chance.random() < (HELD_OUT_WRITTEN if context in misleading else HELD_OUT)
    }
    embed = embedder()
    counts, again = numbers(arguments.sets, random.Random(arguments.seed)), random.Random(arguments.seed)
    known = {row["context"] for row in [*rows, *written, *others]}
    held |= {row["context"] for row in counts if row["context"] not in known and again.random() < HELD_OUT}
    others += counts
    for path, wanted in ((arguments.train, False), (arguments.validation, True)):
        side = [[row for row in part if (row["context"] in held) == wanted] for part in (rows, written, others)]
        share = len(side[0]) / len(rows)
        most = {kind: round(count * share) for kind, count in MADE.items()}
        new = made(side[0], most, embed, chance)
        times = 1 if wanted else WRITTEN
        table = [*side[0], *side[1] * times, *side[2], *new]
        chance.shuffle(table)
        if wanted:
            write(path, table)
        else:
            first, second = rounds(table)
            write(path, first)
            write(path.with_stem(f"{path.stem}_second"), second)


if __name__ == "__main__":
    main()
