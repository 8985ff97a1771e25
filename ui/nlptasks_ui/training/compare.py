"""A trained adapter beside what the task answered before, on the rows that were held out of its training."""

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

MOST_ROWS = 300
MOST_WRITTEN = 20
"""Held-out rows that are compared, and those of tasks that write: a text takes seconds where a label takes none."""

_SEED = 13


@dataclass(frozen=True)
class Side:
    """What one of the two is worth. `problem` says why it has no answers; `confusion[right][answered]` counts rows."""

    title: str
    metrics: dict[str, float] = field(default_factory=dict)
    table: tuple[dict[str, Any], ...] = ()
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Row:
    """One held-out row: what it asks, what is right, what was said before and after."""

    text: str
    right: str
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """Both sides, and the rows, those with different answers first. `held_out` counts all that were held out."""

    before: Side
    after: Side
    rows: tuple[Row, ...]
    held_out: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


def compare(engine: Engine, plan: Plan, report: dict[str, Any]) -> Comparison:
    """Answer held-out rows without and with what a training published (`report` is the TrainReport's `as_dict`).

    "Before" is what the task answers when nobody names an adapter. A side that cannot answer says why.
    """
    from nlptasks.training import family_trainer

    task = engine.plugins.task(plan.task)
    recipe = plan.full_recipe(task)
    serving = dict(recipe.extra.get("options", {}))
    family = family_trainer(task, serving)
    read, held_out = held_out_rows(family, plan, engine.settings)
    trained = after_arguments(plan, report)
    before, said_before = _side(engine, task, family, read, "Before", serving)
    after, said_after = _side(engine, task, family, read, plan.name, {**serving, **trained})
    rows = [
        Row(words(family.input_of(row)), family.right_of(read, row), *said)
        for row, *said in zip(read.rows, said_before, said_after, strict=True)
    ]
    rows.sort(key=lambda row: row.before == row.after)
    return Comparison(before, after, tuple(rows), held_out)


def after_arguments(plan: Plan, report: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `Engine.run` that ask what a training published."""
    return {"adapter": plan.name} if report["method"] == "lora" else {"model": report["path"], "adapter": "none"}


def held_out_rows(family: FamilyTrainer, plan: Plan, settings: Settings) -> tuple[Dataset, int]:
    """The data with only such rows as the training held out, at most so many as are compared; and how many there were.

    The split is the training's own: the seed decides it.
    """
    from nlptasks.data import sample
    from nlptasks.training import prepare

    recipe = plan.full_recipe(family.task)
    held = prepare(family, [plan.data], (), (), plan.options, recipe, settings).held_out
    most = MOST_WRITTEN if family.verb == "generate" else MOST_ROWS
    read = family.read([plan.data], plan.options, offline=settings.offline)
    read.rows = sample(held, most, _SEED, label=family.label_of)
    return read, len(held)


def _side(
    engine: Engine, task: AnyTask, family: FamilyTrainer, read: Dataset, name: str, arguments: dict[str, Any]
) -> tuple[Side, Sequence[str]]:
    inputs = [family.input_of(row) for row in read.rows]
    try:
        results = engine.run(task.name, inputs, **arguments)
        family.check_labels(read, results[0])
    except NlptasksError as error:
        return Side(name, problem=str(error)), [""] * len(inputs)
    found = family.assess(read, results)
    by = results[0].adapter or results[0].model
    title = name if by == name else f"{name} ({by})"
    said = [told(result) for result in results]
    return Side(title, found.metrics, found.table, found.labels, found.confusion), said


def told(result: Any) -> str:
    """What a result says, in a line: the answer itself, without scores."""
    from nlptasks import Answer, Classification, Entities, GeneratedText

    short: dict[type, Callable[[Any], str]] = {
        Classification: lambda r: ", ".join(r.labels) or "undecided",
        Entities: lambda r: ", ".join(f"{one.text} ({one.label})" for one in r.entities) or "no entity",
        Answer: lambda r: r.text if r.answerable else "no answer in the text",
        GeneratedText: lambda r: r.text,
    }
    for kind, say in short.items():
        if isinstance(result, kind):
            return say(result)
    return str(getattr(result, result.shown)) if result.shown else result.model_dump_json()
