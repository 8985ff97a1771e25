"""What differs between families in training: columns, features, loss and metrics.

The loop, the checkpoints, the gate and the report are the same for all. A task names who trains it: `Task.trainer`.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from nlptasks.data.labelled_texts import DataOptions
from nlptasks.data.rows import Table
from nlptasks.data.tables import read_tables
from nlptasks.errors import DataError, TrainingError
from nlptasks.model import GENERATE, Head
from nlptasks.task import AnyTask, Recipe
from nlptasks.training.families.rows import TaskRow, parse_rows, row_of

if TYPE_CHECKING:
    from nlptasks.model import ModelInfo, Text


class Setting(NamedTuple):
    """A family's own recipe setting: its default, the rule for its values in words, and the rule."""

    default: Any
    rule: str
    holds: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Whether a setting is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


class Dataset(Protocol):
    """Checked rows. `labels` are the head's; `counts` says how often each thing to learn stands in the rows."""

    rows: list[Any]
    labels: tuple[str, ...]
    sources: list[dict[str, Any]]
    notes: list[str]
    warnings: list[str]

    @property
    def counts(self) -> dict[str, int]: ...


@dataclass(frozen=True)
class Feature:
    """One model input: token ids and masks by name, and its target.

    `request` is what serving is asked to read the same tokens, in JSON values; `source` is what measuring needs
    besides.
    """

    inputs: Mapping[str, list[int]]
    target: Any
    request: Any
    source: Any = None

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


@dataclass(frozen=True)
class Calibration:
    """What was fitted on held-out rows, and the metrics with it."""

    temperature: float = 1.0
    threshold: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Assessment:
    """What served answers to labelled rows are worth.

    `table` has a row for each label or kind, with its `label`, metrics and `rows`. `confusion[right][answered]`
    counts rows in the order of `labels`; it is empty where a row has no single label.
    """

    metrics: dict[str, float]
    table: tuple[dict[str, Any], ...] = ()
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()


