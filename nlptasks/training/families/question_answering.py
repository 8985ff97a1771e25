"""Question answering's part of a training: every window of a context learns where the answer is, if anywhere."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nlptasks.data.labelled_texts import DataOptions, describe
from nlptasks.data.questions import QuestionRow, read_questions
from nlptasks.data.rows import Table, plural
from nlptasks.errors import DataError
from nlptasks.families import candidates, windows
from nlptasks.families.question_answering import AnswerOptions
from nlptasks.model import ModelInfo, SpanLogits
from nlptasks.task import Recipe
from nlptasks.training.families.base import (
    Assessment,
    Calibration,
    Dataset,
    FamilyTrainer,
    Feature,
    Setting,
    is_number,
)
from nlptasks.training.families.rows import TaskRows
from nlptasks.training.families.unanswerable import with_unanswerable
from nlptasks.training.metrics import rowwise
from nlptasks.training.metrics import squad as squad_metrics
from nlptasks.training.metrics.calibration import MIN_ROWS, fit_temperature
from nlptasks.training.metrics.labels import calibration_error
from nlptasks.training.metrics.squad import Answered, Answers

if TYPE_CHECKING:
    from nlptasks.results import Answer
    from nlptasks.runtime.verbs.encoding import Segment

IGNORED = -100
"""The target of tokens that can be no border of an answer: the question's, special ones, padding."""

_AT_ONCE = 1000

_STRIDE: int = AnswerOptions.model_fields["stride"].default
_LONGEST: int = AnswerOptions.model_fields["max_answer_tokens"].default


class QuestionDataset(TaskRows):
    """Checked questions. The head has no labels: its two scores are those of an answer's start and end."""

    @property
    def counts(self) -> dict[str, int]:
        """How many questions have an answer, and how many have none."""
        answered = sum(bool(row.answers) for row in self.rows)
        return {"answerable": answered, "unanswerable": len(self.rows) - answered}


@dataclass(frozen=True)
class Window:
    """One window of the context of question number `number`; it begins at code point `shift`."""

    row: QuestionRow
    number: int
    shift: int
    place: Segment


