"""Text classification's part of a training: labels, features, loss and metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from nlptasks.data import DataOptions, match_columns
from nlptasks.data.labelled_texts import Example, Examples, read_examples, read_texts
from nlptasks.data.rows import Source, Table
from nlptasks.data.splits import sample
from nlptasks.errors import DataError, InvalidInputError
from nlptasks.families.text_classification import readable
from nlptasks.model import ModelInfo
from nlptasks.results import Classification
from nlptasks.task import Recipe
from nlptasks.training.families.base import (
    Assessment,
    Calibration,
    Dataset,
    FamilyTrainer,
    Feature,
    Setting,
    Vectors,
    is_number,
)
from nlptasks.training.metrics import labels as metrics
from nlptasks.training.metrics import rowwise
from nlptasks.training.metrics.calibration import fit_temperature, fit_threshold

BASELINE_ROWS = 2000
"""Training rows of the logistic regression that a training must beat, at most."""

BASELINE_LOGIT = 10.0


def _is_weights(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(is_number(weight) and weight > 0 for weight in value.values())
    return value is None or value == "balanced"


class LabelTrainer(FamilyTrainer):
    """One label for what the head reads, or several for a task with `multi_label`: logits of shape (labels,)."""

    metrics = metrics.HIGHER_IS_BETTER
    headline = "accuracy"
    extras: ClassVar[Mapping[str, Setting]] = {
        "class_weights": Setting(None, '"balanced", or a weight for each label by its name', _is_weights),
        "multi_label": Setting(None, "true or false", lambda value: isinstance(value, bool)),
    }
    """`class_weights` are the labels' shares in the loss: "balanced" gives all labels the same, whatever their rows.
    `multi_label` says whether a row may have several labels; by default the task does."""

    class_weights: Sequence[float] | None = None

    def before_training(self, features: Sequence[Feature], labels: Sequence[str], recipe: Recipe) -> None:
        chosen = self.extra(recipe)["class_weights"]
        if chosen is None:
            self.class_weights = None
        elif isinstance(chosen, Mapping):
            if strange := [name for name in chosen if name not in labels]:
                expected = ", ".join(labels)
                problem = f"extra.class_weights: expected labels of {expected}, found {strange[0]!r}."
                raise InvalidInputError("The recipe is not valid", [problem])
            self.class_weights = [float(chosen.get(name, 1.0)) for name in labels]
        else:
            targets = np.asarray([feature.target for feature in features])
            counts = targets.sum(0) if self.multi_label else np.bincount(targets, minlength=len(labels))
            others = len(targets) - counts if self.multi_label else np.full(len(labels), len(targets) / len(labels))
            self.class_weights = (others / np.maximum(counts, 1)).tolist()

    def parse_label(self, value: Any, labels: Sequence[str]) -> int | tuple[int, ...]:
        names = value if isinstance(value, list | tuple) else str(value).split("|") if self.multi_label else [value]
        strange = [name for name in names if str(name).strip() not in labels]
        if strange:
            raise ValueError(f"expected one of {', '.join(labels)}, found {strange[0]!r}")
        numbers = sorted({labels.index(str(name).strip()) for name in names})
        return tuple(numbers) if self.multi_label else numbers[0]

    def reference_text(self, dataset: Dataset, row: Any) -> str:
        return ", ".join(_names(dataset, row))

    def answer_text(self, result: Classification) -> str:
        return ", ".join(result.labels) or "no label"

    def head_config(self, labels: Sequence[str]) -> dict[str, Any]:
        kind = "multi_label_classification" if self.multi_label else "single_label_classification"
        return {**super().head_config(labels), "problem_type": kind}

    def targets(self, features: Sequence[Feature], width: int) -> Any:
        import torch

        kind = torch.float32 if self.multi_label else torch.long
        return torch.tensor([feature.target for feature in features], dtype=kind)

    def loss(self, logits: Any, labels: Any, smoothing: float) -> Any:
        from torch.nn import functional

        logits = logits.float()
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        if not self.multi_label:
            return functional.cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing)
        smooth = labels * (1 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights)

    def check_labels(self, dataset: Dataset, result: Classification) -> None:
        known = {score.label.casefold() for score in result.scores}
        if any(rows and name.casefold() not in known for name, rows in dataset.counts.items()):
            raise DataError(
                f"The data has the labels {', '.join(dataset.labels)}; {result.model} answers "
                f"{', '.join(sorted(score.label for score in result.scores))}. Name the data's labels with --labels, "
                "in the order of their numbers, as the model calls them, or --rename them."
            )

    def assess(self, dataset: Dataset, results: Sequence[Classification]) -> Assessment:
        labels = _ordered(dataset.labels, results[0])
        place = {name.casefold(): index for index, name in enumerate(labels)}
        chances = _chances(results, place)
        if self.multi_label:
            references = _marked([_names(dataset, row) for row in dataset.rows], place)
            predictions = _marked([result.labels for result in results], place)
            return Assessment(
                metrics.multi_label(chances, references, predictions=predictions),
                labels=labels,
                rowwise={
                    "accuracy": rowwise.mean((predictions == references).all(axis=1)),
                    "macro_f1": rowwise.macro_f1(predictions, references, absent=True),
                },
                scores=np.maximum(chances, 1 - chances).ravel().tolist(),
                right=(predictions == references).ravel().tolist(),
            )
        right = [place[dataset.labels[row.label].casefold()] for row in dataset.rows]
        answered = chances.argmax(axis=1)
        one_of = np.eye(len(labels))
        return Assessment(
            metrics.single_label(chances, right),
            tuple(metrics.per_label(right, answered.tolist(), labels)),
            labels,
            tuple(map(tuple, metrics.confusion(right, answered.tolist(), len(labels)))),
            rowwise={
                "accuracy": rowwise.mean(answered == right),
                "macro_f1": rowwise.macro_f1(one_of[answered], one_of[right]),
            },
            scores=chances.max(axis=1).tolist(),
            right=(answered == right).tolist(),
        )

    def measure(self, logits: Sequence[Any], features: Sequence[Feature]) -> dict[str, float]:
        return self._measure(*_arrays(logits, features))

    def baselines(
        self, training: Sequence[Feature], held_out: Sequence[Feature], vectors: Vectors
    ) -> dict[str, dict[str, float]]:
        """The most frequent answer, and for single labels a logistic regression on the frozen base's vectors."""
        rows, others = [np.asarray([feature.target for feature in part]) for part in (training, held_out)]
        answers, counts = np.unique(rows, axis=0, return_counts=True)
        usual = answers[counts.argmax()]
        if self.multi_label:
            constant = np.where(usual, BASELINE_LOGIT, -BASELINE_LOGIT)
            return {"majority_class": self._measure(np.tile(constant, (len(others), 1)), others)}
        few = sample(training, BASELINE_ROWS, 13, label=lambda feature: feature.target)
        chances = metrics.regression(vectors(few), [feature.target for feature in few], vectors(held_out))
        width = max(int(others.max()) + 1, chances.shape[1])
        scores = [np.eye(width)[[int(usual)] * len(others)], np.pad(chances, ((0, 0), (0, width - chances.shape[1])))]
        majority, regression = (self._measure(np.log(np.maximum(each, metrics.TINY)), others) for each in scores)
        return {"majority_class": majority, "frozen_vectors": regression}

    def calibrate(self, logits: Sequence[Any], features: Sequence[Feature]) -> Calibration:
        values, references = _arrays(logits, features)
        errors = round((1 - self._measure(values, references)["accuracy"]) * len(values))
        chances_of = metrics.sigmoid if self.multi_label else metrics.softmax
        loss = metrics.binary_loss if self.multi_label else metrics.label_loss
        temperature = fit_temperature(lambda t: loss(chances_of(values / t), references), len(values), errors)
        chances = chances_of(values / temperature)
        if not self.multi_label:
            return Calibration(temperature, None, metrics.single_label(chances, references))
        threshold = fit_threshold(chances, references)
        return Calibration(temperature, threshold, metrics.multi_label(chances, references, threshold or 0.5))

    def _measure(self, logits: Any, labels: Any) -> dict[str, float]:
        if self.multi_label:
            return metrics.multi_label(metrics.sigmoid(logits), labels)
        return metrics.single_label(metrics.softmax(logits), labels)

    def head_target(self, row: Any, labels: Sequence[str]) -> int | list[float]:
        if isinstance(row.label, int):
            return row.label
        return [float(index in row.label) for index in range(len(labels))]


