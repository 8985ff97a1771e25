"""`few_shot`: a classifier from a handful of examples, in one call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from nlptasks.errors import InvalidInputError, MissingExtraError, NlptasksError, clip
from nlptasks.families.label_names import LabelNames
from nlptasks.model import CLASSIFY_MEAN
from nlptasks.task import AnyTask

if TYPE_CHECKING:
    from nlptasks.engine import Engine
    from nlptasks.training.families.few_shot import FewShotTask

NAME = "few-shot"
"""The name of the task where no installed one takes labels from its data."""


def few_shot(
    examples: Mapping[str, Sequence[str]],
    *,
    multi_label: bool = False,
    base: str | None = None,
    task: str | None = None,
    engine: Engine | None = None,
) -> FewShotTask:
    """A classifier from a few texts of each label: a linear layer on the vectors of a base that stays as it is.

    `few_shot({"billing": [...], "bug": [...]})` returns a task that answers at once: `task(text)`, or
    `nlptasks.run(task, texts)`. Its temperature comes from cross-validation, as do `task.metrics`. `task.save("mine")`
    trains the same as an adapter, for every surface.

    Args:
        examples: texts by label.
        multi_label: whether a text may have several labels; it then stands under each of them.
        base: the base, by default that of the task's recipe.
        task: the task whose adapter `save` makes; by default the installed one that takes its labels from the data.
        engine: what computes the vectors and answers; by default that of `nlptasks.run`.

    Raises:
        InvalidInputError: naming every fault of the examples, before a model is loaded.
        MissingExtraError: scikit-learn is not installed.
        UnknownNameError: there is no such task or base.
    """
    from importlib.util import find_spec

    from nlptasks.engine import default_engine
    from nlptasks.training.families.few_shot import FOLDS, FewShotTask, folds_of

    texts = _checked(examples, multi_label)
    if find_spec("sklearn") is None:
        raise MissingExtraError("A classifier from few examples", "train")
    engine = engine or default_engine()
    target = engine.plugins.task(task) if task else _open_task(engine)
    recipe = target.recipe if target else FewShotTask.recipe
    base = base or recipe.base
    labels = tuple(_names(examples))
    import numpy as np

    from nlptasks.training.metrics.linear import fit_layer

    marks = np.asarray([[float(label in of_text) for label in labels] for of_text in texts.values()])
    strata = [tuple(row) for row in marks.tolist()]
    folds = folds_of(list(texts), strata, FOLDS, recipe.seed)
    kind: Any = type(
        "FewShotTask", (FewShotTask,),
        {
            "__doc__": f"One of {clip(', '.join(labels))}, as in {len(texts)} examples.", "__module__": __name__,
            "name": target.name if target else NAME, "labels": labels, "multi_label": multi_label,
            "untrained_base": base,
        },
    )  # fmt: skip

    def save(name: str, **options: Any) -> Path:
        return _save(target, name, texts, labels, multi_label, base, engine, options)

    made: FewShotTask = kind(engine.run, save)
    with engine.bind(made, "none", base) as model:
        vectors = np.asarray([vector.values for vector in model.embed(list(texts))])
    made.layer = fit_layer(vectors, marks, folds, multi_label=multi_label)
    return made


def _open_task(engine: Engine) -> AnyTask | None:
    """The first installed task that takes its labels from the data and gives them to texts."""
    tasks = engine.plugins.tasks.values()
    return next((t for t in tasks if t.open_labels and CLASSIFY_MEAN in t.heads), None)


def _names(examples: Mapping[str, Sequence[str]]) -> list[str]:
    names: Any = TypeAdapter(LabelNames).validate_python(list(examples))
    return list(names)


def _checked(examples: Any, multi_label: bool) -> dict[str, list[str]]:
    """The labels of each text; raises InvalidInputError with every fault."""
    title = "few_shot cannot learn from these examples"
    if not isinstance(examples, Mapping):
        what = type(examples).__name__
        raise InvalidInputError(title, [f"expected texts by label, as in {{'bug': ['It crashes.']}}, found {what}."])
    if len(examples) < 2:
        listed = ", ".join(map(repr, examples)) or "none"
        raise InvalidInputError(title, [f"expected two labels or more, found {listed}."])
    problems: list[str] = []
    try:
        names = _names(examples)
    except ValidationError as error:
        raise InvalidInputError(title, [f"labels: {fault['msg']}." for fault in error.errors()]) from None
    labels_of: dict[str, list[str]] = defaultdict(list)
    for name, texts in zip(names, examples.values(), strict=True):
        if isinstance(texts, str) or not isinstance(texts, Sequence) or not texts:
            what = "none" if not texts else "one text" if isinstance(texts, str) else type(texts).__name__
            problems.append(f"{name}: expected a list of texts, found {what}.")
            continue
        for number, text in enumerate(texts, 1):
            if not isinstance(text, str) or not text.strip():
                problems.append(f"{name}, text {number}: expected a text with a visible character, found {text!r}.")
            elif name not in labels_of[text]:
                labels_of[text].append(name)
    if not multi_label:
        problems += [
            f"{clip(text, 60)!r}: expected one label, found {' and '.join(labels)}; multi_label=True allows several."
            for text, labels in labels_of.items()
            if len(labels) > 1
        ]
    if problems:
        raise InvalidInputError(title, problems)
    return dict(labels_of)


def _save(
    target: AnyTask | None, name: str, texts: Mapping[str, list[str]], labels: Sequence[str], multi_label: bool,
    base: str, engine: Engine, options: Mapping[str, Any],
) -> Path:  # fmt: skip
    from nlptasks.data import DataOptions
    from nlptasks.training.run import finetune

    if target is None:
        raise NlptasksError(
            "No installed task takes its labels from the data: make the classifier with few_shot(..., task=NAME), "
            "where NAME is a task that classifies texts."
        )
    rows = [{"text": text, "label": of_text if multi_label else of_text[0]} for text, of_text in texts.items()]
    return finetune(
        target, rows, name=name, base=base, few_shot=True, extra={"multi_label": True} if multi_label else {},
        options=DataOptions(text_column="text", label_column="label", labels=tuple(labels)),
        settings=engine.settings, plugins=engine.plugins, **options,
    ).path  # fmt: skip
