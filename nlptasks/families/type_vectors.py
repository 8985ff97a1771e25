"""Vectors of entity types, kept between calls, and their comparison with the words of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nlptasks.families.cache import Cache

if TYPE_CHECKING:
    from nlptasks.model import Model, TokenVectors

MOST_VECTORS = 4096
"""Vectors of types in memory: four megabytes."""

START, END, INSIDE, PART = range(4)
"""The places of a token's four vectors: three as a part of an entity, one as a part of a type's text."""


class TypeVectors:
    """The vectors of types by the weights that made them and by their texts; those used last are kept."""

    def __init__(self, most: int = MOST_VECTORS) -> None:
        self._cache = Cache(most)

    def get(self, model: Model, verb: str, texts: Sequence[str]) -> tuple[Any, set[str]]:
        """An array with one row for each text, of shape (texts, size), and the texts that were not read to their end.

        The model reads what is not kept, in one call, in the order of `texts`.
        """
        import numpy as np

        version = model.info.version
        vectors: dict[str, Any] = {text: self._cache.get((version, text)) if version else None for text in texts}
        missing = [text for text in texts if vectors[text] is None]
        for text, answer in zip(missing, model.apply(verb, missing), strict=True):
            value = type_vector(answer), answer.truncated
            vectors[text] = self._cache.add((version, text), value) if version else value
        return np.stack([vectors[text][0] for text in texts]), {text for text in texts if vectors[text][1]}


def type_vector(answer: TokenVectors) -> Any:
    """A type's vector: the mean over the tokens of its text."""
    import numpy as np

    parts = _vectors_of(answer.values)[:, PART].astype(np.float64)
    # The vocabulary may hold none of a name's tokens.
    return parts.mean(0) if len(parts) else np.zeros(parts.shape[1])


def match(values: Any, types: Any) -> Any:
    """Raw scores that a token is start, end or inside of an entity of a type: an array of shape (tokens, 3, types).

    `values` has shape (tokens, 4 * size), `types` (types, size). A score is the dot product of two vectors over the
    square root of their size; their last numbers are added instead, so that a token may be no name at all and a type
    may be rare.
    """
    tokens = _vectors_of(values)[:, :PART]
    products = tokens[..., :-1] @ types[:, :-1].T / types.shape[1] ** 0.5
    return products + tokens[..., -1:] + types[:, -1]


def _vectors_of(values: Any) -> Any:
    """A head's numbers as an array of shape (tokens, 4, size)."""
    return values.reshape(len(values), 4, values.shape[1] // 4)