class QuestionAnsweringTrainer(FamilyTrainer):
    """Extractive question answering."""

    metrics = squad_metrics.HIGHER_IS_BETTER
    headline = "best_f1"
    extras: ClassVar = {
        "unanswerable": Setting(1 / 3, "a number from 0 to below 1", lambda v: is_number(v) and 0 <= v < 1),
        "questions_per_context": Setting(
            0, "a whole number, 0 or more", lambda v: is_number(v) and v >= 0 and v % 1 == 0
        ),
    }
    """`unanswerable` is the share of questions without an answer that is reached by making some; a third is that of
    SQuAD 2.0's training set. `questions_per_context` is the most that are taken of one context; 0 takes all."""

    def parse(self, tables: Sequence[Table], options: DataOptions, labels: Sequence[str] | None) -> QuestionDataset:
        read = read_questions(tables, allow_misaligned=options.allow_misaligned)
        notes = read.columns + read.notes
        return QuestionDataset(read.rows, (), [describe(table) for table in tables], notes, read.problems)

    def row_text(self, row: QuestionRow) -> str:
        # All questions on one context stand on one side: the other side would have read the context already.
        return row.context

    def stratum(self, row: QuestionRow) -> Hashable:
        return bool(row.answers)

    def reference_text(self, dataset: Dataset, row: QuestionRow) -> str:
        return row.answers[0][0] if row.answers else "no answer in the text"

    def answer_text(self, result: Answer) -> str:
        return result.text if result.answerable else "no answer in the text"

    def check_training(self, rows: Sequence[QuestionRow]) -> None:
        if not any(row.answers for row in rows):
            raise DataError(
                f"Training rows: expected at least one question with an answer, found none in "
                f"{plural(len(rows), 'row')}."
            )

    def augment(self, rows: list[QuestionRow], recipe: Recipe) -> list[QuestionRow]:
        extra = self.extra(recipe)
        rows = _at_most_per_context(rows, int(extra["questions_per_context"]), recipe.seed)
        return with_unanswerable(rows, extra["unanswerable"], recipe.seed)

    def head_config(self, labels: Sequence[str]) -> dict[str, Any]:
        return {"num_labels": 2}

    def encode(
        self,
        rows: Sequence[QuestionRow],
        labels: Sequence[str],
        tokenizer: Any,
        max_length: int,
        info: ModelInfo | None = None,
    ) -> list[Feature]:
        # Rows by the thousand: the tokenizer's own records of all of them together take gigabytes.
        return [
            feature
            for first in range(0, len(rows), _AT_ONCE)
            for feature in _encode(rows[first : first + _AT_ONCE], first, tokenizer, max_length)
        ]

    def targets(self, features: Sequence[Feature], width: int) -> Any:
        """Shape (features, width, 2): 1 at the right start and end, 0 where another could be, else `IGNORED`."""
        import torch

        targets = torch.full((len(features), width, 2), IGNORED, dtype=torch.long)
        for row, feature in zip(targets, features, strict=True):
            row[feature.source.place.tokens] = 0
            row[feature.source.place.null] = 0
            start, end = feature.target
            row[start, 0] = row[end, 1] = 1
        return targets

    def logits(self, outputs: Any) -> Any:
        """Shape (features, tokens, 2)."""
        import torch

        return torch.stack([outputs.start_logits, outputs.end_logits], -1)

    def loss(self, logits: Any, labels: Any, smoothing: float) -> Any:
        """Cross entropy over the tokens that may be a border, as BERT's script for SQuAD, start and end averaged."""
        allowed = labels != IGNORED
        likelihood = logits.float().masked_fill(~allowed, float("-inf")).log_softmax(1).masked_fill(~allowed, 0.0)
        right = -(likelihood * (labels == 1)).sum(1)
        if smoothing:
            right = (1 - smoothing) * right - smoothing * likelihood.sum(1) / allowed.sum(1)
        return right.mean()

    def serving_logits(self, logits: Any, feature: Feature) -> list[float]:
        scores = _span_logits(logits, feature.source.place)
        return [*scores.starts, *scores.ends, scores.null]

    def task_input(self, row: QuestionRow) -> dict[str, str]:
        return {"question": row.question, "context": row.context}

    def assess(self, dataset: Dataset, results: Sequence[Any]) -> Assessment:
        """F1 and exact match as served; `best_threshold` is the null threshold that gives `best_f1` on these rows."""
        rows: list[QuestionRow] = dataset.rows
        answers = Answers([_served_answer(row, result) for row, result in zip(rows, results, strict=True)])
        pairs = [
            (result.text if result.answerable else "", row.references)
            for row, result in zip(answers.rows, results, strict=True)
        ]
        exact = [squad_metrics.exact_match(*pair) for pair in pairs]
        shared = [squad_metrics.f1(*pair) for pair in pairs]
        threshold, best = answers.best_threshold()
        measured = {
            "f1": fmean(shared),
            "exact_match": fmean(exact),
            "best_f1": best,
            "best_threshold": threshold,
            "has_answer_f1": answers.measure()["has_answer_f1"],
            "ece": calibration_error([result.score for result in results], exact),
        }
        kinds = ["with answer" if row.answers else "without" for row in rows]
        return Assessment(
            measured,
            tuple(squad_metrics.per_kind(kinds, exact, shared)),
            rowwise={"f1": rowwise.mean(shared), "exact_match": rowwise.mean(exact)},
            scores=[result.score for result in results],
            right=exact,
        )

    def measure(self, logits: Sequence[Any], features: Sequence[Feature]) -> dict[str, float]:
        return {**_answers(logits, features).measure(), "loss": _loss(logits, features)}

    def calibrate(self, logits: Sequence[Any], features: Sequence[Feature]) -> Calibration:
        answers = _answers(logits, features)
        answerable = {bool(row.references) for row in answers.rows}
        threshold = None
        if len(answers.rows) >= MIN_ROWS and len(answerable) == 2:
            threshold = round(answers.best_threshold()[0], 4)
        cut = threshold or 0.0
        errors = len(answers.rows) - sum(answers.right(cut))
        temperature = fit_temperature(lambda value: answers.answer_loss(cut, value), len(answers.rows), errors)
        metrics = {**answers.measure(cut, temperature), "loss": _loss(logits, features)}
        return Calibration(temperature, threshold, metrics)


def _served_answer(row: QuestionRow, result: Answer) -> Answered:
    # The margin is all that the choice of a threshold needs of the raw scores.
    text = result.alternatives[0].text if result.alternatives else ""
    return Answered(text, (0.0,) if result.alternatives else (), result.null_score, _texts(row))


def _texts(row: QuestionRow) -> tuple[str, ...]:
    return tuple(text for text, _ in row.answers)


def _at_most_per_context(rows: list[QuestionRow], most: int, seed: int) -> list[QuestionRow]:
    """At most `most` questions of each context, in their order; all for 0."""
    if not most:
        return rows
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    members: dict[str, list[int]] = defaultdict(list)
    for index in order:
        members[rows[index].context].append(index)
    return [rows[index] for index in sorted(index for group in members.values() for index in group[:most])]


