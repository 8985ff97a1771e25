"""Text to text's part of a training: a model learns to write the target behind the prompt that serving gives it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from nlptasks.data.rows import plural
from nlptasks.errors import DataError
from nlptasks.families.text_to_text import TrainingExample, prompt_text
from nlptasks.model import Decoding, ModelInfo, Prompt
from nlptasks.training.families import writing
from nlptasks.training.families.base import Assessment, Dataset, FamilyTrainer, Feature, Setting
from nlptasks.training.metrics import texts as text_metrics


@dataclass(frozen=True)
class WritingRow:
    """One example of the data; `place` is where it stands in its file."""

    example: TrainingExample[Any, Any]
    place: str


class TextToTextTrainer(FamilyTrainer):
    """A language model of either kind: causal ones continue the prompt, seq2seq ones decode beside it."""

    metrics: ClassVar[Mapping[str, bool]] = {"loss": False, "perplexity": False}
    headline = "perplexity"
    unit = "texts"
    extras: ClassVar = {
        "options": Setting({}, "a table of the task's options", lambda value: isinstance(value, Mapping)),
    }
    """`options` are the task's own, under which the prompts are made."""

    def parse_record(self, fields: Mapping[str, Any], place: str, labels: Sequence[str]) -> list[WritingRow]:
        task: Any = self.task
        examples = task.training_examples(fields, self.task.validate_options(self.serving))
        rows = [WritingRow(example, place) for example in examples]
        if any(not row.example.target.strip() for row in rows):
            raise ValueError("expected a text to write, found an empty one")
        return rows

    def row_text(self, row: WritingRow) -> str:
        task: Any = self.task
        # A text alone is learnt behind an empty prompt: without its own words all such rows would be one.
        return prompt_text(task.prompt(row.example.inputs, row.example.options)) or row.example.target

    def stratum(self, row: WritingRow) -> Hashable:
        return None

    def reference_text(self, dataset: Dataset, row: WritingRow) -> str:
        return row.example.target

    def answer_text(self, result: Any) -> str:
        task: Any = self.task
        text: str = task.target(result)
        return text

    def check_training(self, rows: Sequence[WritingRow]) -> None:
        if not rows:
            raise DataError("Training rows: expected at least one text to learn, found none.")

    def task_input(self, row: WritingRow) -> Any:
        return row.example.inputs

    def head_config(self, labels: Sequence[str]) -> dict[str, Any]:
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
        inputs, options = row.example.inputs, row.example.options
        prompt: Prompt = task.ask(inputs, options, info)
        decoding: Decoding = task.decoding(inputs, options, info)
        return {
            "prompt": prompt if isinstance(prompt, str) else [turn.model_dump() for turn in prompt],
            "target": row.example.target,
            "languages": [decoding.source_language, decoding.target_language],
            "max_length": max_length,
        }

    def encoding_notes(self, features: Sequence[Feature]) -> list[str]:
        cut = sum(feature.source.cut for feature in features)
        return [f"{plural(cut, 'text')} of {len(features)} did not fit max_length and were cut"] if cut else []

    def collate(self, features: Sequence[Feature], tokenizer: Any) -> dict[str, Any]:
        return writing.collate(features, tokenizer)

    def targets(self, features: Sequence[Feature], width: int) -> Any:
        return writing.targets(features)

    def forward(self, model: Any, batch: Mapping[str, Any]) -> Any:
        return writing.forward(model, batch)

    def preprocess_logits_for_metrics(self, logits: Any, labels: Any) -> Any:
        return writing.logprobs(logits, labels)

    def loss(self, logits: Any, labels: Any, smoothing: float) -> Any:
        """Cross entropy over the tokens of the targets, each token counting the same."""
        from torch.nn import functional

        return functional.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=writing.IGNORED, label_smoothing=smoothing
        )

    def serving_logits(self, logits: Any, feature: Feature) -> list[float]:
        values: list[float] = logits[: len(feature.target)].tolist()
        return values

    def measure(self, logits: Sequence[Any], features: Sequence[Feature]) -> dict[str, float]:
        """Mean negative log-likelihood of a target token in nats, and its exponential."""
        total = -sum(float(row[: len(feature.target)].sum()) for row, feature in zip(logits, features, strict=True))
        loss = total / max(1, sum(len(feature.target) for feature in features))
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}

    def assess(self, dataset: Dataset, results: Sequence[Any]) -> Assessment:
        task: Any = self.task
        written = [task.target(result) for result in results]
        references = [row.example.target for row in dataset.rows]
        rowwise = text_metrics.measure(task.text_metrics, written, references)
        # The later kinds tell more of a single text than the earlier: chrF more than BLEU, ROUGE than exact match.
        first = dict(reversed(rowwise.items()))
        values = {name: counts.of() for name, counts in rowwise.items()}
        return Assessment(values, rowwise=first, notes=text_metrics.notes(rowwise))
