"""Token classification: the named spans of a text of any length.

class Parts(TokenClassification):
    '''Part numbers and makers in a repair note.'''
    name = "parts"
    labels = ("PART", "MAKER")
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from nlptasks.errors import InvalidInputError, OverflowRefusedError, UnsupportedModelError
from nlptasks.families import spans, windows
from nlptasks.families.spans import Row, Span, Tag
from nlptasks.model import TAG, Model, ModelInfo, TokenLogits
from nlptasks.results import Entities, Entity
from nlptasks.task import Overflow, Task, TaskOptions, TextInput

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
        description="Least calibrated score for an entity to count. Unset: the adapter's own, else 0.",
    )
    aggregation: spans.Aggregation = Field(
        default="first",
        description="How the tokens of a word decide on it: the first one, the mean of their scores, or the surest.",
    )
    on_overflow: Overflow = Field(
        default="window",
        description="A text longer than the model's window: read all of it in windows, cut it, or refuse it.",
    )
    stride: int = Field(
        default=64, ge=0, description="Tokens that neighbouring windows share; half a window at most is used."
    )


@dataclass(frozen=True)
class _Piece:
    """A part of an input that goes to the model in one window."""

    source: int
    window: Span


class TokenClassification(Task[TextInput, TaggingOptions, Entities]):
    """The named spans of a text.

    Entities begin and end at words and do not overlap. An entity's score is the geometric mean, over its words,
    of the calibrated probability of its type: the softmax of logits / temperature (Guo et al. 2017,
    arXiv:1706.04599), summed over all tags of the type.
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
        texts = [item.text for item in inputs]
        tags = self._tags(model.info)
        self._check_labels(options, tags)
        offsets = self._offsets(texts, model)
        pieces, cut = self._pieces(texts, offsets, model.info.max_tokens - windows.MARGIN, options)
        answers = model.tag([texts[p.source][slice(*p.window)] for p in pieces])
        grouped: list[list[tuple[Span, TokenLogits]]] = [[] for _ in texts]
        for piece, answer in zip(pieces, answers, strict=True):
            grouped[piece.source].append((piece.window, answer))
        results = []
        for i, (text, group) in enumerate(zip(texts, grouped, strict=True)):
            counted = len(group) == 1 and i not in cut and group[0][1].num_tokens
            results.append(
                Entities(
                    entities=_entities(text, group, tags, model.info, options),
                    truncated=i in cut or any(answer.truncated for _, answer in group),
                    num_tokens=counted or len(offsets.get(i, ())),
                    windows=len(group),
                )
            )
        return results

    def _tags(self, info: ModelInfo) -> tuple[Tag, ...]:
        """The model's tags, with types in the task's spelling where only letter case differs (per, PER)."""
        own = {label.lower(): label for label in self.labels}
        parsed = [spans.OUTSIDE if _UNNAMED.fullmatch(x) else spans.parse_tag(x) for x in info.labels or ()]
        if not any(tag.type for tag in parsed):
            found = ", ".join((info.labels or ())[:5]) or "none"
            raise UnsupportedModelError(
                f"{self.name}: expected a model whose labels name entities (B-PER, I-PER, O), {info.name!r} has "
                f"{found}: name an adapter or a model that was trained to tag."
            )
        return tuple(Tag(tag.place, own.get(tag.type.lower(), tag.type)) for tag in parsed)

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

    def _offsets(self, texts: Sequence[str], model: Model) -> dict[int, Sequence[Span]]:
        """Token offsets of the texts that may be longer than a window, by their index."""
        asked = [i for i, text in enumerate(texts) if windows.may_overflow(text, model.info.max_tokens)]
        if not asked:
            return {}
        return dict(zip(asked, (o.spans for o in windows.offsets(model, [texts[i] for i in asked])), strict=True))

    def _pieces(
        self, texts: Sequence[str], offsets: Mapping[int, Sequence[Span]], room: int, options: TaggingOptions
    ) -> tuple[list[_Piece], set[int]]:
        """The windows of every text in order, and the indices of the texts that were cut."""
        long = [i for i in offsets if len(offsets[i]) > room]
        if long and options.on_overflow == "error":
            listed = ", ".join(f"input {i} has {len(offsets[i])} tokens" for i in long[:5])
            raise OverflowRefusedError(
                f"{self.name}: the model reads {room} tokens at a time, {listed}: "
                "shorten the text or use on_overflow='window'."
            )
        truncate = options.on_overflow == "truncate"
        # A window that is mostly overlap moves on by a few tokens only and costs a pass for each.
        overlap = min(options.stride, room // 2)
        pieces = []
        for i, text in enumerate(texts):
            cuts = windows.cut(offsets[i], len(text), room, overlap) if i in offsets else [(0, len(text))]
            pieces += [_Piece(i, window) for window in (cuts[:1] if truncate else cuts)]
        return pieces, set(long) if truncate else set()


def _entities(
    text: str,
    group: Sequence[tuple[Span, TokenLogits]],
    tags: Sequence[Tag],
    info: ModelInfo,
    options: TaggingOptions,
) -> tuple[Entity, ...]:
    """The entities of one text from the tags of its windows; words are put together before tags are decoded."""
    words = spans.words(text)
    rows = spans.merge(words, ((window, _word_rows(words, window, a, info, options)) for window, a in group))
    decided = [_best(rows[i], tags) if i in rows else spans.OUTSIDE for i in range(len(words))]
    threshold = options.threshold if options.threshold is not None else info.threshold or 0.0
    entities = []
    for found in spans.decode(decided):
        chances = [spans.type_probability(rows[i], tags, found.type) for i in range(found.first, found.last + 1)]
        score = spans.geometric_mean(chances)
        if score >= threshold and (options.labels is None or found.type in options.labels):
            start, end = words[found.first][0], words[found.last][1]
            entities.append(Entity(label=found.type, text=text[start:end], start=start, end=end, score=score))
    return tuple(entities)


def _word_rows(
    words: Sequence[Span], window: Span, answer: TokenLogits, info: ModelInfo, options: TaggingOptions
) -> dict[int, Row]:
    """Calibrated scores of the words that one window read."""
    tokens = [(start + window[0], end + window[0]) for start, end in answer.spans]
    scaled = [[value / info.temperature for value in row] for row in answer.values]
    owned = spans.tokens_of_words(words, tokens)
    return {word: spans.aggregate([scaled[t] for t in indices], options.aggregation) for word, indices in owned.items()}


def _best(row: Row, tags: Sequence[Tag]) -> Tag:
    return tags[max(range(len(tags)), key=row.__getitem__)]
