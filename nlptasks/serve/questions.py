"""Typed questions about a text: a statement that is true or not, a choice, a level. Two protocols ask them.

A question goes to the head of a task that is named, if its options are the head's labels, or to the task whose labels
the caller names. Probabilities are those of the tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nlptasks import CancelToken, Classification, InvalidInputError, UnsupportedModelError
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

    def fields(self, text: str) -> dict[str, Any]:
        """The question as an input of the task whose labels the caller names."""
        if self.kind == "predicate" and not self.options:
            return {"text": text, "labels": [self.instructions]}
        fields: dict[str, Any] = {"text": text, "labels": dict(self.options)}
        return {**fields, "instructions": self.instructions} if self.instructions.strip() else fields


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
        if getattr(task, "open_labels", False) and task.verb == "classify":
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
            fields = one.fields("text")
            options = {name: value for name, value in fields.items() if name != "text"}
            try:
                zero_shot_task(engine).validate_options({**options, "multi_label": len(fields["labels"]) == 1 or None})
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
    task = zero_shot_task(engine).name
    answers: dict[int, Answer] = {}
    single = [i for i, one in enumerate(questions) if one.kind == "predicate" and not one.options]
    for places, multi in ((single, True), ([i for i in range(len(questions)) if i not in single], None)):
        if places:
            inputs = [questions[place].fields(text) for place in places]
            results = engine.run(task, inputs, model=model, multi_label=multi, cancel=cancel)
            for place, result in zip(places, results, strict=True):
                chance = result.scores[0].score
                both = (chance, 1 - chance)
                answers[place] = Answer(both, result) if multi else _of_labels(questions[place], result)
    return [answers[place] for place in range(len(questions))]


def _of_labels(question: Question, result: Classification) -> Answer:
    chances = {one.label.casefold(): one.score for one in result.scores}
    return Answer(tuple(chances[name.casefold()] for name in question.names), result)


def _labels(engine: Engine, choice: Choice) -> tuple[str, ...]:
    adapter, _ = engine.choose(choice.task, choice.adapter, None)
    labels: tuple[str, ...] = (adapter.labels if adapter else None) or getattr(choice.task, "labels", ())
    return labels


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
    return {None: "none", True: "yes", False: "no"}.get(value, str(value)) if not isinstance(value, str) else value
