"""Labels named at call time: macro-F1 of `classify` on sets that it never saw, order of labels, throughput.

    python benchmarks/zero_shot.py DATA [--rows 1000] [--prompted 150] [--sets ag_news,trec]
        [--parts f1,pairs,order,speed] [--adapter FOLDER]

DATA is a folder of public data sets as rows of JSON (`{"text", "label_text"}`): classification/NAME/test.jsonl[.gz]
and so on. All methods read the same rows and the same label texts, which stand below: `classify` with its adapter,
the cosine of the bare base's vectors (`adapter="none"`) and the likelihoods of `smollm2` (on `--prompted` rows, 0 for
none).
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from common import in_turns, print_times, ratio

from nlptasks import Engine


@dataclass(frozen=True)
class Set:
    """A data set: descriptions of its labels by their names, and what the labels answer."""

    file: str
    labels: Mapping[str, str]
    instructions: str = ""
    column: str = "label_text"
    renamed: Mapping[str, str] = field(default_factory=dict)


SETS = {
    "ag_news": Set(
        "classification/ag_news/test.jsonl.gz",
        {
            "world": "international news, politics, war and diplomacy",
            "sports": "games, teams, players and championships",
            "business": "companies, markets, money and the economy",
            "science and technology": "computers, software, the internet, research and space",
        },
        "What is this news about?",
        renamed={"World": "world", "Sports": "sports", "Business": "business", "Sci/Tech": "science and technology"},
    ),
    "trec": Set(
        "classification/trec/test.jsonl",
        {
            "abbreviation": "what an abbreviation stands for, or the short form of a name",
            "description": "a definition, a reason, an explanation or a way to do something",
            "entity": "a thing: an animal, a food, a product, a color, a word, an event",
            "human": "a person or a group of people: who",
            "location": "a place: a city, a country, a mountain, where something is",
            "number": "a count, a date, a price, a distance or another amount: how many, how much, when",
        },
        "What does this question ask for?",
        column="coarse_text",
    ),
    "emotion": Set(
        "classification/emotion/test.jsonl",
        {
            "sadness": "feeling sad, hurt, lonely or hopeless",
            "joy": "feeling happy, glad, content or proud",
            "love": "feeling loving, tender, caring or longing",
            "anger": "feeling angry, annoyed, bitter or resentful",
            "fear": "feeling afraid, anxious, nervous or insecure",
            "surprise": "feeling surprised, amazed, shocked or curious",
        },
        "What does the writer feel?",
    ),
    "newsgroups20": Set(
        "classification/newsgroups20/test.jsonl.gz",
        {
            "atheism": "not believing in god, arguments against religion",
            "computer graphics": "images, 3D, rendering and graphics files",
            "Microsoft Windows": "the operating system, its drivers and programs",
            "IBM PC hardware": "drives, controllers, cards and monitors of PCs",
            "Mac hardware": "Apple Macintosh computers and their parts",
            "X Window System": "X11, window managers, Motif and Unix displays",
            "items for sale": "used things offered for sale, with prices and shipping",
            "cars": "automobiles, engines, dealers and driving",
            "motorcycles": "bikes, riding and helmets",
            "baseball": "teams, pitchers, hitters and games",
            "hockey": "the NHL, teams, goals and playoffs",
            "cryptography": "encryption, keys, the Clipper chip and privacy",
            "electronics": "circuits, components, voltage and signals",
            "medicine": "diseases, doctors, treatments and food",
            "space": "NASA, rockets, satellites and the moon",
            "Christianity": "Jesus, the Bible, the church and faith",
            "gun politics": "firearms, weapons laws and self-defense",
            "Middle East politics": "Israel, Arabs, Turkey and Armenia",
            "politics": "government, taxes, drugs and civil rights",
            "religion": "beliefs, morals, sects and scripture",
        },
        "Which newsgroup was this posted in?",
    ),
    "tweet_eval_emotion": Set(
        "classification/tweet_eval_emotion/test.jsonl",
        {
            "anger": "angry, outraged, offended or irritated",
            "joy": "happy, delighted, amused or excited",
            "optimism": "hopeful, confident, encouraging about what is to come",
            "sadness": "sad, depressed, disappointed or grieving",
        },
        "What does the writer feel?",
    ),
    "tweet_eval_sentiment": Set(
        "sentiment/tweet_eval_sentiment/test.jsonl.gz",
        {
            "negative": "bad, disappointed, critical, unhappy",
            "neutral": "neither good nor bad, a plain fact",
            "positive": "good, pleased, praising, happy",
        },
        "What is the sentiment of this message?",
    ),
    "hate_offensive": Set(
        "classification/hate_offensive/test.jsonl",
        {
            "hate speech": "hatred of a group of people for their race, religion, gender or sexuality",
            "offensive language": "rude, vulgar or insulting words",
            "neither": "no insult and no hatred, harmless",
        },
        "Is this message hateful or offensive?",
    ),
    "stock_tweets": Set(
        "classification/stock_tweets/test.jsonl",
        {
            "negative": "the stock is going down, bearish, sell",
            "positive": "the stock is going up, bullish, buy",
        },
        "What does the writer think of the stock?",
    ),
    "enron_spam": Set(
        "classification/enron_spam/test.jsonl",
        {
            "not spam": "a business or private message between people who work together",
            "spam": "unwanted advertising, a scam, an offer of pills, software, money or sex",
        },
        "Is this e-mail spam?",
    ),
    "sst5": Set(
        "classification/sst5/test.jsonl",
        {
            "very negative": "terrible, awful, a waste of time",
            "negative": "bad, weak, disappointing",
            "neutral": "mixed, average, neither good nor bad",
            "positive": "good, enjoyable, well made",
            "very positive": "excellent, wonderful, a masterpiece",
        },
        "What does the reviewer think of the film?",
    ),
}


def read(file: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file, packed or not."""
    file = file if file.exists() else file.with_name(file.name.removesuffix(".gz"))
    text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [json.loads(line) for line in text.decode("utf-8").split("\n") if line]


