"""Token classification: the named spans of a text of any length.

class Parts(TokenClassification):
    '''Part numbers and makers in a repair note.'''
    name = "parts"
    labels = ("PART", "MAKER")
"""

from __future__ import annotations

import difflib
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from nlptasks.errors import InvalidInputError, UnsupportedModelError
from nlptasks.families import explanation, spans, windows
from nlptasks.families.spans import Row, Span, Tag
from nlptasks.model import TAG, Model, ModelInfo, TokenLogits, TokenVectors
from nlptasks.results import Entities, Entity, Explanation
from nlptasks.task import Overflow, Task, TaskOptions, TextInput

A = TypeVar("A", TokenLogits, TokenVectors)

_UNNAMED = re.compile(r"LABEL_\d+")


class TaggingOptions(TaskOptions):
    """What a caller may tune in any token classification."""

    labels: tuple[str, ...] | None = Field(
        default=None, description="Entity types to report. Unset: all that the model knows."
    )
    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Least calibrated score for an entity to count. Unset: the adapter's, else 0.",
    )
    aggregation: spans.Aggregation = Field(
        default="first",
        description="How a word is scored from its tokens: the first one, their mean, or the surest.",
    )
    on_overflow: Overflow = windows.ON_OVERFLOW
    stride: int = Field(
        default=64, ge=0, description="Tokens that neighbouring windows share; half a window at most is used."
    )
    explain: bool = explanation.EXPLAIN


