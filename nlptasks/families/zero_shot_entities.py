"""Zero-shot entities: spans of a text, of any length, whose types the caller names.

class Ingredients(ZeroShotEntities):
    '''What goes into a dish.'''
    name = "ingredients"
    types = {"ingredient": "something that a dish is made of", "amount": "how much of it"}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from nlptasks.errors import InvalidInputError
from nlptasks.families import explanation, spans, type_vectors, windows
from nlptasks.families.label_names import LabelNames
from nlptasks.families.spans import Span
from nlptasks.families.token_classification import TaggingOptions, TokenClassification, placed
from nlptasks.families.type_vectors import END, INSIDE, START, TypeVectors
from nlptasks.model import Head, Model, ModelInfo
from nlptasks.results import Entities, Entity
from nlptasks.task import Overflow, TaskOptions, TextInput

MATCH = Head("match", per="vectors", make="nlptasks.runtime.loading.match_head:MatchHead")
"""Vectors for each token of a text or of a type's text, to be compared: see `type_vectors.match`."""

THRESHOLD = 0.5
"""For an adapter whose manifest has no threshold."""

LEAST = 0.05
"""A lower score is never reported: almost every word would be an entity of every type."""

MOST_WORDS = 40
"""Words of an entity at most."""


class TypedOptions(TaskOptions):
    """The entity types that the caller names, and which spans to report."""

    labels: LabelNames = Field(
        default=None,
        description="The entity types: names (`medication, dose`), best with a description each "
        "(`medication: a drug or its brand`). Unset: those of the task, or all that the adapter was trained on.",
    )
    flat: bool = Field(
        default=True,
        description="Report no entities that overlap. False: also those within one another, and one span for several "
        "types.",
    )
    threshold: float | None = Field(
        default=None, ge=0, le=1, description="Least calibrated score for an entity to count. Unset: the adapter's."
    )
    on_overflow: Overflow = windows.ON_OVERFLOW
    stride: int = Field(
        default=64, ge=0, description="Tokens that neighbouring windows share; half a window at most is used."
    )
    explain: bool = explanation.EXPLAIN


class Candidate(NamedTuple):
    """Words `first`..`last` as an entity of a type, by the type's number."""

    score: float
    first: int
    last: int
    type: int


class ZeroShotEntities(TokenClassification):
    """The spans of a text that are of types named at call time.

    Text and types are read by the same model, one after the other, and compared word by word, in the manner of GLiNER
    (Zaratiana et al. 2024, arXiv:2311.08526): the sigmoid of raw score / temperature is the probability that a word
    is the start, the end or the inside of an entity of a type. An entity's score is the geometric mean of the
    probabilities of its start, its end and its inside, that one itself a geometric mean over the words.

    Types are read in alphabetical order, so that the caller's order decides nothing. With an adapter that was
    trained on labels of its own (the verb `tag`) the task reports those.
    """

    family = "zero_shot_entities"
    other_heads = (MATCH,)
    open_labels = True
    options_type = TypedOptions  # type: ignore[assignment]

    types: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """The types unless the caller names some: descriptions by name, "" where the name says it all."""

    def __init__(self) -> None:
        self._vectors = TypeVectors()

    def run(self, inputs: Sequence[TextInput], options: Any, model: Model) -> list[Entities]:
        if MATCH.verb not in model.info.trained_for:
            return super().run(inputs, _tagging(options), model)
        types = options.labels or dict(self.types)
        if not types:
            fault = "option 'labels': expected entity types, as in labels={'dose': 'how much to take'}, found none."
            raise InvalidInputError(f"{self.name} does not take these options", [fault])
        names = sorted(types)
        vectors, cut_types = self._vectors.get(model, MATCH.verb, [_text_of(name, types[name]) for name in names])
        unescaped = [spans.unescape(item.text) for item in inputs]
        results = []
        threshold = _threshold(options, model.info)
        for i, (group, reading) in enumerate(
            self.read(partial(model.apply, MATCH.verb), [text for text, _ in unescaped], options, model)
        ):
            text, places = unescaped[i]
            words = spans.words(text)
            chosen = decode(_word_scores(words, group, vectors, model.info), threshold, flat=options.flat)
            entities = [_entity(text, words, names, candidate) for candidate in chosen]
            reading["truncated"] |= bool(cut_types)
            results.append(Entities(entities=tuple(placed(e, inputs[i].text, places) for e in entities), **reading))
        return results


