"""Vectors of texts of any length, and what follows from them: how near texts are to one another.

class Duplicates(TextVectors[...]):
    '''Which tickets say the same.'''
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from nlptasks.families import windows
from nlptasks.model import EMBED, Model, Vector
from nlptasks.results import Result
from nlptasks.task import Overflow, Task, TaskInput, TaskOptions

I = TypeVar("I", bound=TaskInput)  # noqa: E741
R = TypeVar("R", bound=Result)


class VectorOptions(TaskOptions):
    """What a caller may tune in any task that compares vectors."""

    on_overflow: Overflow = windows.ON_OVERFLOW


@dataclass(frozen=True)
class TextVector:
    """A text's vector, of unit length, and how the text was read."""

    values: tuple[float, ...]
    num_tokens: int
    truncated: bool
    windows: int

    def cosine(self, other: TextVector) -> float:
        """The cosine of the angle to another vector, -1 to 1."""
        return max(-1.0, min(1.0, sum(a * b for a, b in zip(self.values, other.values, strict=True))))


class TextVectors(Task[I, Any, R]):
    """Answers from the vectors of texts.

    A vector is the mean of the last hidden states, scaled to length one, as sentence-transformers computes it with
    all-MiniLM-L6-v2. A text of several windows has the mean of theirs, each weighted by its tokens, scaled again.
    """

    family = "vectors"
    other_heads = (EMBED,)
    options_type: ClassVar[type[TaskOptions]] = VectorOptions

    def vectors(self, texts: Iterable[str], options: VectorOptions, model: Model) -> dict[str, TextVector]:
        """The vector of each text, each embedded once, however often it comes.

        Raises:
            OverflowRefusedError: a text is longer than a window, and `on_overflow` is "error".
        """
        different = list(dict.fromkeys(texts))
        room = model.info.max_tokens - windows.MARGIN
        long = {i: text for i, text in enumerate(different) if windows.may_overflow(text, model.info.max_tokens)}
        spans = windows.measure(model, long)
        ranges = windows.ranges(self.name, dict(enumerate(different)), spans, room, options.on_overflow)
        parts = iter(model.embed([different[i][start:end] for i, places in ranges.items() for start, end in places]))
        answers = {}
        for i, places in ranges.items():
            group = [next(parts) for _ in places]
            tokens = len(spans.get(i, ()))
            cut = options.on_overflow == "truncate" and tokens > room
            whole = tokens if cut or len(group) > 1 else group[0].num_tokens
            truncated = cut or any(part.truncated for part in group)
            answers[different[i]] = TextVector(_mean(group), whole, truncated, len(group))
        return answers

    @staticmethod
    def reading(vectors: Iterable[TextVector]) -> dict[str, Any]:
        """The fields of a result that say how the texts behind it were read."""
        parts = list(vectors)
        return {
            "num_tokens": sum(part.num_tokens for part in parts),
            "truncated": any(part.truncated for part in parts),
            "windows": max(1, sum(part.windows for part in parts) - len(parts) + 1),
        }


def _mean(group: Sequence[Vector]) -> tuple[float, ...]:
    if len(group) == 1:
        return group[0].values
    columns = zip(*(part.values for part in group), strict=True)
    weights = [max(1, part.num_tokens) for part in group]
    total = [sum(value * weight for value, weight in zip(column, weights, strict=True)) for column in columns]
    # Windows that point in opposite directions have no mean direction.
    length = sum(value * value for value in total) ** 0.5 or 1.0
    return tuple(value / length for value in total)