class TextClassificationTrainer(LabelTrainer):
    """One label a text, or several for a task with `multi_label`."""

    measures_ranges = True

    def parse(self, tables: Sequence[Table], options: DataOptions, labels: Sequence[str] | None) -> Examples:
        labels = labels or getattr(self.task, "labels", ())
        return read_examples(tables, labels=labels, options=options, multi_label=self.multi_label)

    def texts(self, sources: Sequence[Source], options: DataOptions, *, offline: bool = False) -> list[str]:
        return read_texts(sources, options, offline=offline)

    def row_text(self, row: Example) -> str:
        return row.text

    def encode(
        self,
        rows: Sequence[Example],
        labels: Sequence[str],
        tokenizer: Any,
        max_length: int,
        info: ModelInfo | None = None,
    ) -> list[Feature]:
        """One input per row, with the names of emoji where serving reads these."""
        from nlptasks.runtime.verbs.encoding import reads_emoji

        known = reads_emoji(tokenizer)
        named = [dataclasses.replace(row, text=readable(row.text, known)) for row in rows]
        return super().encode(named, labels, tokenizer, max_length, info)

    def columns(self, names: Sequence[str], options: DataOptions) -> tuple[str | None, str | None]:
        matched = match_columns("", names, ("text", "label"))
        return options.column("text") or matched.get("text"), options.column("label") or matched.get("label")


def _ordered(names: Sequence[str], result: Classification) -> tuple[str, ...]:
    """The model's labels: those of the data in its order, then the others."""
    known = {score.label.casefold(): score.label for score in result.scores}
    first = [known[name.casefold()] for name in names if name.casefold() in known]
    return (*first, *sorted(label for label in known.values() if label not in first))


def _names(dataset: Dataset, row: Any) -> list[str]:
    return [dataset.labels[index] for index in (row.label if isinstance(row.label, tuple) else (row.label,))]


def _chances(results: Sequence[Classification], place: Mapping[str, int]) -> Any:
    """Probabilities of shape (rows, labels)."""
    chances = np.zeros((len(results), len(place)))
    for row, result in enumerate(results):
        for score in result.scores:
            chances[row, place[score.label.casefold()]] = score.score
    return chances


def _marked(rows: Sequence[Sequence[str]], place: Mapping[str, int]) -> Any:
    """1 for each of a row's labels, 0 for the others; shape (rows, labels)."""
    marks = np.zeros((len(rows), len(place)))
    for index, names in enumerate(rows):
        for name in names:
            marks[index, place[name.casefold()]] = 1
    return marks


def _arrays(logits: Sequence[Any], features: Sequence[Feature]) -> tuple[Any, Any]:
    """Logits of shape (rows, labels), and the targets."""
    return np.asarray(logits, dtype=np.float64), np.asarray([feature.target for feature in features])