def _text_of(name: str, description: str) -> str:
    """What the model reads of a type."""
    return f"{name}: {description}" if description else name


def _threshold(options: TypedOptions, info: ModelInfo) -> float:
    if options.threshold is not None:
        return options.threshold
    return THRESHOLD if info.threshold is None else info.threshold


def _tagging(options: TypedOptions) -> TaggingOptions:
    """The options of a model that tags with labels of its own."""
    return TaggingOptions(
        labels=tuple(options.labels) if options.labels else None,
        threshold=options.threshold,
        on_overflow=options.on_overflow,
        stride=options.stride,
    )


def _word_scores(words: Sequence[Span], group: Sequence[tuple[Span, Any]], vectors: Any, info: ModelInfo) -> Any:
    """Log-probabilities that each word is start, end or inside: an array of shape (words, 3, types).

    A word is read in the window in which it is deepest; one that no window has tokens for is surely none of the three.
    """
    import numpy as np

    scores = np.full((len(words), 3, len(vectors)), -np.inf)
    rows = spans.merge(words, ((window, _window_scores(words, window, answer, vectors)) for window, answer in group))
    for word, row in rows.items():
        scores[word] = -np.logaddexp(0, -np.asarray(row) / info.temperature)
    return scores


def _window_scores(words: Sequence[Span], window: Span, answer: Any, vectors: Any) -> dict[int, Any]:
    """Raw scores of one window's words: of the first token as start, the last as end, the mean of all as inside.

    Where one token is several words, an entity may start at the first of them only, and end at the last.
    """
    import numpy as np

    if not len(answer.values):
        return {}
    raw = type_vectors.match(answer.values, vectors)
    tokens = [(start + window[0], end + window[0]) for start, end in answer.spans]
    tokens_of = spans.tokens_of_words(words, tokens)
    scores = {
        word: np.stack([raw[indices[0], START], raw[indices[-1], END], raw[indices, INSIDE].mean(0)])
        for word, indices in tokens_of.items()
    }
    for word, indices in tokens_of.items():
        if indices[0] in tokens_of.get(word - 1, ()):
            scores[word][0] = scores[word - 1][1] = -np.inf
    return scores


def decode(scores: Any, threshold: float, *, flat: bool = True) -> list[Candidate]:
    """The entities of a text, in reading order, from the log-probabilities of its words, shape (words, 3, types).

    Of those that may not stand beside each other the one with the best score stays.
    """
    import numpy as np

    # A score is the geometric mean of three probabilities, each 1 at most.
    least = 3 * np.log(max(threshold, LEAST))
    candidates = []
    for type_ in np.flatnonzero(scores[:, START].max(0, initial=-np.inf) >= least):
        starts, ends, insides = scores[:, :, type_].T
        for first in np.flatnonzero(starts >= least):
            reach = insides[first : first + MOST_WORDS]
            inside = np.cumsum(reach) / np.arange(1, 1 + len(reach))
            totals = starts[first] + ends[first : first + MOST_WORDS] + inside
            candidates += [
                Candidate(float(np.exp(totals[i] / 3)), int(first), int(first + i), int(type_))
                for i in np.flatnonzero(totals >= least)
            ]
    chosen: list[Candidate] = []
    for one in sorted(candidates, key=lambda c: (-c.score, c.first, c.last, c.type)):
        if not any(_excludes(other, one, flat) for other in chosen):
            chosen.append(one)
    return sorted(chosen, key=lambda c: (c.first, -c.last, -c.score, c.type))


def _excludes(one: Candidate, other: Candidate, flat: bool) -> bool:
    """Whether two candidates cannot both be entities."""
    if one.last < other.first or other.last < one.first:
        return False
    if flat or one.type == other.type:
        return True
    within = one.first <= other.first and other.last <= one.last
    around = other.first <= one.first and one.last <= other.last
    return not (within or around)


def _entity(text: str, words: Sequence[Span], names: Sequence[str], one: Candidate) -> Entity:
    start, end = words[one.first][0], words[one.last][1]
    return Entity(label=names[one.type], text=text[start:end], start=start, end=end, score=min(1.0, one.score))