class TokenClassification(Task[TextInput, TaggingOptions, Entities]):
    """The named spans of a text.

    Entities begin and end at words and do not overlap. HTML's character references (&amp;) are read as what they stand
    for, and words joined by hyphens are one entity if each of them and each hyphen is in one. An entity's score is the
    geometric mean, over its words, of the calibrated probability of its type: the softmax of logits / temperature (Guo
    et al. 2017, arXiv:1706.04599), summed over all tags of the type.
    """

    family = "token_classification"
    head = TAG
    trainer = "nlptasks.training.families.token_classification:TokenClassificationTrainer"
    input_type = TextInput
    options_type = TaggingOptions
    result_type = Entities

    labels: ClassVar[tuple[str, ...]] = ()
    """Entity types, without prefixes."""

    @classmethod
    def tags(cls) -> tuple[str, ...]:
        """The labels of a head for these types: O, then B- and I- of each (IOB2)."""
        return spans.iob2(cls.labels)

    def run(self, inputs: Sequence[TextInput], options: TaggingOptions, model: Model) -> list[Entities]:
        tags = self._tags(model.info)
        self._check_labels(options, tags)
        unescaped = [spans.unescape(item.text) for item in inputs]
        results = []
        for i, (group, reading) in enumerate(self.read(model.tag, [text for text, _ in unescaped], options, model)):
            text, places = unescaped[i]
            entities = _entities(text, group, tags, model.info, options)
            results.append(Entities(entities=tuple(placed(e, inputs[i].text, places) for e in entities), **reading))
        return results

    def read(
        self, head: Callable[[Sequence[str]], list[A]], texts: Sequence[str], options: Any, model: Model
    ) -> list[tuple[list[tuple[Span, A]], dict[str, Any]]]:
        """What a head on tokens answers to the windows of each text, with their (start, end) code points, and the
        fields of a result that say how the text was read."""
        known = dict(enumerate(texts))
        size = model.info.max_tokens
        room = size - windows.MARGIN
        offsets = windows.measure(model, {i: text for i, text in known.items() if windows.may_overflow(text, size)})
        # A window that is mostly overlap moves on by a few tokens only and costs a pass for each.
        overlap = min(options.stride, room // 2)
        ranges = windows.ranges(self.name, known, offsets, room, options.on_overflow, overlap)
        answers = iter(head([known[i][start:end] for i, places in ranges.items() for start, end in places]))
        read = []
        for i in known:
            group = [(window, next(answers)) for window in ranges[i]]
            tokens = len(offsets.get(i, ()))
            cut = options.on_overflow == "truncate" and tokens > room
            read.append((group, windows.reading([answer for _, answer in group], cut, tokens)))
        return read

    def explain(
        self, inputs: Sequence[TextInput], results: Sequence[Entities], options: TaggingOptions, model: Model
    ) -> list[Entities]:
        read = explanation.read_pieces([item.text for item in inputs], results, model)
        plain = options.model_copy(update={"explain": False, "threshold": 0.0})
        explained = []
        for item, result, places in zip(inputs, results, read, strict=True):
            reasons: dict[tuple[int, int, str], Explanation] = {}
            for piece in places:
                start, end = piece.span
                targets = [e for e in result.entities if start <= e.start and e.end <= end]
                if targets:
                    texts = piece.variants(item.text, explanation.GAP)
                    variants = self.run([item.model_copy(update={"text": text}) for text in texts], plain, model)
                    reasons |= explanation.of_spans(item.text, piece, targets, variants)
            keys = [(e.start, e.end, e.label) for e in result.entities]
            listed = tuple(reasons[key] for key in keys if key in reasons)
            explained.append(result.model_copy(update={"explanations": listed}))
        return explained

    def _tags(self, info: ModelInfo) -> tuple[Tag, ...]:
        """The model's tags, with types in the task's spelling where only letter case differs (per, PER)."""
        names = {label.lower(): label for label in self.labels}
        parsed = [spans.OUTSIDE if _UNNAMED.fullmatch(x) else spans.parse_tag(x) for x in info.labels or ()]
        if not any(tag.type for tag in parsed):
            labels = ", ".join((info.labels or ())[:5]) or "none"
            raise UnsupportedModelError(
                f"{self.name}: expected a model whose labels name entities (B-PER, I-PER, O), {info.name!r} has "
                f"{labels}: name an adapter or a model that was trained to tag."
            )
        return tuple(Tag(tag.place, names.get(tag.type.lower(), tag.type)) for tag in parsed)

    def _check_labels(self, options: TaggingOptions, tags: Sequence[Tag]) -> None:
        known = {tag.type.lower(): tag.type for tag in tags if tag.type}
        problems = []
        for label in options.labels or ():
            if label not in known.values():
                near = difflib.get_close_matches(label.lower(), known, n=1)
                hint = f"did you mean {known[near[0]]!r}?" if near else f"known: {', '.join(known.values())}."
                problems.append(f"option 'labels' {label!r} is not known; {hint}")
        if problems:
            raise InvalidInputError(f"{self.name} does not take these options", problems)


def _entities(
    text: str,
    group: Sequence[tuple[Span, TokenLogits]],
    tags: Sequence[Tag],
    info: ModelInfo,
    options: TaggingOptions,
) -> tuple[Entity, ...]:
    """The entities of one text from the tags of its windows; words are put together before tags are decoded."""
    words = spans.words(text)
    places = [[(start + window[0], end + window[0]) for start, end in answer.spans] for window, answer in group]
    tokens_of = [spans.tokens_of_words(words, tokens) for tokens in places]
    read = zip(group, tokens_of, strict=True)
    rows = spans.merge(words, ((window, _word_rows(of, answer, info, options)) for (window, answer), of in read))
    chosen = {word: tags[max(range(len(tags)), key=row.__getitem__)] for word, row in rows.items()}
    # The token of each word that has a single one, by its place in the text: windows that overlap share tokens.
    single = {
        word: tokens[indices[0]]
        for tokens, of in zip(places, tokens_of, strict=True)
        for word, indices in of.items()
        if len(indices) == 1
    }
    best = [chosen.get(i, spans.OUTSIDE) for i in range(len(words))]
    best = spans.join_tokens(best, [single.get(i) for i in range(len(words))])
    threshold = options.threshold if options.threshold is not None else info.threshold or 0.0
    best = spans.join_compounds(spans.abbreviations(text, words), best, rows, tags, only_letters=True)
    entities = []
    for entity in spans.decode(spans.join_compounds(spans.compounds(text, words), best, rows, tags)):
        places_of = range(entity.first, entity.last + 1)
        # An abbreviation's periods may be in no entity by themselves.
        counted = [i for i in places_of if text[words[i][0]] != "."] or places_of
        chances = [spans.type_probability(rows[i], tags, entity.type) for i in counted]
        # A chance may be too small for a number; one of them makes the mean zero.
        score = min(1.0, statistics.geometric_mean(chances)) if all(chances) else 0.0
        if score >= threshold and (options.labels is None or entity.type in options.labels):
            start, end = words[entity.first][0], words[entity.last][1]
            entities.append(Entity(label=entity.type, text=text[start:end], start=start, end=end, score=score))
    return tuple(entities)


def placed(entity: Entity, text: str, places: Sequence[int]) -> Entity:
    """An entity of the unescaped text as one of the text itself."""
    start, end = places[entity.start], places[entity.end]
    return entity.model_copy(update={"start": start, "end": end, "text": text[start:end]})


def _word_rows(
    tokens_of: Mapping[int, Sequence[int]], answer: TokenLogits, info: ModelInfo, options: TaggingOptions
) -> dict[int, Row]:
    """Calibrated scores of the words that one window read."""
    scaled = [[value / info.temperature for value in row] for row in answer.values]
    return {
        word: spans.aggregate([scaled[t] for t in indices], options.aggregation) for word, indices in tokens_of.items()
    }
