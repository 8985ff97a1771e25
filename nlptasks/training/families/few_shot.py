"""Text classification from few examples: a linear layer on the vectors of a base that stays as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nlptasks.data import splits
from nlptasks.families.text_classification import ClassificationOptions, TextClassification
from nlptasks.model import CLASSIFY_MEAN, Logits, Model, ModelInfo, Offsets, Text
from nlptasks.results import Classification
from nlptasks.task import TextInput
from nlptasks.training.metrics.linear import Fold, LinearLayer

if TYPE_CHECKING:
    from pathlib import Path

FOLDS = 5


def folds_of(texts: Sequence[str], strata: Sequence[Hashable], count: int, seed: int) -> list[Fold]:
    """Folds as indices of rows; equal texts stay together, and a label's only text is never left out.

    `strata` are the labels of the rows.
    """
    distinct: dict[Hashable, set[str]] = {}
    for text, stratum in zip(texts, strata, strict=True):
        distinct.setdefault(stratum, set()).add(splits.normalised(text))
    alone = {index for index, stratum in enumerate(strata) if len(distinct[stratum]) == 1}
    most = min((len(each) for each in distinct.values() if len(each) > 1), default=0)
    if not most:
        return []
    parts = splits.folds(
        range(len(texts)), max(2, min(count, most)), seed, text=lambda i: texts[i], label=lambda i: strata[i]
    )
    return [([*rows, *sorted(alone.intersection(others))], [i for i in others if i not in alone])
            for rows, others in parts]  # fmt: skip


class _WithLayer:
    """A base that answers CLASSIFY_MEAN by a linear layer on its vectors, as far as text classification asks it."""

    def __init__(self, model: Model, info: ModelInfo, layer: LinearLayer) -> None:
        self._model = model
        self._layer = layer
        self.info = info

    def apply(self, verb: str, items: Sequence[Text]) -> list[Any]:
        vectors = self._model.embed([item for item in items if isinstance(item, str)])
        scores = self._layer.logits(np.asarray([vector.values for vector in vectors])).tolist()
        return [
            Logits(tuple(values), vector.num_tokens, vector.truncated, unknown=vector.unknown, unread=vector.unread)
            for values, vector in zip(scores, vectors, strict=True)
        ]

    def offsets(self, texts: Sequence[str]) -> list[Offsets]:
        return self._model.offsets(texts)


class FewShotTask(TextClassification):
    """A classifier made of a few examples, which holds its layer itself."""

    layer: LinearLayer

    def __init__(self, answer: Callable[..., Any], store: Callable[..., Path]) -> None:
        """`answer` is an engine's `run`; `store` trains an adapter of a name on the same examples."""
        self._answer = answer
        self._store = store

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {', '.join(self.labels)}>"

    @property
    def metrics(self) -> dict[str, float]:
        """Measured by cross-validation on the examples; empty with one example a label."""
        return dict(self.layer.metrics)

    def __call__(self, inputs: Any, /, **options: Any) -> Any:
        """`Engine.run` with this task."""
        return self._answer(self, inputs, **options)

    def save(self, name: str, *, replace: bool = False, licence: str | None = None, **changes: Any) -> Path:
        """Train the same classifier as an adapter of the user's store, and return its folder.

        `changes` are settings of the recipe, such as `contrastive_epochs=12`: better, and slower.

        Raises:
            TrainingError: an adapter of this name exists, and `replace` is not set.
            GateError: the saved adapter does not answer as it should.
        """
        return self._store(name, replace=replace, licence=licence, **changes)

    def run(self, inputs: Sequence[TextInput], options: ClassificationOptions, model: Model) -> list[Classification]:
        if model.info.adapter:
            return super().run(inputs, options, model)
        info = dataclasses.replace(
            model.info,
            labels=self.labels,
            multi_label=self.multi_label,
            temperature=self.layer.temperature,
            threshold=self.layer.threshold,
            trained_for=model.info.trained_for | {CLASSIFY_MEAN.verb},
        )
        return super().run(inputs, options, _WithLayer(model, info, self.layer))  # type: ignore[arg-type]
