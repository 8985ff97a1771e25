"""Text classification: one label (or several) for a text of any length.

class Urgency(TextClassification):
    '''How urgent a support ticket is.'''
    name = "urgency"
    labels = ("low", "normal", "high")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from nlptasks.errors import OverflowRefusedError
from nlptasks.families import windows
from nlptasks.families.scores import sigmoid, softmax
from nlptasks.model import CLASSIFY, Logits, Model, ModelInfo
from nlptasks.results import Classification, LabelScore
from nlptasks.task import Overflow, Task, TaskOptions, TextInput

CONTENT_FREE = ("N/A", "", "[MASK]")
"""Texts that say nothing; Zhao et al. use these three."""

BYTES_A_TOKEN = 3
"""Texts with fewer bytes for each token of the limit are first read whole: four to five make a token of English, three
a character of Chinese."""

ZERO_SHOT_WINDOW = 768
"""Tokens of a text that are put into one prompt; small language models lose the question after longer ones."""


class ClassificationOptions(TaskOptions):
    """What a caller may tune in any text classification."""

    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Least calibrated score for a label to count. Unset: the adapter's own; else the best label always "
        "counts, and with several labels every one from 0.5.",
    )
    multi_label: bool | None = Field(
        default=None, description="Score each label on its own, so that several may hold. Unset: as it was trained."
    )
    on_overflow: Overflow = Field(
        default="window",
        description="A text longer than the model's window: read all of it in windows, cut it, or refuse it.",
    )
    pool: Literal["mean", "max", "first"] = Field(
        default="mean", description="How the windows of a long text become one answer."
    )


@dataclass(frozen=True)
class _Piece:
    """A part of an input that goes to the model in one window."""

    source: int
    text: str


class TextClassification(Task[TextInput, ClassificationOptions, Classification]):
    """A label for a text."""

    family = "text_classification"
    head = CLASSIFY
    trainer = "nlptasks.training.families.text_classification:TextClassificationTrainer"
    input_type = TextInput
    options_type = ClassificationOptions
    result_type = Classification
    untrained_base = "smollm2"

    labels: ClassVar[tuple[str, ...]] = ()
    multi_label: ClassVar[bool] = False
    subject: ClassVar[str] = ""
    """What the labels are values of ("Urgency"), for the language model that answers when no head was trained."""

    def run(self, inputs: Sequence[TextInput], options: ClassificationOptions, model: Model) -> list[Classification]:
        texts = [item.text for item in inputs]
        trained = _has_head(model.info)
        size = model.info.max_tokens if trained else min(ZERO_SHOT_WINDOW, model.info.max_tokens - 256)
        room = size - windows.MARGIN
        # Without a head nothing but the offsets tells how many tokens a text has.
        asked = [i for i, text in enumerate(texts) if not trained or windows.may_overflow(text, BYTES_A_TOKEN * size)]
        spans = self._spans(texts, asked, model)
        groups = self._read(texts, range(len(texts)), spans, room, options, model)
        # A head says how long a text was: those that did not fit after all are read again, in windows.
        doubtful = [i for i, group in groups.items() if i not in spans and group[0].num_tokens > room]
        spans |= self._spans(texts, doubtful, model)
        groups |= self._read(texts, [i for i in doubtful if len(spans[i]) > room], spans, room, options, model)
        cut = {i for i in spans if len(spans[i]) > room} if options.on_overflow == "truncate" else set()
        labels = self._labels(model.info) if trained else self.labels
        results = []
        for i, group in groups.items():
            counted = len(group) == 1 and i not in cut and group[0].num_tokens
            results.append(
                self._result(
                    self._chances(group, model.info, options),
                    labels,
                    model.info,
                    options,
                    truncated=i in cut or any(g.truncated for g in group),
                    num_tokens=counted or len(spans[i]),
                    windows=len(group),
                )
            )
        return results

    def _spans(self, texts: list[str], indices: Sequence[int], model: Model) -> dict[int, Sequence[tuple[int, int]]]:
        """Token offsets of some of the texts, by their index."""
        found = windows.offsets(model, [texts[i] for i in indices]) if indices else []
        return {i: offsets.spans for i, offsets in zip(indices, found, strict=True)}

    def _read(
        self,
        texts: list[str],
        indices: Sequence[int],
        spans: Mapping[int, Sequence[tuple[int, int]]],
        room: int,
        options: ClassificationOptions,
        model: Model,
    ) -> dict[int, list[Logits]]:
        """The logits of the windows of some of the texts, by their index."""
        if not indices:
            return {}
        pieces = self._pieces(texts, indices, spans, room, options.on_overflow)
        logits = model.classify([p.text for p in pieces]) if _has_head(model.info) else self._ask(pieces, model)
        groups: dict[int, list[Logits]] = {i: [] for i in indices}
        for piece, values in zip(pieces, logits, strict=True):
            groups[piece.source].append(values)
        return groups

    def _pieces(
        self,
        texts: list[str],
        indices: Sequence[int],
        spans: Mapping[int, Sequence[tuple[int, int]]],
        room: int,
        on_overflow: Overflow,
    ) -> list[_Piece]:
        """The windows of some of the texts, in order."""
        long = [i for i in indices if i in spans and len(spans[i]) > room]
        if long and on_overflow == "error":
            listed = ", ".join(f"input {i} has {len(spans[i])} tokens" for i in long[:5])
            raise OverflowRefusedError(
                f"{self.name}: the model reads {room} tokens at a time, {listed}: "
                "shorten the text or use on_overflow='window'."
            )
        pieces = []
        for i in indices:
            cuts = windows.cut(spans[i], len(texts[i]), room) if i in spans else [(0, len(texts[i]))]
            kept = cuts[:1] if on_overflow == "truncate" else cuts
            pieces += [_Piece(i, texts[i][start:end]) for start, end in kept]
        return pieces

    def _labels(self, info: ModelInfo) -> tuple[str, ...]:
        """The model's labels, in the task's spelling where only letter case differs (POSITIVE, positive)."""
        own = {label.lower(): label for label in self.labels}
        return tuple(own.get(label.lower(), label) for label in info.labels or self.labels)

    def prompt(self, text: str) -> str:
        """What a language model continues with a label when no head was trained for this task."""
        return f"Text: {text}\n{self.subject or self.name.replace('-', ' ').capitalize()}:"

    def _ask(self, pieces: Sequence[_Piece], model: Model) -> list[Logits]:
        """Zero-shot scores: how much a text raises each label's likelihood over a text without content.

        Subtracting the content-free answer removes the language model's taste for some words
        (Zhao et al. 2021, arXiv:2102.09690).
        """
        prompts = [self.prompt(text) for text in (*CONTENT_FREE, *(piece.text for piece in pieces))]
        answers = model.choose(prompts, [f" {label}" for label in self.labels])
        empty, answers = answers[: len(CONTENT_FREE)], answers[len(CONTENT_FREE) :]
        neutral = [sum(column) / len(empty) for column in zip(*empty, strict=True)]
        return [Logits(tuple(a - n for a, n in zip(answer, neutral, strict=True)), 0) for answer in answers]

    def _multi(self, info: ModelInfo, options: ClassificationOptions) -> bool:
        return options.multi_label if options.multi_label is not None else (info.multi_label or self.multi_label)

    def _chances(self, group: Sequence[Logits], info: ModelInfo, options: ClassificationOptions) -> list[float]:
        """The probability of each label from the logits of one input's windows."""
        values = [v / info.temperature for v in _pool(group, options.pool)]
        return [sigmoid(v) for v in values] if self._multi(info, options) else softmax(values)

    def _result(
        self,
        chances: Sequence[float],
        labels: tuple[str, ...],
        info: ModelInfo,
        options: ClassificationOptions,
        **reading: Any,
    ) -> Classification:
        """The answer of one input; `reading` says how it was read."""
        multi = self._multi(info, options)
        order = sorted(range(len(labels)), key=lambda i: (-chances[i], i))
        scores = tuple(LabelScore(label=labels[i], score=chances[i]) for i in order)
        threshold = options.threshold if options.threshold is not None else info.threshold
        least = threshold if threshold is not None else (0.5 if multi else 0.0)
        chosen = tuple(s.label for s in scores if s.score >= least)
        return Classification(
            label=chosen[0] if chosen else None,
            score=scores[0].score,
            scores=scores,
            labels=chosen if multi else chosen[:1],
            **reading,
        )


def _has_head(info: ModelInfo) -> bool:
    """Whether the model classifies; a language model that does not is asked for the label."""
    return "classify" in info.trained_for or info.kind != "causal"


def _pool(group: Sequence[Logits], how: str) -> list[float]:
    """One score a label from the windows; `mean` weighs a window by its tokens."""
    if how == "first" or len(group) == 1:
        return list(group[0].values)
    columns: list[Any] = list(zip(*(g.values for g in group), strict=True))
    if how == "max":
        return [max(column) for column in columns]
    weights = [max(1, g.num_tokens) for g in group]
    return [sum(v * w for v, w in zip(column, weights, strict=True)) / sum(weights) for column in columns]
