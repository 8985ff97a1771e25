"""Vectors of entity types, kept between calls, and their comparison with the words of a text."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlptasks.model import Model, TokenVectors

SIZE = 128
"""Numbers of a vector; a head answers with four for each token: start, end, inside, and part of a type's text."""

MOST_VECTORS = 4096
"""Vectors of types in memory: two megabytes."""

START, END, INSIDE = 0, 1, 2


class TypeVectors:
    """The vectors of types by the weights that made them and by their texts; those used last are kept."""

    def __init__(self, most: int = MOST_VECTORS) -> None:
        self._most = most
        self._vectors: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, model: Model, verb: str, texts: Sequence[str]) -> tuple[Any, set[str]]:
        """An array with one row for each text, of shape (texts, SIZE), and the texts that were not read to their end.

        The model reads what is not kept, in one call, in the order of `texts`.
        """
        import numpy as np

        version = model.info.version
        with self._lock:
            vectors = {text: self._vectors[version, text] for text in texts if (version, text) in self._vectors}
        missing = [text for text in texts if text not in vectors]
        for text, answer in zip(missing, model.apply(verb, missing), strict=True):
            vectors[text] = type_vector(answer), answer.truncated
        with self._lock:
            for text in texts if version else ():
                self._vectors[version, text] = vectors[text]
                self._vectors.move_to_end((version, text))
            while len(self._vectors) > self._most:
                self._vectors.popitem(last=False)
        return np.stack([vectors[text][0] for text in texts]), {text for text in texts if vectors[text][1]}


def type_vector(answer: TokenVectors) -> Any:
    """A type's vector: the mean over the tokens of its text."""
    import numpy as np

    # The vocabulary may hold none of a name's tokens.
    if not answer.spans:
        return np.zeros(SIZE)
    return answer.values[:, 3 * SIZE :].astype(np.float64).mean(0)


def match(values: Any, types: Any) -> Any:
    """Raw scores that a token is start, end or inside of an entity of a type: an array of shape (tokens, 3, types).

    `values` has shape (tokens, 4 * SIZE), `types` (types, SIZE). A score is the dot product of two vectors over the
    square root of their size; their last numbers are added instead, so that a token may be no name at all and a type
    may be rare.
    """
    tokens = values[:, : 3 * SIZE].reshape(-1, 3, SIZE)
    products = tokens[..., :-1] @ types[:, :-1].T / SIZE**0.5
    return products + tokens[..., -1:] + types[:, -1]
