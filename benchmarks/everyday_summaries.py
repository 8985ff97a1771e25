"""Summaries of 40 everyday texts by the bare base and by adapters, side by side.

    python benchmarks/everyday_summaries.py [-a ADAPTER]... [-m MODEL] [-o length short]... [--dtype float32]
        [--only chat,table] [--out summaries.jsonl]

`everyday_summaries.jsonl` has mail threads, minutes, tables, complaints, tickets, chats, lists, recipes, instructions,
notices and news, written for this benchmark: never train on them. A row has its `kind`, the `text`, one `summary` as
reference and what to `keep`: facts, each as a list of ways to write it. Columns:

- ROUGE-1 and ROUGE-Lsum, F1 in per cent against the reference;
- kept: facts of `keep` that the summary has;
- invented: of the numbers and names in the summary, those that the text does not have (by
  `nlptasks.families.summaries.facts`). The task leaves out sentences with any, unless `-o check_facts false`;
- repeated: sentences of which an earlier one of the summary has four fifths of the words;
- copied: sentences that stand in the text as they are;
- words of a summary, and how many summaries have a `note`, as when the text itself stands for a refused summary.

Below them, each adapter less the bare base: paired bootstrap interval and p-value of a randomisation test.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from nlptasks import Engine
from nlptasks.bases import NO_ADAPTER
from nlptasks.families.sentences import sentences
from nlptasks.families.summaries import bullets
from nlptasks.families.summaries.facts import Facts
from nlptasks.training.metrics.rowwise import RowCounts, difference
from nlptasks.training.metrics.texts import rouge

TEXTS = Path(__file__).with_suffix(".jsonl")
LEAD = "lead-3"
REPEATED = 0.8

_MONTH = "(january|february|march|april|may|june|july|august|september|october|november|december)"
_DAYS = r"(\d{1,2}(?: to \d{1,2})?)"


def plain(text: str) -> str:
    """A text in one way to write it: lower case, 2400 for 2,400, "12 to 14 may" for "May 12-14th"."""
    text = " ".join(text.casefold().replace("’", "'").split())
    text = re.sub(r"(?<=\d)[,\u00a0 ](?=\d{3}(?!\d))", "", text)
    text = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", text)
    text = re.sub(r"(?<=\d) ?[-–] ?(?=\d)", " to ", text)
    return re.sub(rf"\b{_MONTH} {_DAYS}(?!\d|[.:]\d)", r"\2 \1", text)


def keeps(text: str, ways: Sequence[str]) -> bool:
    """Whether a text has a fact, written in one of these ways; a word may have an ending."""
    written = plain(text)
    for way in map(plain, ways):
        end = r"(?!\d|[.,:]\d)" if way[-1].isdigit() else ""
        if re.search(rf"(?<!\w){'(?<![.,:])' if way[0].isdigit() else ''}{re.escape(way)}{end}", written):
            return True
    return False


def invented(text: str, summary: Sequence[str]) -> tuple[int, int]:
    """Numbers and names of a summary's sentences that the text does not have, and all of them."""
    facts, nothing = Facts(text), Facts("")
    return sum(len(facts.missing(each)) for each in summary), sum(len(nothing.missing(each)) for each in summary)


def repeated(summary: Sequence[str]) -> int:
    """How many sentences say what an earlier one said."""
    words = [set(re.findall(r"\w+", sentence.casefold())) for sentence in summary]
    return sum(
        any(len(each & earlier) >= REPEATED * len(each) for earlier in words[:place])
        for place, each in enumerate(words)
    )


def copied(text: str, summary: Sequence[str]) -> int:
    """How many sentences stand in the text."""
    source = " ".join(text.split())
    return sum(sentence.rstrip(".") in source for sentence in summary)


def lead(text: str, count: int = 3) -> str:
    """The first sentences of a text."""
    places = sentences(text)[:count]
    return text[places[0][0] : places[-1][1]]


