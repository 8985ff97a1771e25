"""Extractive question answering: the span of a context that answers a question, or that there is none.

class Clauses(QuestionAnswering):
    '''What a contract says about a question.'''
    name = "clauses"
    examples = ({"question": "When does it end?", "context": "The lease ends on 1 May."},)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from nlptasks.errors import OverflowRefusedError
from nlptasks.families import candidates, explanation, windows
from nlptasks.families.scores import softmax
from nlptasks.families.spans import Span
from nlptasks.families.windows import Spans
from nlptasks.model import EXTRACT, Model, ModelInfo, SpanLogits
from nlptasks.results import Answer, AnswerSpan
from nlptasks.task import Overflow, SequenceInput, Task, TaskOptions

LEAST_ROOM = 16
"""Fewest tokens of a context in one window; fewer hold no answer, and make too many windows."""

NOTHING_READ = 1e6
"""`null_score` of a context without a single token that could be an answer: higher than any model's."""


class QuestionInput(SequenceInput):
    """A question, and the text in which its answer is sought."""

    question: str = Field(min_length=1, pattern=r"\S", description="The question to answer.")
    context: str = Field(min_length=1, pattern=r"\S", description="The text that may hold the answer.")


class AnswerOptions(TaskOptions):
    """What a caller may tune in any extractive question answering."""

    top_k: int = Field(default=1, ge=1, le=20, description="Most spans in `alternatives`; they do not overlap.")
    max_answer_tokens: int = Field(default=30, ge=1, description="Most tokens of an answer.")
    null_threshold: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="Answer when the raw score of no answer exceeds the best span's by this at most. Unset: the "
        "adapter's, else 0.",
    )
    allow_no_answer: bool = Field(default=True, description="False: always answer with the best span.")
    stride: int = Field(
        default=128,
        ge=0,
        description="Tokens that neighbouring windows of a long context share, half a window at most.",
    )
    on_overflow: Overflow = windows.ON_OVERFLOW
    explain: bool = explanation.EXPLAIN


class QuestionAnswering(Task[QuestionInput, AnswerOptions, Answer]):
    """The span of a context that answers a question."""

    family = "question_answering"
    head = EXTRACT
    trainer = "nlptasks.training.families.question_answering:QuestionAnsweringTrainer"
    input_type = QuestionInput
    options_type = AnswerOptions
    result_type = Answer

    def is_one(self, value: Any) -> bool:
        return _is_pair(value) or super().is_one(value)

    def as_fields(self, value: Any) -> Any:
        """A mapping, an instance or a pair; raises pydantic's error for anything else, a bare text too."""
        if _is_pair(value):
            return dict(zip(("question", "context"), value, strict=True))
        if isinstance(value, QuestionInput | Mapping):
            return value
        needed = PydanticCustomError(
            "both_needed",
            'expected both a question and a context, as {"question": ..., "context": ...} or (question, context)',
        )
        fault = InitErrorDetails(type=needed, loc=("question and context",), input=value)
        raise ValidationError.from_exception_data(QuestionInput.__name__, [fault])

    def run(self, inputs: Sequence[QuestionInput], options: AnswerOptions, model: Model) -> list[Answer]:
        spans = _measure(inputs, model)
        size = model.info.max_tokens - windows.MARGIN
        self._refuse(inputs, spans, options.on_overflow, size)
        # A context is cut beside its question alone: an answer must not depend on the other questions of a call.
        cut = functools.cache(lambda context, room: _ranges(context, spans.get(context, ()), room, options))
        words = functools.cache(candidates.Words)
        ranges = [cut(item.context, size - len(spans.get(item.question, ()))) for item in inputs]
        logits = iter(
            model.extract(
                [
                    (item.question, item.context[start:end])
                    for item, (places, _) in zip(inputs, ranges, strict=True)
                    for start, end in places
                ]
            )
        )
        results = []
        for item, (places, truncated) in zip(inputs, ranges, strict=True):
            group = [next(logits) for _ in places]
            answer = _answer(item.context, words(item.context), places, group, options, model.info)
            reading = windows.reading(group, truncated, _num_tokens(item, spans))
            results.append(answer.model_copy(update=reading))
        return results

    def explain(
        self, inputs: Sequence[QuestionInput], results: Sequence[Answer], options: AnswerOptions, model: Model
    ) -> list[Answer]:
        plain = options.model_copy(update={"explain": False, "top_k": 20})
        explained = []
        for item, result in zip(inputs, results, strict=True):
            near = explanation.around(item.context, (result.start, result.end))
            [asking], [reading] = (
                explanation.pieces(item.question, [(0, len(item.question))]),
                explanation.pieces(item.context, [near]),
            )
            part = item.context[slice(*near)]
            pairs = [(question, part) for question in asking.variants(item.question)]
            pairs += [(item.question, context) for context in reading.variants(item.context, explanation.GAP)[1:]]
            answers = self.run([item.model_copy(update={"question": q, "context": c}) for q, c in pairs], plain, model)
            parts = [*(("question", span) for span in asking.parts), *(("context", span) for span in reading.parts)]
            removed: list[Span | None] = [None] * (1 + len(asking.parts)) + [*reading.parts]
            chances = [
                explanation.chance_of(result, one, near[0], span) for one, span in zip(answers, removed, strict=True)
            ]
            texts = {"question": item.question, "context": item.context}
            reason = explanation.of_answer(texts, parts, chances, result.text or "no answer")
            explained.append(result.model_copy(update={"explanations": (reason,)}))
        return explained

    def _refuse(
        self, inputs: Sequence[QuestionInput], spans: Mapping[str, Spans], on_overflow: Overflow, size: int
    ) -> None:
        """Raise OverflowRefusedError for inputs that may not, or cannot, be read in windows."""
        counts = {i: _num_tokens(item, spans) for i, item in enumerate(inputs)}
        if on_overflow == "error":
            windows.refuse_long(self.name, counts, size, "context")
        for i, item in enumerate(inputs):
            question = len(spans.get(item.question, ()))
            if counts[i] > size and size - question < LEAST_ROOM:
                raise OverflowRefusedError(
                    f"{self.name}: the model reads {size} tokens at a time, the question of input {i} has {question} "
                    "and leaves no room for the context: shorten the question."
                )


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _measure(inputs: Sequence[QuestionInput], model: Model) -> dict[str, Spans]:
    """Token offsets of the contexts that may need windows and of the questions asked about them."""
    size = model.info.max_tokens
    long = {item.context for item in inputs if windows.may_overflow(item.question + item.context, size)}
    texts = {text: text for item in inputs if item.context in long for text in (item.context, item.question)}
    return windows.measure(model, texts)


