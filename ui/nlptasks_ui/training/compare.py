"""Comparing a trained adapter with the task's default answers, on the rows that were held out of its training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nlptasks import Engine, NlptasksError, Settings
from nlptasks.surfaces import words
from nlptasks_ui.training.plan import Plan

if TYPE_CHECKING:
    from nlptasks import AnyTask
    from nlptasks.training import Dataset, FamilyTrainer

MAX_ROWS = 300
MAX_GENERATED = 20
"""The most held-out rows to compare, and the most of a task that generates text, which takes seconds per row."""

_SEED = 13


@dataclass(frozen=True)
class Side:
    """The metrics of one side. `problem` says why it has no answers; `confusion[expected][predicted]` counts rows."""

    title: str
    metrics: dict[str, float] = field(default_factory=dict)
    table: tuple[dict[str, Any], ...] = ()
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Row:
    """One held-out row: its text, the right answer, and the answers before and after training."""

    text: str
    right: str
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """Both sides, and the rows, those with different answers first. `held_out` counts all held-out rows."""

    before: Side
    after: Side
    rows: tuple[Row, ...]
    held_out: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


def compare(engine: Engine, plan: Plan, report: dict[str, Any]) -> Comparison:
    """Answer held-out rows without and with the result of a training (`report` is the TrainReport's `as_dict`).

    "Before" are the task's answers when no adapter is named. A side that cannot answer says why.
    """
    from nlptasks.training import family_trainer

    task = engine.plugins.task(plan.task)
    recipe = plan.full_recipe(task)
    serving = dict(recipe.extra.get("options", {}))
    family = family_trainer(task, serving)
    read, held_out = held_out_rows(family, plan, engine.settings)
    trained = after_arguments(plan, report)
    untrained = {**serving, **before_arguments(family, read.labels)}
    before, answers_before = _side(engine, task, family, read, "Before", untrained)
    after, answers_after = _side(engine, task, family, read, plan.name, {**serving, **trained})
    rows = [
        Row(words(family.task_input(row)), family.reference_text(read, row), *answers)
        for row, *answers in zip(read.rows, answers_before, answers_after, strict=True)
    ]
    rows.sort(key=lambda row: row.before == row.after)
    return Comparison(before, after, tuple(rows), held_out)


def before_arguments(family: FamilyTrainer, labels: Sequence[str]) -> dict[str, Any]:
    """What `Engine.run` needs to answer without an adapter: the labels, for a task whose caller names them."""
    names = family.label_names(labels)
    return {"labels": list(names)} if names and family.task.open_labels else {}


def after_arguments(plan: Plan, report: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `Engine.run` that select the result of a training."""
    return {"adapter": plan.name} if report["method"] == "lora" else {"model": report["path"], "adapter": "none"}


def held_out_rows(family: FamilyTrainer, plan: Plan, settings: Settings) -> tuple[Dataset, int]:
    """The data with only the held-out rows to compare, and the number of all held-out rows.

    The split is the same as in training, because the seed decides it.
    """
    from nlptasks.data import sample
    from nlptasks.training import prepare

    recipe = plan.full_recipe(family.task)
    held = prepare(family, [plan.data], (), (), plan.options, recipe, settings).held_out
    most = MAX_GENERATED if family.verb == "generate" else MAX_ROWS
    read = family.read([plan.data], plan.options, offline=settings.offline)
    read.rows = sample(held, most, _SEED, label=family.stratum)
    return read, len(held)


def _side(
    engine: Engine, task: AnyTask, family: FamilyTrainer, read: Dataset, name: str, arguments: dict[str, Any]
) -> tuple[Side, Sequence[str]]:
    inputs = [family.task_input(row) for row in read.rows]
    if not inputs:
        return Side(name, problem="expected rows that were not trained on, and every row was (few_shot)."), []
    try:
        results = engine.run(task.name, inputs, **arguments)
        family.check_labels(read, results[0])
    except NlptasksError as error:
        return Side(name, problem=str(error)), [""] * len(inputs)
    scores = family.assess(read, results)
    by = results[0].adapter or results[0].model
    title = name if by == name else f"{name} ({by})"
    answers = [answer_text(result) for result in results]
    return Side(title, scores.metrics, scores.table, scores.labels, scores.confusion), answers


def answer_text(result: Any) -> str:
    """The answer of a result on one line, without scores."""
    from nlptasks import Answer, Classification, Entities, GeneratedText

    short: dict[type, Callable[[Any], str]] = {
        Classification: lambda r: ", ".join(r.labels) or "undecided",
        Entities: lambda r: ", ".join(f"{one.text} ({one.label})" for one in r.entities) or "no entities",
        Answer: lambda r: r.text if r.answerable else "no answer in the text",
        GeneratedText: lambda r: r.text,
    }
    for kind, shorten in short.items():
        if isinstance(result, kind):
            return shorten(result)
    return str(getattr(result, result.main_field)) if result.main_field else result.model_dump_json()