def rows_of(data: Path, chosen: Set, count: int) -> tuple[list[str], list[str]]:
    """Texts and their labels: a sample, the same for all methods."""
    rows = read(data / chosen.file)
    rows = random.Random(13).sample(rows, min(count, len(rows)))
    labels = [str(row[chosen.column]) for row in rows]
    return [row["text"] for row in rows], [chosen.renamed.get(label, label) for label in labels]


def options_of(chosen: Set) -> dict[str, Any]:
    """The options of the call."""
    return {"labels": dict(chosen.labels), **({"instructions": chosen.instructions} if chosen.instructions else {})}


def ece(results: Sequence[Any], right: Sequence[str], bins: int = 15) -> float:
    """Expected calibration error: mean distance of score and accuracy in bins of equal width (Guo et al. 2017)."""
    scores = np.array([result.score for result in results])
    hits = np.array([result.scores[0].label == label for result, label in zip(results, right, strict=True)])
    places = np.minimum((scores * bins).astype(int), bins - 1)
    parts = [places == place for place in range(bins) if (places == place).any()]
    return float(sum(abs(scores[part].mean() - hits[part].mean()) * part.mean() for part in parts))


def measure(engine: Engine, data: Path, names: Sequence[str], count: int, prompted: int, adapter: str | None) -> None:
    """Print macro-F1 of each method on each set."""
    from sklearn.metrics import f1_score

    methods: dict[str, tuple[int, dict[str, Any]]] = {
        "classify": (count, {"adapter": adapter}),
        "cosine": (count, {"adapter": "none"}),
        "smollm2": (prompted, {"adapter": "none", "model": "smollm2"}),
    }
    scores: dict[str, list[float]] = defaultdict(list)
    errors = []
    print(f"{'macro-F1':22}" + "".join(f"{name:>10}" for name in methods) + f"{'ECE':>8}")
    for name in names:
        chosen = SETS[name]
        line = f"{name:22}"
        for method, (rows, where) in methods.items():
            if not rows or (method == "classify" and adapter == "none"):
                line += f"{'':>10}"
                continue
            texts, right = rows_of(data, chosen, rows)
            results = engine.run("classify", texts, **options_of(chosen), **where)
            answers = [result.scores[0].label for result in results]
            value = f1_score(right, answers, labels=[*chosen.labels], average="macro", zero_division=0)
            scores[method].append(value)
            line += f"{value:10.3f}"
            if method == "classify":
                errors.append(ece(results, right))
        print(line + (f"{errors[-1]:8.3f}" if errors else ""), flush=True)
    line = f"{'mean':22}" + "".join(f"{statistics.mean(scores[m]) if scores[m] else 0:10.3f}" for m in methods)
    print(line + (f"{statistics.mean(errors):8.3f}" if errors else ""), flush=True)