def _num_tokens(item: QuestionInput, spans: Mapping[str, Spans]) -> int:
    """Tokens of question and context as far as they were measured."""
    return len(spans.get(item.question, ())) + len(spans.get(item.context, ()))


def _ranges(context: str, spans: Spans, room: int, options: AnswerOptions) -> tuple[Spans, bool]:
    """The code points of a context's windows, and whether some were dropped."""
    if len(spans) <= room:
        return [(0, len(context))], False
    ranges = windows.cut(spans, len(context), room, min(options.stride, room // 2))
    cut = options.on_overflow == "truncate" and len(ranges) > 1
    return (ranges[:1] if cut else ranges), cut


def _answer(
    context: str,
    words: candidates.Words,
    ranges: Spans,
    group: Sequence[SpanLogits],
    options: AnswerOptions,
    info: ModelInfo,
) -> Answer:
    """The answer of one input from the raw logits of its windows.

    As in BERT's script for SQuAD 2.0 (`run_squad.py`): the score of no answer is the lowest of any window, and it
    wins when it exceeds the best span's by more than `null_score_diff_threshold`. Windows meet before the one
    softmax; normalised alone, a window without the answer would be as sure of its best span as the right one. There no
    answer counts from the adapter's threshold on: at the border it is as likely as the best span.
    """
    null = min(part.null for part in group)
    order = candidates.merge(
        candidates.find(part, start, words, options.max_answer_tokens)
        for part, (start, _) in zip(group, ranges, strict=True)
    )
    if not order:
        return _no_answer(1.0, NOTHING_READ, ())
    raw = [candidate.score for candidate in order]
    fitted = info.threshold or 0.0
    chances = softmax([*raw, null - fitted] if options.allow_no_answer else raw, info.temperature)
    spans = [
        AnswerSpan(text=context[span.start : span.end], start=span.start, end=span.end, score=chance)
        for span, chance in zip(order, chances, strict=False)
    ]
    alternatives = tuple(spans[i] for i in candidates.without_overlaps(order, options.top_k))
    threshold = fitted if options.null_threshold is None else options.null_threshold
    if options.allow_no_answer and null - raw[0] > threshold:
        return _no_answer(chances[-1], null - raw[0], alternatives)
    return Answer(**dict(spans[0]), answerable=True, null_score=null - raw[0], alternatives=alternatives)


def _no_answer(score: float, null_score: float, alternatives: tuple[AnswerSpan, ...]) -> Answer:
    return Answer(
        text="", start=0, end=0, score=score, answerable=False, null_score=null_score, alternatives=alternatives
    )
