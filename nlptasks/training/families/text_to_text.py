"""Text to text's part of a training: a model learns to write the target behind the prompt that serving gives it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import ValidationError

from nlptasks.data.labelled_texts import DataOptions, describe
from nlptasks.data.rows import plural
from nlptasks.data.tables import Findings, read_tables
from nlptasks.errors import DataError, InvalidInputError
from nlptasks.families.text_to_text import Lesson
from nlptasks.model import Decoding, ModelInfo, Prompt
from nlptasks.results import Result
from nlptasks.training.families import writing
from nlptasks.training.families.base import Assessment, Calibration, Dataset, FamilyTrainer, Feature, Setting
from nlptasks.training.metrics import texts as text_metrics


@dataclass(frozen=True)
class WritingRow:
    """One lesson of the data; `place` is where it stands in its file."""

    lesson: Lesson[Any, Any]
    place: str


@dataclass
class WritingDataset:
    """Checked rows. A language model has no labels."""

    rows: list[WritingRow]
    sources: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    labels: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many texts there are to learn."""
        return {"texts": len(self.rows)}


class TextToTextTrainer(FamilyTrainer):
    """A language model of either kind: causal ones continue the prompt, seq2seq ones decode beside it."""

    verb = "generate"
    metrics: ClassVar[Mapping[str, bool]] = {"loss": False, "perplexity": False}
    headline = "perplexity"
    extras: ClassVar = {
        "options": Setting({}, "a table of the task's options", lambda value: isinstance(value, Mapping)),
    }
    """`options` are the task's own, under which the prompts are made."""

    def read(
        self,
        sources: Sequence[str],
        options: DataOptions,
        *,
        labels: Sequence[str] | None = None,
        offline: bool = False,
        split: str = "train",
    ) -> WritingDataset:
        tables = read_tables(sources, options, offline=offline, split=split)
        serving = self.task.validate_options(self.serving)
        findings = Findings("texts")
        rows: list[WritingRow] = []
        for table in tables:
            faults: list[str] = []
            for row in table.rows:
                try:
                    rows += self._rows(_named(row.fields, self.task, options), row.place, serving)
                except (ValueError, InvalidInputError) as error:
                    faults.append(f"{row.place}: {_sentence(error)}")
            findings.add_table(table, faults)
        findings.check(allow_misaligned=False)
        return WritingDataset(rows, [describe(table) for table in tables], findings.notes)

    def _rows(self, fields: Mapping[str, Any], place: str, serving: Any) -> list[WritingRow]:
        task: Any = self.task
        rows = [WritingRow(lesson, place) for lesson in task.lessons(fields, serving)]
        if any(not row.lesson.target.strip() for row in rows):
            raise ValueError("expected a text to write, found an empty one")
        return rows

    def text_of(self, row: WritingRow) -> str:
        task: Any = self.task
        prompt = task.prompt(row.lesson.inputs, row.lesson.options)
        words = prompt if isinstance(prompt, str) else "\n".join(turn.content for turn in prompt)
        # A text alone is learnt behind an empty prompt: without its own words all such rows would be one.
        return words or row.lesson.target

    def label_of(self, row: WritingRow) -> Hashable:
        return None

    def right_of(self, read: Dataset, row: WritingRow) -> str:
        return row.lesson.target

    def check_training(self, rows: Sequence[WritingRow]) -> None:
        if not rows:
            raise DataError("Training rows: expected at least one text to learn, found none.")

    def input_of(self, row: WritingRow) -> Any:
        return row.lesson.inputs

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        return {}

    def encode(
        self,
        rows: Sequence[WritingRow],
        labels: Sequence[str],
        tokenizer: Any,
        max_length: int,
        info: ModelInfo | None = None,
    ) -> list[Feature]:
        assert info is not None
        return [writing.encode(self._request(row, info, max_length), tokenizer, max_length, info.kind) for row in rows]

    def _request(self, row: WritingRow, info: ModelInfo, max_length: int) -> dict[str, Any]:
        """What serving would give the model for a row, and what it should write, in JSON values."""
        task: Any = self.task
        inputs, options = row.lesson.inputs, row.lesson.options
        prompt: Prompt = task.ask(inputs, options, info)
        decoding: Decoding = task.decoding(inputs, options, info)
        return {
            "prompt": prompt if isinstance(prompt, str) else [turn.model_dump() for turn in prompt],
            "target": row.lesson.target,
            "languages": [decoding.source_language, decoding.target_language],
            "max_length": max_length,
        }

    def notes_on(self, features: Sequence[Feature]) -> list[str]:
        cut = sum(feature.source.cut for feature in features)
        return [f"{plural(cut, 'text')} of {len(features)} did not fit max_length and were cut"] if cut else []

    def collate(self, features: Sequence[Feature], tokenizer: Any) -> dict[str, Any]:
        return writing.collate(features, tokenizer)

    def targets(self, features: Sequence[Feature], width: int) -> Any:
        return writing.targets(features)

    def forward(self, model: Any, batch: Mapping[str, Any]) -> Any:
        return writing.forward(model, batch)

    def kept(self, logits: Any, labels: Any) -> Any:
        return writing.logprobs(logits, labels)

    def loss(self, logits: Any, labels: Any, smoothing: float) -> Any:
        """Cross entropy over the tokens of the targets, each token counting the same."""
        from torch.nn import functional

        return functional.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=writing.IGNORED, label_smoothing=smoothing
        )

    def served(self, logits: Any, feature: Feature) -> list[float]:
        values: list[float] = logits[: len(feature.target)].tolist()
        return values

    def measure(self, logits: Sequence[Any], features: Sequence[Feature]) -> dict[str, float]:
        """Mean negative log-likelihood of a target token in nats, and its exponential."""
        total = -sum(float(row[: len(feature.target)].sum()) for row, feature in zip(logits, features, strict=True))
        loss = total / max(1, sum(len(feature.target) for feature in features))
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}

    def calibrate(self, logits: Sequence[Any], features: Sequence[Feature]) -> Calibration:
        return Calibration(metrics=self.measure(logits, features))

    def assess(self, read: Dataset, results: Sequence[Any]) -> Assessment:
        task: Any = self.task
        written = [task.target(result) for result in results]
        return Assessment(text_metrics.measure(task.text_metrics, written, [row.lesson.target for row in read.rows]))


def _named(fields: Mapping[str, Any], task: Any, options: DataOptions) -> Mapping[str, Any]:
    """The row with the columns that the user named under the names of the fields they stand for."""
    given = {
        next(iter(task.input_type.model_fields)): options.text_column,
        _first_own(task.result_type): options.label_column,
    }
    named = {name: column for name, column in given.items() if column is not None}
    missing = [column for column in named.values() if column not in fields]
    if missing:
        raise ValueError(f"expected a column {missing[0]!r}, found {', '.join(fields)}")
    return {**fields, **{name: fields[column] for name, column in named.items()}}


def _first_own(result_type: type[Result]) -> str:
    return next(name for name in result_type.model_fields if name not in Result.model_fields)


def _sentence(error: Exception) -> str:
    """An error of one row as one sentence."""
    if isinstance(error, InvalidInputError):
        return " ".join(error.problems)
    if isinstance(error, ValidationError):
        return (
            "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}" for fault in error.errors()) + "."
        )
    return f"{error}."
