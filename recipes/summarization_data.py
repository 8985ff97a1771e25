"""The training rows of the shipped `summarization` adapter: short documents with summaries in whole sentences.

python recipes/summarization_data.py SETS train.jsonl

SETS is a folder with one folder for each set of `MOST`, which has `train.jsonl` with the columns `document` and
`summary`. Long documents are left out because a step's time grows with them, and half a document would teach a model
to tell what it did not read.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST = {"scitldr": 800, "dolly_summarization": 600, "mts_dialog": 600, "qmsum_query": 150}
"""Most rows of each set. Dialogues and general texts together outweigh the abstracts of papers."""

DOCUMENT_WORDS = (30, 190)
SUMMARY_WORDS = (5, 105)
"""The longest summary is what serving keeps of one of medium length: one and a half times 70 words."""

SHARE = 0.6
"""A summary has at most this share of its document's characters."""

_LISTED = re.compile(r"\n|^\W*1[.)]\s|\[\d+\]")
"""Lists, and footnote marks copied from the document."""


def usable(document: str, summary: str) -> bool:
    """Whether a row teaches what serving asks for: a short text in sentences."""
    low, high = DOCUMENT_WORDS
    least, most = SUMMARY_WORDS
    return (
        low <= len(document.split()) <= high
        and least <= len(summary.split()) <= most
        and len(summary) <= SHARE * len(document)
        and not _LISTED.search(summary)
    )


def rows(path: Path) -> Iterator[dict[str, str]]:
    """The usable rows of a file; a summary without a mark at its end gets one."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row: dict[str, Any] = json.loads(line)
            document, summary = row["document"].strip(), row["summary"].strip()
            if usable(document, summary):
                yield {"document": document, "summary": summary if summary[-1] in ".!?\"'" else f"{summary}."}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=13)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    taken: list[dict[str, str]] = []
    for name, most in MOST.items():
        usable = list(rows(arguments.sets / name / "train.jsonl"))
        chosen = draw.sample(usable, min(most, len(usable)))
        print(f"{name}: {len(chosen)} of {len(usable)} usable rows")
        taken += chosen
    draw.shuffle(taken)
    with arguments.out.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in taken)


if __name__ == "__main__":
    main()
