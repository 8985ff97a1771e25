"""`evaluate`: measure what is served, windows and calibration included."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlptasks.errors import DataError
from nlptasks.training import metrics
from nlptasks.training.data import DataOptions, Examples
from nlptasks.training.family import AnyTask, family_trainer

if TYPE_CHECKING:
    from nlptasks.engine import Engine
    from nlptasks.results import Classification

WARM_UP = 8


@dataclass(frozen=True)
class EvalReport:
    """What a task answers on labelled rows. `confusion[right][answered]` counts rows, in the order of `labels`.

    `confusion` and `per_label` are empty for a multi-label task. `texts_per_second` leaves loading out.
    """

    task: str
    model: str
    adapter: str | None
    rows: int
    labels: tuple[str, ...]
    metrics: dict[str, float]
    per_label: tuple[dict[str, Any], ...]
    confusion: tuple[tuple[int, ...], ...]
    texts_per_second: float
    truncated: int
    windowed: int
    data: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


def evaluate(
    task: AnyTask | str,
    data: str | Sequence[str],
    *,
    adapter: str | None = None,
    model: str | None = None,
    options: DataOptions | None = None,
    engine: Engine | None = None,
    progress: bool | Callable[[int, int], None] = False,
) -> EvalReport:
    """Run a task on labelled texts and measure its answers.

    Args:
        task: a task or its name.
        data: files and Hub data sets; of a Hub data set the split `test` unless another is named.
        adapter: name, folder, Hub id, or "none".
        model: the base, unless the adapter decides it.
        options: columns and label names.
        engine: what to run on; a new one by default.
        progress: True for a bar on stderr, or a callback `(done, total)`.

    Raises:
        DataError: bad rows, or labels that the model does not have.
    """
    from nlptasks.engine import Engine

    sources = [data] if isinstance(data, str) else list(data)
    if engine is None:
        with Engine() as own:
            return _evaluate(own, task, sources, adapter, model, options or DataOptions(), progress)
    return _evaluate(engine, task, sources, adapter, model, options or DataOptions(), progress)


def _evaluate(
    engine: Engine,
    task: AnyTask | str,
    sources: list[str],
    adapter: str | None,
    model: str | None,
    options: DataOptions,
    progress: bool | Callable[[int, int], None],
) -> EvalReport:
    found = engine.plugins.task(task) if isinstance(task, str) else task
    family = family_trainer(found)
    chosen, _ = engine.choose(found, adapter, model)
    trained = chosen.manifest.labels if chosen and chosen.manifest else None
    read = family.read(sources, options, labels=trained, offline=engine.settings.offline, split="test")
    if options.max_rows:
        from nlptasks.training.splits import sample

        read.rows = sample(read.rows, options.max_rows, 13, label=family.label_of)
    texts = [family.text_of(row) for row in read.rows]
    # The first call loads the model; it is not timed.
    first = engine.run(found.name, texts[:WARM_UP], adapter=adapter, model=model)
    _check_labels(read, first[0])
    started = time.perf_counter()
    results = engine.run(found.name, texts, adapter=adapter, model=model, progress=progress)
    seconds = time.perf_counter() - started
    return _report(found.name, read, results, seconds, multi_label=family.multi_label)


def _check_labels(read: Examples, result: Classification) -> None:
    own = {score.label.casefold() for score in result.scores}
    strange = [name for name, rows in read.counts.items() if rows and name.casefold() not in own]
    if strange:
        raise DataError(
            f"The data has the labels {', '.join(read.labels)}; {result.model} answers "
            f"{', '.join(sorted(score.label for score in result.scores))}. Name the data's labels with --labels, "
            "in the order of their numbers, as the model calls them."
        )


def _report(
    task: str, read: Examples, results: Sequence[Classification], seconds: float, *, multi_label: bool
) -> EvalReport:
    import numpy as np

    labels = _ordered(read.labels, results[0])
    place = {name.casefold(): index for index, name in enumerate(labels)}
    chances = np.zeros((len(results), len(labels)))
    for row, result in enumerate(results):
        for score in result.scores:
            chances[row, place[score.label.casefold()]] = score.score
    per_label: list[dict[str, Any]] = []
    confusion: list[list[int]] = []
    if multi_label:
        gold = np.zeros_like(chances)
        found = np.zeros_like(chances)
        for row, (example, result) in enumerate(zip(read.rows, results, strict=True)):
            for index in example.label if isinstance(example.label, tuple) else (example.label,):
                gold[row, place[read.labels[index].casefold()]] = 1
            for name in result.labels:
                found[row, place[name.casefold()]] = 1
        measured = metrics.multi_label(chances, gold, found=found)
    else:
        right = [place[read.labels[row.label].casefold()] for row in read.rows if isinstance(row.label, int)]
        measured = metrics.single_label(chances, right)
        answered = chances.argmax(axis=1).tolist()
        per_label = metrics.per_label(right, answered, labels)
        confusion = metrics.confusion(right, answered, len(labels))
    return EvalReport(
        task=task,
        model=results[0].model,
        adapter=results[0].adapter,
        rows=len(results),
        labels=labels,
        metrics=measured,
        per_label=tuple(per_label),
        confusion=tuple(map(tuple, confusion)),
        texts_per_second=len(results) / max(seconds, 1e-9),
        truncated=sum(result.truncated for result in results),
        windowed=sum(result.windows > 1 for result in results),
        data=tuple(read.sources),
    )


def _ordered(names: Sequence[str], result: Classification) -> tuple[str, ...]:
    """The model's labels: those of the data in its order, then the others."""
    own = {score.label.casefold(): score.label for score in result.scores}
    first = [own[name.casefold()] for name in names if name.casefold() in own]
    return (*first, *sorted(label for label in own.values() if label not in first))