def measure_pairs(engine: Engine, data: Path, count: int, adapter: str | None) -> None:
    """Print the accuracies on hypotheses and on described options, where every text has labels of its own."""
    by_premise: dict[str, dict[str, str]] = defaultdict(dict)
    for row in read(data / "nli/xnli_en/test.jsonl"):
        by_premise[row["premise"]][row["label"]] = row["hypothesis"]
    trios = [(text, each) for text, each in by_premise.items() if len({h.casefold() for h in each.values()}) == 3]
    decisions = read(data / "decisions/decidebench_sample/test.jsonl")
    for method, where in (("classify", {"adapter": adapter}), ("cosine", {"adapter": "none"})):
        if method == "classify" and adapter == "none":
            continue
        hits = []
        for text, each in trios[: count // 2]:
            labels = {str(place): hypothesis for place, hypothesis in enumerate(sorted(each.values()))}
            result = engine.run("classify", text, labels=list(labels.values()), **where)
            hits.append(result.label == " ".join(each["entailment"].split()))
        answers = []
        for row in decisions:
            labels = {option["key"]: option["description"] or option["key"] for option in row["options"]}
            result = engine.run("classify", row["state"], labels=labels, instructions=row["question"][:500], **where)
            answers.append(result.label == row["answer"])
        print(f"{method:10} xnli_en, entailed of 3 hypotheses: {statistics.mean(hits):.3f} of {len(hits)} premises")
        print(f"{method:10} decidebench_sample, accuracy: {statistics.mean(answers):.3f} of {len(answers)}", flush=True)


def measure_order(data: Path, adapter: str | None) -> None:
    """Print the largest difference of a probability over 100 random orders of the labels."""
    for dtype in ("float32", "bfloat16"):
        largest = 0.0
        with Engine(dtype=dtype) as engine:
            texts, _ = rows_of(data, SETS["emotion"], 3)
            for name in ("newsgroups20", "emotion"):
                chance, first = random.Random(0), None
                for _ in range(100):
                    options = options_of(SETS[name])
                    options["labels"] = dict(chance.sample([*options["labels"].items()], len(options["labels"])))
                    results = engine.run("classify", texts, **options, adapter=adapter)
                    scores = [{score.label: score.score for score in result.scores} for result in results]
                    first = first or scores
                    largest = max(largest, *(abs(a[n] - b[n]) for a, b in zip(first, scores, strict=True) for n in a))
        print(f"order of labels, {dtype}: largest difference of a probability {largest:.1e}", flush=True)


def measure_speed(engine: Engine, data: Path, adapter: str | None, count: int = 1000) -> None:
    """Print the time of texts with 10 labels beside that of a trained head."""
    rows = read(data / "classification/emotion/test.jsonl")[:count]
    texts = [row["text"] for row in rows]
    labels = dict([*SETS["newsgroups20"].labels.items()][:10])
    works = {
        "classify": lambda: engine.run("classify", texts, labels=labels, adapter=adapter),
        "sentiment": lambda: engine.run("sentiment", texts),
    }
    for work in works.values():
        work()
    times = in_turns(works, 3)
    print_times(times, len(texts))
    print(f"classify with 10 labels reads {ratio(times, 'sentiment', 'classify'):.2f} of the trained head's texts/s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--prompted", type=int, default=150)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--adapter", help="another adapter than the shipped one, or none")
    parser.add_argument("--parts", default="f1,pairs,order,speed")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    with Engine() as engine:
        if "f1" in parts:
            names = arguments.sets.split(",")
            measure(engine, arguments.data, names, arguments.rows, arguments.prompted, arguments.adapter)
        if "pairs" in parts:
            measure_pairs(engine, arguments.data, arguments.rows, arguments.adapter)
        if "speed" in parts:
            measure_speed(engine, arguments.data, arguments.adapter)
    if "order" in parts:
        measure_order(arguments.data, arguments.adapter)


if __name__ == "__main__":
    main()