def scores(rows: Sequence[Mapping[str, Any]], summaries: Sequence[str]) -> dict[str, RowCounts]:
    """The metrics of summaries, one a row."""
    parts = [bullets.split(summary) for summary in summaries]
    pairs = list(zip(rows, summaries, parts, strict=True))
    counted = {
        "kept": [(sum(keeps(summary, fact) for fact in row["keep"]), len(row["keep"])) for row, summary, _ in pairs],
        "invented": [invented(row["text"], split) for row, _, split in pairs],
        "repeated": [(repeated(split), len(split)) for _, _, split in pairs],
        "copied": [(copied(row["text"], split), len(split)) for row, _, split in pairs],
    }
    overlap = rouge(summaries, [row["summary"] for row in rows])
    return {"ROUGE-1": overlap["rouge1"], "ROUGE-Lsum": overlap["rougeLsum"]} | {
        name: RowCounts(np.array(counts, dtype=float), _per_cent, 100.0) for name, counts in counted.items()
    }


def _per_cent(sums: Any) -> Any:
    return 100 * sums[..., 0] / np.maximum(sums[..., 1], 1)


def measure(
    engine: Engine, rows: Sequence[Mapping[str, Any]], adapters: Sequence[str | None], options: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Print the tables, and return each system's summaries by its name; adapter None is the one that serves."""
    texts = [row["text"] for row in rows]
    written, notes = {LEAD: [lead(text) for text in texts]}, {LEAD: 0}
    for adapter in [NO_ADAPTER, *adapters]:
        results: list[Any] = engine.run("summarization", texts, adapter=adapter, **options)
        name = "bare" if adapter == NO_ADAPTER else adapter or results[0].adapter or "default"
        written[name] = [result.summary for result in results]
        notes[name] = sum(result.note is not None for result in results)
    measured = {name: scores(rows, summaries) for name, summaries in written.items()}
    wide = max(12, *(len(name) for name in measured))
    print(f"{len(rows)} texts; {', '.join(f'{key}={value}' for key, value in options.items()) or 'default options'}")
    print(f"{'':{wide}} {' '.join(f'{name:>10}' for name in measured[LEAD])} {'words':>6} {'notes':>6}")
    for name, metrics in measured.items():
        cells = " ".join(f"{counts.of():10.1f}" for counts in metrics.values())
        words = fmean(len(summary.split()) for summary in written[name])
        print(f"{name:{wide}} {cells} {words:6.0f} {notes[name]:6}")
    for name in list(measured)[2:]:
        print(f"\n{name} less bare (95 % interval, p)")
        for metric, counts in measured[name].items():
            gap = difference(counts, measured["bare"][metric])
            print(f"  {metric:10} {gap.value:+6.1f}  ({gap.low:+.1f} to {gap.high:+.1f}, p {gap.p_value:.3f})")
    print(f"\n{'kept, by kind':16} {'texts':>5} {' '.join(f'{name:>{max(8, len(name))}}' for name in measured)}")
    for kind in dict.fromkeys(row["kind"] for row in rows):
        places = [place for place, row in enumerate(rows) if row["kind"] == kind]
        cells = (f"{metrics['kept'].of(places):{max(8, len(name))}.0f}" for name, metrics in measured.items())
        print(f"{kind:16} {len(places):5} {' '.join(cells)}")
    return written


def read() -> list[dict[str, Any]]:
    """The rows."""
    return [json.loads(line) for line in TEXTS.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-a", "--adapter", action="append", help="name or folder; repeatable. Default: the one serving")
    parser.add_argument("-m", "--model", help="base instead of the task's own")
    parser.add_argument("-o", "--option", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"))
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--only", help="kinds, separated by commas")
    parser.add_argument("--out", type=Path, help="all summaries beside each other, as JSON lines")
    arguments = parser.parse_args()
    kinds = arguments.only and arguments.only.split(",")
    rows = [row for row in read() if not kinds or row["kind"] in kinds]
    with Engine(arguments.model, dtype=arguments.dtype) as engine:
        written = measure(engine, rows, arguments.adapter or [None], dict(arguments.option))
    if arguments.out:
        lines = [
            json.dumps(row | {name: summaries[place] for name, summaries in written.items()}, ensure_ascii=False)
            for place, row in enumerate(rows)
        ]
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