class FamilyTrainer(ABC):
    """The family's part of a training. `metrics` maps the names a recipe may give to "higher is better".

    `headline` is the metric that one line about an epoch names. What is measured are numpy arrays, one a feature, of
    what `kept` keeps: logits of shape (labels,) or (tokens, labels), log-probabilities of shape (tokens,). Arrays of
    several features may be padded behind a feature's own tokens.
    """

    metrics: ClassVar[Mapping[str, bool]]
    headline: ClassVar[str]
    extras: ClassVar[Mapping[str, Setting]] = {}
    """Settings that a recipe may have under `extra`."""
    unit: ClassVar[str] = "rows"
    """What rows are called where there are no labels to count."""
    measures_ranges: ClassVar[bool] = False
    """Whether an encoder's ranges are measured after a training, with which dtype int8 is quicker and rounds more. What
    answers for each token bears it less: the NER adapter's F1 was 0.730 with them and 0.738 without, and of 400
    answers on SQuAD 379 stayed as in float32 with them and 384 without."""

    def __init__(self, task: AnyTask, serving: Mapping[str, Any] | None = None) -> None:
        """`serving` are options of the task that the data is read for."""
        self.task = task
        self.serving = dict(serving or {})

    def extra(self, recipe: Recipe) -> dict[str, Any]:
        """The family's own settings: the recipe's, else the defaults."""
        return {name: recipe.extra.get(name, setting.default) for name, setting in self.extras.items()}

    @property
    def trained_head(self) -> Head:
        """What is trained on top of the base; of a task without a head the base's own output layer writes."""
        return self.task.head or GENERATE

    @property
    def verb(self) -> str:
        return self.trained_head.verb

    @property
    def multi_label(self) -> bool:
        return bool(getattr(self.task, "multi_label", False))

    def read(
        self,
        sources: Sequence[str],
        options: DataOptions,
        *,
        labels: Sequence[str] | None = None,
        offline: bool = False,
        split: str = "train",
    ) -> Dataset:
        """Read and check rows of files and Hub data sets.

        Args:
            sources: files and `hub:ORG/NAME[@REVISION][:SPLIT]`.
            options: columns and label names that the caller gives.
            labels: those of an adapter or of the training rows; None to take the task's or the data's.
            offline: whether the network must not be used.
            split: the split of a Hub data set that names none.

        Raises:
            DataError: naming every bad row of every source.
        """
        return self.parse(read_tables(sources, options, offline=offline, split=split), options, labels)

    def parse(self, tables: Sequence[Table], options: DataOptions, labels: Sequence[str] | None) -> Dataset:
        """Check the rows of tables, as `read` describes: by default those of `rows_of`. Raises DataError."""
        known = labels or options.labels or tuple(getattr(self.task, "labels", ()))
        return parse_rows(self, tables, options, known)

    def rows_of(self, fields: Mapping[str, Any], place: str, labels: Sequence[str]) -> list[Any]:
        """What is learnt from one record; by default one `TaskRow`.

        Raises:
            ValueError: saying what was expected and what was found; the reader adds the place.
        """
        inputs, answer = row_of(fields, self.task)
        return [TaskRow(inputs, self.parse_label(answer, labels), place)]

    def parse_label(self, value: Any, labels: Sequence[str]) -> Any:
        """A record's answer as a row's `label`; raises ValueError as `rows_of` does."""
        return value

    def texts(self, sources: Sequence[str], options: DataOptions, *, offline: bool = False) -> list[str]:
        """What `text_of` says of the rows of sources whose labels do not matter."""
        return [self.text_of(row) for row in self.read(sources, options, offline=offline).rows]

    def text_of(self, row: Any) -> str:
        """The text that tells whether two rows are the same, and on which side of a split they stand."""
        return "\n".join(value for _, value in row.inputs if isinstance(value, str))

    def label_of(self, row: Any) -> Hashable:
        """What a split keeps the shares of."""
        label: Hashable = row.label
        return label

    def right_of(self, read: Dataset, row: Any) -> str:
        """What the row says the answer is, for a person."""
        return str(row.label)

    def columns(self, names: Sequence[str], options: DataOptions) -> tuple[str | None, str | None]:
        """Of a file's columns those that are read as text and as label; None where columns are not chosen by name."""
        return options.text_column, options.label_column

    def check_training(self, rows: Sequence[Any]) -> None:
        """Raise DataError if nothing can be learnt from the rows."""
        different = {self.label_of(row) for row in rows}
        if len(different) < 2:
            raise DataError(f"Training rows: expected at least two different labels, found {len(different)}.")

    def augment(self, rows: list[Any], recipe: Recipe) -> list[Any]:
        """The rows with what the recipe makes of them besides; the same for a seed."""
        return rows

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        """Settings of the model's configuration that give the head its outputs, one without labels."""
        if not labels:
            return {"num_labels": 1}
        numbers = {name: index for index, name in enumerate(labels)}
        return {"num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": numbers}

    def encode(
        self,
        rows: Sequence[Any],
        labels: Sequence[str],
        tokenizer: Any,
        max_length: int,
        info: ModelInfo | None = None,
    ) -> list[Feature]:
        """Model inputs of at most `max_length` tokens, without padding: one or more a row.

        `info` is what a task may know of the model; where a head is trained nothing depends on it. By default one a
        row, of what `request_of` gives.
        """
        requests = [self.request_of(row) for row in rows]
        parts = [(request,) if isinstance(request, str) else request for request in requests]
        encoded = [tokenizer(*part, truncation=True, max_length=max_length) for part in parts]
        return [
            Feature(dict(inputs), self.target_of(row, labels), request)
            for row, request, inputs in zip(rows, requests, encoded, strict=True)
        ]

    def request_of(self, row: Any) -> Text:
        """The text or the pair that the head reads for a row: what the task hands to the model when it serves."""
        return self.text_of(row)

    def target_of(self, row: Any, labels: Sequence[str]) -> Any:
        """What the head should answer for a row, as `targets` makes tensors of."""
        return row.label

    def collate(self, features: Sequence[Feature], tokenizer: Any) -> dict[str, Any]:
        """A padded batch of tensors on the CPU."""
        from nlptasks.runtime.verbs.encoding import pad

        # The same padding as in serving, so that a head sees the same positions.
        batch = pad([dict(feature.inputs) for feature in features], tokenizer.pad_token_id or 0, "cpu")
        batch["labels"] = self.targets(features, batch["input_ids"].shape[1])
        return batch

    @abstractmethod
    def targets(self, features: Sequence[Feature], width: int) -> Any:
        """The targets of a batch whose rows are `width` tokens long, as one tensor."""

    def notes_on(self, features: Sequence[Feature]) -> list[str]:
        """What the user should know of the encoded rows."""
        return []

    def forward(self, model: Any, batch: Mapping[str, Any]) -> Any:
        """The tensor that the loss is computed from."""
        return self.logits(model(**{name: value for name, value in batch.items() if name != "labels"}))

    def logits(self, outputs: Any) -> Any:
        """The tensor that the loss is computed from, out of a transformers model's outputs."""
        return outputs.logits

    def kept(self, logits: Any, labels: Any) -> Any:
        """What measuring needs of a batch's logits, shape (rows, ...): all of them, unless there are too many."""
        return logits

    @abstractmethod
    def loss(self, logits: Any, labels: Any, smoothing: float) -> Any:
        """The mean loss of a batch, computed in float32."""

    def served(self, logits: Any, feature: Feature) -> list[float]:
        """Of a feature's logits those that serving gives for its request."""
        values: list[float] = logits.tolist()
        return values

    def input_of(self, row: Any) -> Any:
        """What serving is asked to answer a row."""
        return row.inputs if isinstance(row, TaskRow) else self.text_of(row)

    def check_labels(self, read: Dataset, result: Any) -> None:  # noqa: B027
        """Raise DataError if the first of the served answers shows that the model has other labels than the rows."""

    @abstractmethod
    def assess(self, read: Dataset, results: Sequence[Any]) -> Assessment:
        """Metrics of served answers, one a row."""

    @abstractmethod
    def measure(self, logits: Sequence[Any], features: Sequence[Feature]) -> dict[str, float]:
        """Metrics of evaluated features."""

    def calibrate(self, logits: Sequence[Any], features: Sequence[Feature]) -> Calibration:
        """Fit temperature and threshold, where the family has any."""
        return Calibration(metrics=self.measure(logits, features))


def family_trainer(task: AnyTask, serving: Mapping[str, Any] | None = None) -> FamilyTrainer:
    """The trainer of a task's family, for data that is read with these options of the task.

    Raises:
        TrainingError: the task names no trainer, or one that cannot be had.
    """
    if not task.trainer:
        raise TrainingError(
            f"{task.name} belongs to the family {task.family}, which cannot be trained: expected a class with "
            "trainer = 'package.module:Class', found none."
        )
    try:
        trainer = pkgutil.resolve_name(task.trainer)
    except (ImportError, AttributeError, ValueError) as error:
        raise TrainingError(f"{task.name}: its trainer {task.trainer!r} cannot be imported ({error}).") from error
    if not (isinstance(trainer, type) and issubclass(trainer, FamilyTrainer)):
        raise TrainingError(f"{task.name}: expected {task.trainer!r} to be a FamilyTrainer, found {trainer!r}.")
    return trainer(task, serving)
