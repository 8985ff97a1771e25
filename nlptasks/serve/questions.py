"""Typed questions about a text: a statement that is true or not, a choice, a level. Two protocols ask them.

A question goes to the head of a task that is named, if its options are the head's labels, or to the task whose labels
the caller names. Probabilities are those of the tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nlptasks import CancelToken, Classification, InvalidInputError, Model, UnsupportedModelError, Vector
from nlptasks.serve.faults import Fault
from nlptasks.serve.names import Choice

if TYPE_CHECKING:
    from nlptasks import AnyTask, Engine

Kind = Literal["predicate", "choice", "score"]


@dataclass(frozen=True)
class Question:
    """A question: for a choice, `options` are its names with descriptions; for a score, its levels from the lowest; a
    predicate has none, or descriptions of "true" and "false"."""

    place: str
    kind: Kind
    instructions: str = ""
    options: tuple[tuple[str, str | None], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.options)

    @property
    def is_statement(self) -> bool:
        """Whether it is a predicate without descriptions of true and false."""
        return self.kind == "predicate" and not self.options

    @property
    def labels(self) -> dict[str, Any]:
        """The question as options of the task whose labels the caller names."""
        if self.is_statement:
            return {"labels": [self.instructions], "multi_label": True}
        instructions = {"instructions": self.instructions} if self.instructions.strip() else {}
        return {"labels": dict(self.options), **instructions}


@dataclass(frozen=True)
class Answer:
    """The probabilities of a question's options, in their order; of a predicate, of true and false."""

    probabilities: tuple[float, ...]
    result: Classification = field(repr=False)

    @property
    def best(self) -> int:
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """How far the best option is above chance: (p - 1/n) / (1 - 1/n), as System One defines it for a choice."""
        chance = 1 / len(self.probabilities)
        return 1.0 if chance == 1 else max(0.0, (self.probabilities[self.best] - chance) / (1 - chance))

    @property
    def score(self) -> float:
        """The mean level, from 0."""
        return sum(level * chance for level, chance in enumerate(self.probabilities))

    @property
    def level_confidence(self) -> float:
        """1 - E|level - best| / the same for a uniform answer, as System One defines it for a score."""
        count = len(self.probabilities)
        if count == 1:
            return 1.0
        distance = sum(chance * abs(level - self.best) for level, chance in enumerate(self.probabilities))
        uniform = sum(abs(level - (count - 1) / 2) for level in range(count)) / count
        return max(0.0, 1 - distance / uniform)


def zero_shot_task(engine: Engine) -> AnyTask:
    """The first task that classifies by labels of the caller.

    Raises:
        UnsupportedModelError: there is none.
    """
    for task in engine.plugins.tasks.values():
        if task.open_labels and task.verb == "classify":
            return task
    raise UnsupportedModelError("No installed task takes labels of the caller: see `nlptasks plugins`.")


def check(engine: Engine, questions: Sequence[Question], choice: Choice | None) -> None:
    """Refuse a request with questions that cannot be answered, naming all of them; no model is loaded.

    Raises:
        Fault: 422, a sentence for each question.
    """
    problems = []
    for one in questions:
        if choice and one.kind != "predicate":
            labels = _labels(engine, choice)
            if {name.casefold() for name in one.names} != {label.casefold() for label in labels}:
                problems.append(
                    f"{one.place}: expected the labels of {choice.task.name} ({', '.join(labels)}), found "
                    f"{', '.join(one.names)}; model auto takes any labels."
                )
        elif choice:
            problems.append(f"{one.place}: expected a choice or a score, which {choice.task.name} answers.")
        else:
            try:
                zero_shot_task(engine).validate_options(one.labels)
            except InvalidInputError as error:
                problems += [f"{one.place}: {problem}" for problem in error.problems]
    if problems:
        raise Fault(422, " ".join(problems))


def ask(
    engine: Engine, text: str, questions: Sequence[Question], choice: Choice | None, model: str | None,
    cancel: CancelToken,
) -> list[Answer]:  # fmt: skip
    """The answers to all questions about a text, in their order."""
    if choice:
        result = engine.run(choice.task.name, text, adapter=choice.adapter, cancel=cancel)
        return [_of_labels(one, result) for one in questions]
    task = zero_shot_task(engine)
    options = [task.validate_options(one.labels) for one in questions]
    for checked in options:
        engine.choose(task, None, model, checked)
    with engine.bind(task, None, model, cancel=cancel) as bound:
        reader: Any = _OneReading(bound)
        facts = {"model": bound.info.name, "adapter": bound.info.adapter}
        answers = []
        for one, checked in zip(questions, options, strict=True):
            [result] = task.run(task.validate([text]), checked, reader)
            answers.append(_of_question(one, result.model_copy(update=facts)))
    return answers


class _OneReading:
    """A model that reads each text once, however many questions there are about it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._vectors: dict[str, Vector] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """The model's vectors."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        self._vectors |= zip(new, self._model.embed(new), strict=True)
        return [self._vectors[text] for text in texts]


def _of_question(question: Question, result: Classification) -> Answer:
    if question.is_statement:
        chance = result.scores[0].score
        return Answer((chance, 1 - chance), result)
    return _of_labels(question, result)


def _of_labels(question: Question, result: Classification) -> Answer:
    chances = {one.label.casefold(): one.score for one in result.scores}
    return Answer(tuple(chances[name.casefold()] for name in question.names), result)


def _labels(engine: Engine, choice: Choice) -> tuple[str, ...]:
    adapter, _ = engine.choose(choice.task, choice.adapter, None)
    trained = adapter.labels if adapter else None
    return trained or tuple(getattr(choice.task, "labels", ()))


def as_text(state: Any, place: str = "") -> str:
    """A state of JSON as a text: a line `key: value` for each value, keys of nested objects joined by dots."""
    if isinstance(state, dict):
        return "\n".join(as_text(value, f"{place}.{key}" if place else str(key)) for key, value in state.items())
    if isinstance(state, list):
        if not any(isinstance(item, dict | list) for item in state):
            return as_text(", ".join(map(_plain, state)), place)
        return "\n".join(as_text(item, f"{place}.{number}".lstrip(".")) for number, item in enumerate(state, start=1))
    text = _plain(state)
    return f"{place}: {text}" if place else text


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
