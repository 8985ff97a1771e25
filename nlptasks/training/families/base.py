"""What differs between families in training: columns, features, loss and metrics.

The loop, the checkpoints, the gate and the report are the same for all. `Task.trainer` names a task's FamilyTrainer.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, cast

from nlptasks.data.labelled_texts import DataOptions
from nlptasks.data.rows import Source, Table
from nlptasks.data.tables import read_tables
from nlptasks.errors import DataError, TrainingError
from nlptasks.model import CLASSIFY_MEAN, GENERATE, Head
from nlptasks.task import AnyTask, Recipe
from nlptasks.training.families.rows import TaskRow, parse_rows, row_of

if TYPE_CHECKING:
    from nlptasks.model import ModelInfo, Text
    from nlptasks.store.adapters import AdapterFolder
    from nlptasks.training.metrics.rowwise import RowCounts


class Setting(NamedTuple):
    """A family's own recipe setting: its default, the rule for its values in words, and the rule."""

    default: Any
    rule: str
    holds: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Whether a setting is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


class Dataset(Protocol):
    """Checked rows. `labels` are the head's; `counts` are the rows, entities or answers of each label."""

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

    `request` is the input of the serving model that gives the same tokens, in JSON values; `source` is what the
    metrics need in addition.
    """

    inputs: Mapping[str, list[int]]
    target: Any
    request: Any
    source: Any = None

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


Vectors = Callable[[Sequence[Feature]], Any]
"""The mean of a frozen base's last hidden states over the tokens of each feature: shape (features, hidden size)."""


@dataclass(frozen=True)
class Calibration:
    """Temperature and threshold that were fitted on held-out rows, and the metrics with them."""

    temperature: float = 1.0
    threshold: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Assessment:
    """The quality of served answers to labelled rows.

    `table` has an entry for each label or kind, with its `label`, metrics and number of `rows`.
    `confusion[right][answered]` counts rows in the order of `labels`; it is empty where a row has no single label.
    `rowwise` are the metrics that are functions of sums over rows, the one that judges a row alone first.
    `scores` are those of the answers, and `right` whether each answer is right. `notes` explain metrics.
    """

    metrics: dict[str, float]
    table: tuple[dict[str, Any], ...] = ()
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    rowwise: Mapping[str, RowCounts] = field(default_factory=dict)
    scores: Sequence[float] = ()
    right: Sequence[float] = ()
    notes: Sequence[str] = ()


