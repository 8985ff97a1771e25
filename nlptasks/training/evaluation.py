"""`evaluate`: measure what is served, windows and calibration included."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from nlptasks.data.frames import data_sources
from nlptasks.data.labelled_texts import DataOptions
from nlptasks.data.splits import sample
from nlptasks.data.tables import read_tables
from nlptasks.errors import DataError
from nlptasks.requests import blaming
from nlptasks.task import AnyTask
from nlptasks.training.families.base import Assessment, Dataset, FamilyTrainer, adapter_trainer, family_trainer
from nlptasks.training.metrics.labels import reliability
from nlptasks.training.report import Comparison, EvalReport, columns_of, differences, worst
from nlptasks.training.report import slices as sliced

if TYPE_CHECKING:
    from nlptasks.engine import Engine

WARM_UP = 8


def evaluate(
    task: AnyTask | str,
    data: Any,
    *,
    adapter: str | None = None,
    model: str | None = None,
    options: DataOptions | None = None,
    engine: Engine | None = None,
    predictions: str | Path | None = None,
    slices: Sequence[str] = (),
    progress: bool | Callable[[int, int], None] = False,
    **serving: Any,
) -> EvalReport:
    """Run a task on labelled texts and measure its answers.

    Args:
        task: a task or its name.
        data: as `finetune` takes it; of a Hub data set the split `test` unless another is named.
        adapter: name, folder, Hub id, or "none".
        model: the base, unless the adapter decides it.
        options: columns and label names.
        engine: what to run on; a new one by default.
        predictions: a JSONL file to write: each row's place, input, right answer and result.
        slices: columns of the data; the report has the quality for each of their values.
        progress: True for a bar on stderr, or a callback `(done, total)`.
        serving: options of the task.

    Raises:
        DataError: bad rows, or labels that the model does not have.
        InvalidInputError: an option that the task does not have.
    """
    shared: dict[str, Any] = {"predictions": predictions, "slices": slices, "progress": progress, **serving}
    return _evaluate(task, data, adapter, model, options, engine, **shared)[0]


def _evaluate(
    task: AnyTask | str,
    data: Any,
    adapter: str | None,
    model: str | None,
    options: DataOptions | None,
    engine: Engine | None,
    *,
    predictions: str | Path | None,
    slices: Sequence[str],
    progress: bool | Callable[[int, int], None],
    **serving: Any,
) -> tuple[EvalReport, Assessment]:
    from nlptasks.engine import Engine

    sources, options = data_sources(data), options or DataOptions()
    with Engine() if engine is None else nullcontext(engine) as engine:
        task = engine.plugins.task(task) if isinstance(task, str) else task
        chosen, _ = engine.choose(task, adapter, model)
        family = adapter_trainer(task, chosen, serving)
        labels = chosen.labels if chosen else None
        tables = read_tables(sources, options, offline=engine.settings.offline, split="test")
        for table in tables:
            table.known |= set(slices)
        dataset = family.parse(tables, options, labels)
        if options.max_rows:
            dataset.rows = sample(dataset.rows, options.max_rows, 13, label=family.stratum)
        columns = columns_of(tables, slices, dataset.rows)
        inputs = [family.task_input(row) for row in dataset.rows]
        # The first call loads the model; it is not timed.
        first = engine.run(task, inputs[:WARM_UP], adapter=adapter, model=model, **serving)
        who = f"{engine.plugins.describe(task)} cannot be measured: its trainer"
        reader = f"Give it a trainer that reads {task.result_type.__name__}; {task.trainer} does not."
        with blaming(who, reader):
            family.check_labels(dataset, first[0])
        started = time.perf_counter()
        results = engine.run(task, inputs, adapter=adapter, model=model, progress=progress, **serving)
        seconds = time.perf_counter() - started
        with blaming(who, reader):
            assessment = family.assess(dataset, results)
        if predictions is not None:
            _write(Path(predictions), family, dataset, results)
        return _report(task, family, dataset, results, assessment, columns, seconds, serving), assessment


def _report(
    task: AnyTask,
    family: FamilyTrainer,
    dataset: Dataset,
    results: Sequence[Any],
    assessment: Assessment,
    columns: Mapping[str, Sequence[str | None]],
    seconds: float,
    serving: Mapping[str, Any],
) -> EvalReport:
    """`columns` are those to slice by, `seconds` what the results took."""
    metric, counts = next(iter(assessment.rowwise.items()), ("", None))
    texts = [family.row_text(row) for row in dataset.rows]
    return EvalReport(
        task=task.name,
        model=results[0].model,
        adapter=results[0].adapter,
        rows=len(results),
        labels=assessment.labels,
        metrics=assessment.metrics,
        intervals={name: each.interval() for name, each in assessment.rowwise.items()},
        metric=metric,
        table=assessment.table,
        confusion=assessment.confusion,
        slices=sliced(dataset, texts, columns, counts) if counts else (),
        worst=worst(family, dataset, results, texts, counts) if counts else (),
        calibration=tuple(reliability(assessment.scores, assessment.right)) if assessment.scores else (),
        texts_per_second=len(results) / max(seconds, 1e-9),
        truncated=sum(result.truncated for result in results),
        windowed=sum(result.windows > 1 for result in results),
        serving=dict(serving),
        data=tuple(dataset.sources),
        notes=(*dataset.notes, *assessment.notes),
    )


def _write(file: Path, family: FamilyTrainer, dataset: Dataset, results: Sequence[Any]) -> None:
    """A line of JSON for each row; the file is there when it is whole."""
    partial = file.with_name(f"{file.name}.part")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            for row, result in zip(dataset.rows, results, strict=True):
                line = {
                    "place": row.place,
                    "input": to_jsonable_python(family.task_input(row), exclude_none=True),
                    "right": family.reference_text(dataset, row),
                    "result": result.model_dump(mode="json"),
                }
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        partial.replace(file)
    except OSError as error:
        raise DataError(f"{file}: expected a file that can be written, found an error ({error.strerror}).") from error


def compare(
    task: AnyTask | str,
    data: Any,
    *,
    adapter: str | None = None,
    model: str | None = None,
    options: DataOptions | None = None,
    engine: Engine,
    predictions: str | Path | None = None,
    slices: Sequence[str] = (),
    progress: bool | Callable[[int, int], None] = False,
    **serving: Any,
) -> Comparison:
    """Two reports of `evaluate` on the same rows: with this adapter and model, and with the task's default.

    `predictions` are those of the first. If their adapters have different labels, only rows and entities with labels
    of both are measured, with a note.

    Raises:
        DataError: as `evaluate` does, or if the adapters have no label in common.
    """
    task, options = engine.plugins.task(task) if isinstance(task, str) else task, options or DataOptions()
    family = family_trainer(task)
    choices = engine.choose(task, adapter, model)[0], engine.choose(task, None, None)[0]
    labels = [family.label_names(choice.labels or ()) if choice else () for choice in choices]
    note = ""
    if all(labels) and {name.casefold() for name in labels[0]} != {name.casefold() for name in labels[1]}:
        known = {name.casefold() for name in labels[1]}
        common = tuple(name for name in labels[0] if name.casefold() in known)
        if not common:
            raise DataError(
                "--compare: expected two models with some labels in common, found "
                f"{', '.join(labels[0])} and {', '.join(labels[1])}: measure each on its own."
            )
        options = dataclasses.replace(options, labels=options.labels or labels[0], only=common)
        each = "; ".join(", ".join(names) for names in labels)
        note = f"compared on the labels of both: {', '.join(common)} (of {each})"
    data = data_sources(data)
    shared: dict[str, Any] = {"slices": slices, "progress": progress, **serving}
    new, answers = _evaluate(task, data, adapter, model, options, engine, predictions=predictions, **shared)
    old, others = _evaluate(task, data, None, None, options, engine, predictions=None, **shared)
    notes = (note,) if note else ()
    return Comparison(
        dataclasses.replace(new, notes=notes + new.notes),
        dataclasses.replace(old, notes=notes + old.notes),
        differences(answers, others),
    )