def _encode(rows: Sequence[QuestionRow], first: int, tokenizer: Any, max_length: int) -> list[Feature]:
    """Features of rows, whose numbers begin at `first`."""
    from nlptasks.runtime.verbs.encoding import find_segment

    pieces = _pieces(rows, tokenizer, max_length)
    if not pieces:
        return []
    encoded = tokenizer(
        [question for _, question, _, _ in pieces],
        [rows[index].context[start:end] for index, _, start, end in pieces],
        truncation="only_second",
        max_length=max_length,
        return_offsets_mapping=True,
    )
    offsets = encoded.pop("offset_mapping")
    features = []
    for i, (index, question, start, end) in enumerate(pieces):
        place = find_segment(encoded["input_ids"][i], offsets[i], encoded.sequence_ids(i), 1, tokenizer.cls_token_id)
        window = Window(rows[index], first + index, start, place)
        inputs = {name: encoded[name][i] for name in encoded}
        features.append(Feature(inputs, _borders(window), (question, rows[index].context[start:end]), window))
    return features


def _pieces(rows: Sequence[QuestionRow], tokenizer: Any, max_length: int) -> list[tuple[int, str, int, int]]:
    """(row index, question, start, end) of each window; a question keeps half a window at most."""
    texts = list(dict.fromkeys(text for row in rows for text in (row.question, row.context)))
    if not texts:
        return []
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    spans = dict(zip(texts, encoded["offset_mapping"], strict=True))
    pieces = []
    for number, row in enumerate(rows):
        start_of_question = spans[row.question][: max_length // 2]
        question = row.question[: start_of_question[-1][1]] if start_of_question else row.question
        room = max(1, max_length - windows.MARGIN - len(start_of_question))
        for start, end in windows.cut(spans[row.context], len(row.context), room, min(_STRIDE, room // 2)):
            pieces.append((number, question, start, end))
    return pieces


def _borders(window: Window) -> tuple[int, int]:
    """The tokens at which the answer starts and ends; the null position twice where it is not wholly in the window."""
    place = window.place
    none = (place.null, place.null)
    if not window.row.answers or not place.spans:
        return none
    # Of several right answers the one that most annotators gave.
    (text, start), _ = Counter(window.row.answers).most_common(1)[0]
    first, last = start - window.shift, start - window.shift + len(text)
    if first < place.spans[0][0] or last > place.spans[-1][1]:
        return none
    inside = [index for index, (begin, end) in enumerate(place.spans) if begin < last and end > first]
    if not inside:
        return none
    return place.tokens.start + inside[0], place.tokens.start + inside[-1]


def _answers(logits: Sequence[Any], features: Sequence[Feature]) -> Answers:
    """What the model answers to each question, its windows compared on raw logits as in serving."""
    groups: dict[int, list[tuple[Any, Window]]] = defaultdict(list)
    for values, feature in zip(logits, features, strict=True):
        groups[feature.source.number].append((values, feature.source))
    words = {context: candidates.Words(context) for context in {f.source.row.context for f in features}}
    return Answers([_answered(group, words[group[0][1].row.context]) for group in groups.values()])


def _answered(group: Sequence[tuple[Any, Window]], words: candidates.Words) -> Answered:
    row = group[0][1].row
    parts = [(_span_logits(values, window.place), window.shift) for values, window in group]
    order = candidates.merge(candidates.find(part, shift, words, _LONGEST) for part, shift in parts)
    return Answered(
        text=row.context[order[0].start : order[0].end] if order else "",
        raw=tuple(candidate.score for candidate in order),
        null=min(part.null for part, _ in parts),
        references=_texts(row),
    )


def _span_logits(values: Any, place: Segment) -> SpanLogits:
    context = values[place.tokens]
    return SpanLogits(
        spans=place.spans,
        starts=tuple(context[:, 0].tolist()),
        ends=tuple(context[:, 1].tolist()),
        null=float(values[place.null].sum()),
        num_tokens=len(place.spans),
    )


def _loss(logits: Sequence[Any], features: Sequence[Feature]) -> float:
    """Mean negative log-likelihood of the right start and end of each window."""
    losses = []
    for values, feature in zip(logits, features, strict=True):
        place = feature.source.place
        allowed = np.concatenate([values[place.tokens], values[place.null : place.null + 1]])
        right = [values[border, side] for side, border in enumerate(feature.target)]
        losses.append(float((np.logaddexp.reduce(allowed) - right).mean()))
    return fmean(losses) if losses else 0.0