class FamilyTrainer(ABC):
    """The family's part of a training.

    Logits reach the metrics as numpy arrays, one per feature, in the shape that `preprocess_logits_for_metrics` gives
    them: (labels,) or (tokens, labels), or log-probabilities of shape (tokens,). Arrays of several features may be
    padded at the end.
    """

    metrics: ClassVar[Mapping[str, bool]]
    """The metrics that a recipe may name, and whether higher is better."""
    headline: ClassVar[str]
    """The metric that stands for an epoch in one line of progress."""
    extras: ClassVar[Mapping[str, Setting]] = {}
    """Settings that a recipe may have under `extra`."""
    unit: ClassVar[str] = "rows"
    """What is counted where there are no labels."""
    measures_ranges: ClassVar[bool] = False
    """Whether the activation ranges of an encoder are measured after training, which makes dtype int8 faster and less
    exact. Heads on single tokens suffer more: the NER adapter's F1 was 0.730 with them and 0.738 without, and of 400
    answers on SQuAD 379 were those of float32 with them and 384 without."""

    chosen_head: Head | None = None
    """The head of the adapter, where that is not the task's first one."""
    chosen_multi_label: bool | None = None
    """Whether a row may have several labels, where the task leaves that to the data."""

    def __init__(self, task: AnyTask, serving: Mapping[str, Any] | None = None) -> None:
        """`serving` are the options of the task under which the data is read."""
        self.task = task
        self.serving = dict(serving or {})

    def extra(self, recipe: Recipe) -> dict[str, Any]:
        """The settings under `extra` of a recipe, with defaults."""
        return {name: recipe.extra.get(name, setting.default) for name, setting in self.extras.items()}

    @property
    def trained_head(self) -> Head:
        """The head that is trained; a task without one trains the base to generate."""
        return self.chosen_head or self.task.head or GENERATE

    @property
    def verb(self) -> str:
        return self.trained_head.verb

    @property
    def multi_label(self) -> bool:
        of_task = getattr(self.task, "multi_label", False)
        return bool(of_task if self.chosen_multi_label is None else self.chosen_multi_label)

    def read(
        self,
        sources: Sequence[Source],
        options: DataOptions,
        *,
        labels: Sequence[str] | None = None,
        offline: bool = False,
        split: str = "train",
    ) -> Dataset:
        """Read and check rows of files and Hub data sets.

        Args:
            sources: files and `hub:ORG/NAME[@REVISION][:SPLIT]`.
            options: columns and label names.
            labels: those of an adapter or of the training rows; None for the task's or the data's.
            offline: whether the network must not be used.
            split: the split of a Hub data set whose source names none.

        Raises:
            DataError: naming every bad row of every source.
        """
        return self.parse(read_tables(sources, options, offline=offline, split=split), options, labels)

    def parse(self, tables: Sequence[Table], options: DataOptions, labels: Sequence[str] | None) -> Dataset:
        """Check the rows of tables, as `read` describes; by default with `parse_record`. Raises DataError."""
        known = labels or options.labels or tuple(getattr(self.task, "labels", ()))
        return parse_rows(self, tables, options, known)

    def parse_record(self, fields: Mapping[str, Any], place: str, labels: Sequence[str]) -> list[Any]:
        """The rows to learn from one record; by default one `TaskRow`.

        Raises:
            ValueError: with what was expected and what was found; the reader adds the place.
        """
        inputs, answer = row_of(fields, self.task)
        return [TaskRow(inputs, self.parse_label(answer, labels), place)]

    def parse_label(self, value: Any, labels: Sequence[str]) -> Any:
        """A record's answer as a row's `label`; raises ValueError as `parse_record` does."""
        return value

    def texts(self, sources: Sequence[Source], options: DataOptions, *, offline: bool = False) -> list[str]:
        """`row_text` of the rows of sources whose labels do not matter."""
        return [self.row_text(row) for row in self.read(sources, options, offline=offline).rows]

    def row_text(self, row: Any) -> str:
        """The text by which rows are equal; equal rows stay on one side of a split."""
        return "\n".join(value for _, value in row.inputs if isinstance(value, str))

    def stratum(self, row: Any) -> Hashable:
        """The group of a row; a split keeps the share of each group."""
        return cast(Hashable, row.label)

    def reference_text(self, dataset: Dataset, row: Any) -> str:
        """The right answer to a row, to display."""
        return str(row.label)

    def answer_text(self, result: Any) -> str:
        """A served answer, to display beside the right one."""
        return str(result)

    def columns(self, names: Sequence[str], options: DataOptions) -> tuple[str | None, str | None]:
        """The columns of text and label among a file's; None where columns are not chosen by name."""
        return options.text_column, options.label_column

    def check_training(self, rows: Sequence[Any]) -> None:
        """Raise DataError if nothing can be learnt from the rows."""
        different = {self.stratum(row) for row in rows}
        if len(different) < 2:
            raise DataError(f"Training rows: expected at least two different labels, found {len(different)}.")

    def augment(self, rows: list[Any], recipe: Recipe) -> list[Any]:
        """The rows with those that the recipe derives from them; deterministic for a seed."""
        return rows

    def head_config(self, labels: Sequence[str]) -> dict[str, Any]:
        """Settings of the model's configuration for the head's outputs: one per label, or a single one."""
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
        """Model inputs of at most `max_length` tokens, without padding: one or more per row.

        `info` describes the model that writes; a head does not need it. By default one input per row, of `head_input`.
        """
        if not rows:
            return []
        requests = [self.head_input(row) for row in rows]
        columns = [requests] if isinstance(requests[0], str) else [list(part) for part in zip(*requests, strict=True)]
        options = {"truncation": True, "max_length": max_length, "return_offsets_mapping": tokenizer.is_fast}
        encoded = tokenizer(*columns, **options)
        spans = encoded.pop("offset_mapping", None)
        return [
            Feature(
                {name: encoded[name][i] for name in encoded},
                self.head_target(row, labels),
                _as_read(request, spans[i], encoded.sequence_ids(i)) if spans else request,
            )
            for i, (row, request) in enumerate(zip(rows, requests, strict=True))
        ]

    def head_input(self, row: Any) -> Text:
        """The text or pair of texts that the task gives to the model for a row when it serves."""
        return self.row_text(row)

    def head_target(self, row: Any, labels: Sequence[str]) -> Any:
        """The right answer of the head to a row, which `targets` turns into tensors."""
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
        """The targets of a batch as one tensor; its rows are `width` tokens long."""

    def encoding_notes(self, features: Sequence[Feature]) -> list[str]:
        """Notes on the encoded rows for the user, such as how many were cut."""
        return []

    def before_training(self, features: Sequence[Feature], labels: Sequence[str], recipe: Recipe) -> None:  # noqa: B027
        """Called once before the first step, with the encoded training rows."""

    def forward(self, model: Any, batch: Mapping[str, Any]) -> Any:
        """The tensor that the loss is computed from."""
        return self.logits(model(**{name: value for name, value in batch.items() if name != "labels"}))

    def logits(self, outputs: Any) -> Any:
        """The tensor that the loss is computed from, out of a transformers model's outputs."""
        return outputs.logits

    def preprocess_logits_for_metrics(self, logits: Any, labels: Any) -> Any:
        """The part of a batch's logits, shape (rows, ...), that the metrics need; by default all."""
        return logits

    @abstractmethod
    def loss(self, logits: Any, labels: Any, smoothing: float) -> Any:
        """The mean loss of a batch, computed in float32."""

    def serving_logits(self, logits: Any, feature: Feature) -> list[float]:
        """The logits that serving gives for a feature's request, out of the feature's logits."""
        values: list[float] = logits.tolist()
        return values

    def task_input(self, row: Any) -> Any:
        """The input of the task for a row."""
        return row.inputs if isinstance(row, TaskRow) else self.row_text(row)

    def label_names(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """The labels of the data that a head's outputs stand for."""
        return tuple(outputs)

    def check_labels(self, dataset: Dataset, result: Any) -> None:  # noqa: B027
        """Raise DataError if a served answer shows that the model has other labels than the rows."""

    @abstractmethod
    def assess(self, dataset: Dataset, results: Sequence[Any]) -> Assessment:
        """Metrics of served answers, one per row."""

    @abstractmethod
    def measure(self, logits: Sequence[Any], features: Sequence[Feature]) -> dict[str, float]:
        """Metrics of evaluated features."""

    def baselines(
        self, training: Sequence[Feature], held_out: Sequence[Feature], vectors: Vectors
    ) -> dict[str, dict[str, float]]:
        """Metrics on the held-out features of answers that need no training, by the name of the baseline.

        `vectors` gives the frozen base's vectors of features. By default there are none.
        """
        return {}

    def calibrate(self, logits: Sequence[Any], features: Sequence[Feature]) -> Calibration:
        """Fit temperature and threshold, where the family has any."""
        return Calibration(metrics=self.measure(logits, features))


def _as_read(request: Text, spans: Sequence[tuple[int, int]], segments: Sequence[int | None]) -> Text:
    """A text or pair as far as its tokens were read, so that serving reads the same ones."""
    parts = (request,) if isinstance(request, str) else request
    ends = [0] * len(parts)
    for (_, end), segment in zip(spans, segments, strict=True):
        if segment is not None:
            ends[segment] = max(ends[segment], end)
    first, *others = (text[:end] or text for text, end in zip(parts, ends, strict=True))
    return (first, others[0]) if others else first


def family_trainer(
    task: AnyTask, serving: Mapping[str, Any] | None = None, *, verb: str = "", multi_label: bool | None = None
) -> FamilyTrainer:
    """The trainer of a task's family, for data that is read under these options of the task.

    Args:
        task: a task.
        serving: options of the task.
        verb: that of the head to train, one of `task.heads`; "" for the first of them.
        multi_label: whether a row may have several labels; None leaves it to the task.

    Raises:
        TrainingError: the task names no trainer, or one that cannot be imported.
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
    family = trainer(task, serving)
    family.chosen_head = next((head for head in task.heads if head.verb == verb), None)
    family.chosen_multi_label = multi_label
    return family


def recipe_trainer(task: AnyTask, recipe: Recipe) -> FamilyTrainer:
    """The trainer of a task's family for a recipe; raises as `family_trainer` does."""
    verb = CLASSIFY_MEAN.verb if recipe.few_shot else ""
    return family_trainer(task, recipe.extra.get("options"), verb=verb, multi_label=recipe.extra.get("multi_label"))


def adapter_trainer(
    task: AnyTask, adapter: AdapterFolder | None, serving: Mapping[str, Any] | None = None
) -> FamilyTrainer:
    """The trainer of a task's family as an adapter was trained; raises as `family_trainer` does."""
    manifest = adapter.manifest if adapter else None
    if manifest is None:
        return family_trainer(task, serving)
    return family_trainer(task, serving, verb=manifest.verb, multi_label=manifest.multi_label)
