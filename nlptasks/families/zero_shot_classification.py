"""Zero-shot classification: labels that the caller names, with descriptions and instructions in plain words.

class Route(ZeroShotClassification):
    '''Which team should answer a ticket.'''
    name = "route"
    instructions = "What is the customer's problem about?"
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from nlptasks.errors import InvalidInputError
from nlptasks.families.cache import Cache
from nlptasks.families.label_names import LabelNames
from nlptasks.families.scores import sigmoid, softmax
from nlptasks.families.text_classification import ClassificationOptions, TextClassification, has_head, readable
from nlptasks.model import CLASSIFY_MEAN, EMBED, Logits, Model, ModelInfo

if TYPE_CHECKING:
    import numpy as np

OTHER = "other"
"""The label of `other=True`: none of the labels that were named."""

PLAIN_TEMPERATURE, PLAIN_BIAS = 0.05, 0.18
"""For the cosines of a base without an adapter for this; fitted with MiniLM as those of the shipped adapter."""

CACHED_SETS = 32
"""Sets of labels whose vectors a task keeps; 255 labels of MiniLM take 0.4 MB."""


class ZeroShotOptions(ClassificationOptions):
    """Labels that the caller names, and what they mean."""

    labels: LabelNames = Field(
        default=None,
        description="The labels: names (`billing, bug`), best with a description each (`billing: payments, refunds`). "
        "2 to 255, or 1 with multi_label or other. Unset: those of an adapter that was trained on labels of its own.",
    )
    instructions: str | None = Field(
        default=None,
        max_length=500,
        pattern=r"\S",
        description="What the labels answer, as a question or an instruction: `Is the customer angry about the price?`",
    )
    other: bool = Field(
        default=False, description="Let `other`, none of these labels, be an answer with a score of its own."
    )

    @model_validator(mode="after")
    def _check_labels(self) -> ZeroShotOptions:
        if self.labels is None:
            if self.other or self.instructions:
                name = "other" if self.other else "instructions"
                raise PydanticCustomError("labels", f"expected labels to go with {name}")
            return self
        if self.other and self.multi_label:
            what = "expected other without multi_label, where a text may have no label anyway"
            raise PydanticCustomError("labels", what)
        if self.other and any(name.casefold() == OTHER for name in self.labels):
            raise PydanticCustomError("labels", f"expected no label {OTHER!r} beside other=True, which adds it")
        if len(self.labels) == 1 and not (self.multi_label or self.other):
            what = (
                "expected 2 labels or more, or 1 with multi_label or other, found {name} alone; "
                "descriptions end with ; or a new line"
            )
            raise PydanticCustomError("labels", what, {"name": repr(next(iter(self.labels)))})
        return self


class ZeroShotClassification(TextClassification):
    """A label of those that the caller names, for a text.

    Text and labels are embedded by the same model; the raw score of a label is the cosine of the two vectors. Its
    probability is the softmax of scores / temperature over the labels, or with `multi_label` the sigmoid of
    (score - bias) / temperature; `other` takes part in the softmax with the score `bias`. The adapter's manifest has
    both numbers. A model that was trained to classify answers with its own labels, and a language model is asked for
    the label's likelihood.
    """

    other_heads = (*TextClassification.other_heads, EMBED)
    open_labels = True
    options_type = ZeroShotOptions
    untrained_base = None

    instructions: ClassVar[str] = ""
    """What the labels answer unless the caller says it."""

    def check_options(self, options: Any, adapter: str | None, labels: tuple[str, ...] | None) -> None:
        if adapter is not None:
            self._check(options, labels)

    def _check(self, options: Any, labels: tuple[str, ...] | None) -> None:
        names = _named(options)
        if names and labels:
            problem = f"labels: the adapter answers with its own ({', '.join(labels)}); leave labels out, found "
            raise InvalidInputError(f"{self.name} cannot run this", [f"{problem}{', '.join(names)}."])
        if not names and not labels:
            problem = 'labels: expected names, as in labels=["billing", "bug"] or {"billing": "payments"}, found none.'
            raise InvalidInputError(f"{self.name} cannot run this", [problem])

    def run(self, inputs: Any, options: Any, model: Model) -> Any:
        self._check(options, model.info.labels if _is_trained(model.info) else None)
        return super().run(inputs, options, model)

    def _score(self, texts: Sequence[str], options: Any, model: Model) -> Sequence[Logits]:
        if _is_trained(model.info):
            return super()._score(texts, options, model)
        if not has_head(model.info):
            return self._ask(texts, self._names(options, model.info), model)
        labels = self._label_vectors(options, model)
        vectors = model.embed(texts)
        return [
            Logits(tuple(scores), v.num_tokens, v.truncated, unknown=v.unknown, unread=v.unread)
            for v, scores in zip(vectors, _cosines([v.values for v in vectors], labels), strict=True)
        ]

    def _names(self, options: Any, info: ModelInfo) -> tuple[str, ...]:
        """The labels in alphabetical order, so that the caller's order reaches no computation; `other` comes last."""
        if _is_trained(info):
            return super()._names(options, info)
        names = tuple(sorted(_named(options)))
        return (*names, OTHER) if options.other else names

    def _chances(self, values: Sequence[float], multi: bool, options: Any, info: ModelInfo) -> list[float]:
        if _is_trained(info):
            return super()._chances(values, multi, options, info)
        plain = info.bias is None and has_head(info)
        temperature = PLAIN_TEMPERATURE if plain else info.temperature
        bias = PLAIN_BIAS if plain else info.bias or 0.0
        if multi:
            return [sigmoid((value - bias) / temperature) for value in values]
        return softmax([*values, bias] if options.other else values, temperature)

    def prompt(self, text: str) -> str:
        return f"Text: {text}\nLabel:"

    def _ask(self, texts: Sequence[str], labels: Sequence[str], model: Model) -> list[Logits]:
        return super()._ask(texts, [label for label in labels if label != OTHER], model)

    def _label_vectors(self, options: Any, model: Model) -> Any:
        """Vectors of shape (labels, hidden size), the labels in alphabetical order; embedded once for a model.

        Raises:
            InvalidInputError: a label with its description is longer than what the model reads at once.
        """
        named = sorted(_named(options).items())
        instructions = options.instructions or self.instructions
        emoji = model.info.reads_emoji
        texts = tuple(readable(label_text(name, text, instructions), emoji) for name, text in named)
        key = (model.info.version, texts)
        cached = self._cache.get(key) if model.info.version else None
        if cached is not None:
            return cached
        vectors = model.embed(texts)
        long = [name for (name, _), vector in zip(named, vectors, strict=True) if vector.truncated]
        if long:
            problem = (
                f"labels: with instructions and description, {long[0]!r} has more than the {model.info.max_tokens}"
            )
            raise InvalidInputError(
                f"{self.name} cannot run this", [f"{problem} tokens that the model reads: shorten."]
            )
        return self._cache.add(key, _array([vector.values for vector in vectors]))

    @functools.cached_property
    def _cache(self) -> Cache:
        return Cache(CACHED_SETS)


def label_text(name: str, description: str = "", instructions: str = "") -> str:
    """What stands for a label where it is embedded; the recipe of the shipped adapter trains with the same."""
    spoken = name.replace("_", " ")
    return " ".join(filter(None, (instructions.strip(), f"{spoken}: {description}" if description else spoken)))


def _named(options: Any) -> dict[str, str]:
    return getattr(options, "labels", None) or {}


def _is_trained(info: ModelInfo) -> bool:
    """Whether the model has a head with labels of its own."""
    return info.labels is not None and not info.trained_for.isdisjoint(("classify", CLASSIFY_MEAN.verb))


def _array(rows: Sequence[Sequence[float]]) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.asarray(rows, dtype=np.float32)


def _cosines(texts: Sequence[Sequence[float]], labels: Any) -> list[list[float]]:
    """Cosines of unit vectors, a row for each text."""
    return (_array(texts) @ labels.T).tolist() if texts else []
