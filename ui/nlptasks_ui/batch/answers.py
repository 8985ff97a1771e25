"""The finished rows of a run, also while it goes on: pages of those that a filter leaves, and what charts count.

The parts of a run, one after the other, are the bytes of its output. So a row has one offset in all of them, which is
still right when the parts have become the output.
"""

from __future__ import annotations

import json
import threading
import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from nlptasks.batches import finished_files
from nlptasks_ui.batch.charts import Tally, is_score
from nlptasks_ui.batch.runs import Run

PAGE_ROWS = 50
"""The rows of a page of the table."""

_READ_SECONDS = 0.5
"""How long one call reads at most: the next one goes on."""

_OPEN = 8
"""Runs whose rows are in memory, by the last look at them."""

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Filter:
    """Which rows are shown: all, unless something is chosen."""

    label: str | None = None
    lowest: float | None = None
    highest: float | None = None
    errors: bool = False


class Page(NamedTuple):
    """Some rows of the `total` that a filter leaves; `first` is the place of the first one, from 0."""

    rows: list[dict[str, Any]]
    first: int
    total: int


class Answers:
    """The finished rows of one run."""

    def __init__(self, run: Run) -> None:
        self._output, self._prefix = run.output, f"{run.request.task}."
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._offsets, self._scores, self._labels = array("Q"), array("d"), array("L")
        self._failed = bytearray()
        self._label_sets: dict[tuple[str, ...], int] = {}
        self._end = self.errors = 0
        self.complete = False
        """Whether the last reading came to the last finished row."""
        self.tally = Tally()

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def labels(self) -> list[str]:
        """All labels so far."""
        return sorted({label for labels in list(self._label_sets) for label in labels})

    @property
    def scored(self) -> bool:
        """Whether a row has a score of its own."""
        return any(score == score for score in self._scores[:1000])

    def read(self) -> None:
        """Read rows that were finished since the last call."""
        with self._lock:
            limit = time.monotonic() + _READ_SECONDS
            files = _Files(self._output)
            if files.size < self._end:
                self._clear()  # it was started over
            self.complete = False
            for line in files.lines(self._end):
                self._add(line)
                if time.monotonic() > limit:
                    return
            self.complete = True

    def page(self, number: int, wanted: Filter) -> Page:
        """A page of the rows that a filter leaves, the last one if there are not so many."""
        with self._lock:
            places = self._places(wanted)
            first = PAGE_ROWS * max(0, min(number, (len(places) - 1) // PAGE_ROWS))
            files = _Files(self._output)
            offsets = [self._offsets[place] for place in places[first : first + PAGE_ROWS]]
            return Page([json.loads(next(files.lines(offset))) for offset in offsets], first, len(places))

    def _places(self, wanted: Filter) -> Sequence[int]:
        places: Iterable[int] = range(len(self))
        if wanted.errors:
            places = (place for place in places if self._failed[place])
        if wanted.label:
            sets = {number for labels, number in self._label_sets.items() if wanted.label in labels}
            places = (place for place in places if self._labels[place] in sets)
        if wanted.lowest is not None:
            lowest = wanted.lowest
            places = (place for place in places if self._scores[place] >= lowest)
        if wanted.highest is not None:
            highest = wanted.highest
            places = (place for place in places if self._scores[place] <= highest)
        return places if isinstance(places, range) else list(places)

    def _add(self, line: bytes) -> None:
        row = json.loads(line)
        answer = {
            name.removeprefix(self._prefix): value for name, value in row.items() if name.startswith(self._prefix)
        }
        failed = bool(answer.get("error"))
        score: Any = answer.get("score")
        self._offsets.append(self._end)
        self._end += len(line)
        self._scores.append(score if is_score(score) else float("nan"))
        self._labels.append(self._label_sets.setdefault(_labels_of(answer), len(self._label_sets)))
        self._failed.append(failed)
        self.errors += failed
        # A blank line has neither an answer nor an error.
        if not failed and answer.get("model") is not None:
            self.tally.add(answer)


class AnswerCache:
    """The finished rows of the runs that pages show."""

    def __init__(self) -> None:
        self._runs: OrderedDict[Path, Answers] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, run: Run) -> Answers:
        """The rows of a run, with those that were finished until now."""
        with self._lock:
            answers = self._runs.setdefault(run.folder, Answers(run))
            self._runs.move_to_end(run.folder)
            if len(self._runs) > _OPEN:
                self._runs.popitem(last=False)
        answers.read()
        return answers


class _Files:
    """Files that hold the finished rows, as if they were one."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._files, sizes = _sized(output)
        self._ends = list(accumulate(sizes))
        self.size = self._ends[-1] if sizes else 0

    def lines(self, offset: int) -> Iterator[bytes]:
        """The lines from an offset on."""
        for place in range(bisect_right(self._ends, offset), len(self._files)):
            begin = self._ends[place - 1] if place else 0
            skipped = max(0, offset - begin)
            try:
                stream = self._files[place].open("rb")
            except FileNotFoundError:  # the parts have just become the output
                with self._output.open("rb") as stream:
                    stream.seek(begin + skipped)
                    yield from stream
                return
            with stream:
                stream.seek(skipped)
                yield from stream


def _sized(output: Path) -> tuple[list[Path], list[int]]:
    try:
        files = finished_files(output)
        return files, [file.stat().st_size for file in files]
    except FileNotFoundError:  # the parts have just become the output
        return ([output], [output.stat().st_size]) if output.exists() else ([], [])


def _labels_of(answer: Answer) -> tuple[str, ...]:
    """The labels of an answer, or those of its spans."""
    own_labels = answer.get("labels")
    if own_labels is None and isinstance(answer.get("label"), str):
        own_labels = [answer["label"]]
    spans = (item for value in answer.values() if isinstance(value, list) for item in value if isinstance(item, dict))
    labels = own_labels if own_labels is not None else [item["label"] for item in spans if "label" in item]
    return tuple(sorted({label for label in labels if isinstance(label, str)}))
