"""Token classification's part of a training: every word has an IOB2 tag, and all its tokens learn it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from nlptasks.data.entities import EntityRow, EntitySpan, read_entities, tags_of_spans
from nlptasks.data.labelled_texts import DataOptions, describe
from nlptasks.data.rows import Table, plural
from nlptasks.errors import DataError
from nlptasks.families import spans, windows
from nlptasks.model import ModelInfo
from nlptasks.results import Entities
from nlptasks.training.families.base import Assessment, Calibration, Dataset, FamilyTrainer, Feature, Vectors
from nlptasks.training.families.rows import TaskRows
from nlptasks.training.metrics import entities as entity_metrics
from nlptasks.training.metrics import rowwise
from nlptasks.training.metrics.calibration import fit_temperature
from nlptasks.training.metrics.entities import TaggedWords
from nlptasks.training.metrics.labels import calibration_error

IGNORED = -100
"""The target of tokens that are no part of a word; torch's cross entropy leaves it out."""


@dataclass
class EntityDataset(TaskRows):
    """Checked texts with entities; `labels` are the IOB2 tags of the head.

    `only` are the types, casefolded, that served entities are measured by; None for all.
    """

    only: frozenset[str] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many entities each type has."""
        counts = Counter(span.label for row in self.rows for span in row.spans)
        return {name: counts[name] for name in types_of(self.labels)}


class TokenClassificationTrainer(FamilyTrainer):
    """Entities of any types."""

    metrics = entity_metrics.HIGHER_IS_BETTER
    headline = "f1"

    def parse(self, tables: Sequence[Table], options: DataOptions, labels: Sequence[str] | None) -> EntityDataset:
        read = read_entities(tables, allow_misaligned=options.allow_misaligned)
        rows = _renamed(read.rows, options.rename)
        in_data = tuple(dict.fromkeys(span.label for row in rows for span in row.spans))
        of_task = tuple(getattr(self.task, "labels", ()))
        chosen = types_of(labels) if labels else options.labels or ()
        covered = {name.casefold() for name in in_data} <= {name.casefold() for name in of_task}
        types = tuple(name for name in chosen or (of_task if covered else in_data) if options.wants(name))
        rows, dropped = _with_types(rows, types)
        if in_data and not any(row.spans for row in rows):
            raise DataError(
                f"Entity types: expected {', '.join(types)}, found {', '.join(in_data)}. "
                "Give --rename OLD=NEW for each type that has another name."
            )
        notes = read.columns + read.notes
        if not chosen and of_task and types != of_task:
            notes.append(f"entity types of the data: {', '.join(types)} (the task has {', '.join(of_task)})")
        if dropped:
            listed = ", ".join(f"{name} ({count})" for name, count in dropped.most_common())
            notes.append(f"{plural(dropped.total(), 'span')} of other types left out: {listed}")
        sources = [describe(table) for table in tables]
        only = frozenset(map(str.casefold, types)) if options.only else None
        return EntityDataset(rows, spans.iob2(types), sources, notes, list(read.problems), only=only)

    def row_text(self, row: EntityRow) -> str:
        return row.text

    def stratum(self, row: EntityRow) -> Hashable:
        # By the set of its types many a row of a small file would be alone, and could not be held out.
        return bool(row.spans)

    def reference_text(self, dataset: Dataset, row: EntityRow) -> str:
        return ", ".join(f"{row.text[span.start : span.end]} ({span.label})" for span in row.spans) or "no entity"

    def answer_text(self, result: Entities) -> str:
        return ", ".join(f"{entity.text} ({entity.label})" for entity in result.entities) or "no entity"

    def check_training(self, rows: Sequence[EntityRow]) -> None:
        if not any(row.spans for row in rows):
            raise DataError(f"Training rows: expected at least one entity, found none in {plural(len(rows), 'row')}.")

    def label_names(self, outputs: Sequence[str]) -> tuple[str, ...]:
        return types_of(outputs)

    def encode(
        self,
        rows: Sequence[EntityRow],
        labels: Sequence[str],
        tokenizer: Any,
        max_length: int,
        info: ModelInfo | None = None,
    ) -> list[Feature]:
        pieces = [piece for row in rows for piece in _pieces(_unescaped(row), tokenizer, max_length)]
        if not pieces:
            return []
        options = {"truncation": True, "max_length": max_length, "return_offsets_mapping": True}
        encoded = tokenizer([text for text, _ in pieces], **options)
        offsets = encoded.pop("offset_mapping")
        tags = {label: index for index, label in enumerate(labels)}
        features = []
        for i, (text, entities) in enumerate(pieces):
            tagged, target = _tagged(text, entities, offsets[i], encoded.sequence_ids(i), tags)
            features.append(Feature({name: encoded[name][i] for name in encoded}, target, text, tagged))
        return features

    def targets(self, features: Sequence[Feature], width: int) -> Any:
        import torch

        rows = [[*feature.target, *[IGNORED] * (width - len(feature.target))] for feature in features]
        return torch.tensor(rows, dtype=torch.long)

    def loss(self, logits: Any, labels: Any, smoothing: float) -> Any:
        from torch.nn import functional

        flat = logits.float().flatten(0, 1)
        return functional.cross_entropy(flat, labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing)

    def serving_logits(self, logits: Any, feature: Feature) -> list[float]:
        values: list[float] = logits[list(feature.source.tokens)].ravel().tolist()
        return values

    def assess(self, dataset: Dataset, results: Sequence[Entities]) -> Assessment:
        """seqeval's scores of exact spans; `accuracy` is that of words."""
        only = dataset.only if isinstance(dataset, EntityDataset) else None
        pairs = [
            (
                [(s.label, s.start, s.end) for s in row.spans],
                [(e.label, e.start, e.end) for e in result.entities if only is None or e.label.casefold() in only],
            )
            for row, result in zip(dataset.rows, results, strict=True)
        ]
        tagged = [_aligned(row.text, *pair) for row, pair in zip(dataset.rows, pairs, strict=True)]
        references, predictions = [list(side) for side in zip(*tagged, strict=True)]
        scores = [
            entity.score
            for result in results
            for entity in result.entities
            if only is None or entity.label.casefold() in only
        ]
        right = [span in expected for expected, answered in pairs for span in answered]
        measured = entity_metrics.entity_scores(references, predictions)
        measured["ece"] = calibration_error(scores, right)
        return Assessment(
            measured,
            tuple(entity_metrics.per_type(references, predictions)),
            rowwise={
                "f1": rowwise.micro_f1(
                    (sum(span in expected for span in answered) for expected, answered in pairs),
                    (len(answered) for _, answered in pairs),
                    (len(expected) for expected, _ in pairs),
                )
            },
            scores=scores,
            right=right,
        )

    def measure(self, logits: Sequence[Any], features: Sequence[Feature]) -> dict[str, float]:
        return entity_metrics.Tagging(logits, [feature.source for feature in features]).measure()

    def baselines(
        self, training: Sequence[Feature], held_out: Sequence[Feature], vectors: Vectors
    ) -> dict[str, dict[str, float]]:
        return {"no_entities": {"f1": 0.0}}

    def calibrate(self, logits: Sequence[Any], features: Sequence[Feature]) -> Calibration:
        tagging = entity_metrics.Tagging(logits, [feature.source for feature in features])
        temperature = fit_temperature(tagging.entity_loss, len(tagging.right), int((~tagging.right).sum()))
        return Calibration(temperature, None, tagging.measure(temperature))


Span = tuple[str, int, int]


def _aligned(text: str, *sides: Sequence[Span]) -> tuple[list[str], ...]:
    """IOB2 tags of both sides over the same pieces: words, cut where a span of either side begins or ends.

    So two spans have equal tags only if they have equal borders.
    """
    borders = {border for side in sides for _, start, end in side for border in (start, end)}
    pieces = []
    for start, end in spans.words(text):
        cuts = [start, *sorted(border for border in borders if start < border < end), end]
        pieces += list(pairwise(cuts))
    return tuple(tags_of_spans(pieces, [EntitySpan(*span) for span in side]) for side in sides)


def types_of(tags: Sequence[str]) -> tuple[str, ...]:
    """The entity types that a head's tags name, in order."""
    return tuple(dict.fromkeys(tag.type for tag in map(spans.parse_tag, tags) if tag.type))


def _renamed(rows: Sequence[EntityRow], names: Mapping[str, str]) -> list[EntityRow]:
    if not names:
        return list(rows)
    return [replace(row, spans=tuple(replace(s, label=names.get(s.label, s.label)) for s in row.spans)) for row in rows]


def _with_types(rows: Sequence[EntityRow], types: Sequence[str]) -> tuple[list[EntityRow], Counter[str]]:
    """Rows with entities of the types only, in the types' own spelling, and how many others there were."""
    spelling = {name.casefold(): name for name in types}
    dropped = Counter(span.label for row in rows for span in row.spans if span.label.casefold() not in spelling)
    selected = []
    for row in rows:
        known = [span for span in row.spans if span.label not in dropped]
        selected.append(replace(row, spans=tuple(replace(s, label=spelling[s.label.casefold()]) for s in known)))
    return selected, dropped


def _unescaped(row: EntityRow) -> EntityRow:
    """The row as serving reads it, without HTML's character references."""
    text, places = spans.unescape(row.text)
    read = ((s.label, bisect_left(places, s.start), bisect_left(places, s.end)) for s in row.spans)
    return replace(row, text=text, spans=tuple(EntitySpan(*span) for span in read))


def _pieces(row: EntityRow, tokenizer: Any, max_length: int) -> list[tuple[str, tuple[EntitySpan, ...]]]:
    """The row's text in windows that fit, each with its entities; one torn by a border has a part in both."""
    if not windows.may_overflow(row.text, max_length):
        return [(row.text, row.spans)]
    encoded = tokenizer(row.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    room = max(1, max_length - windows.MARGIN)
    pieces = []
    for start, end in windows.cut(encoded["offset_mapping"], len(row.text), room):
        inside = (span for span in row.spans if span.start < end and start < span.end)
        clipped = (EntitySpan(s.label, max(s.start, start) - start, min(s.end, end) - start) for s in inside)
        pieces.append((row.text[start:end], tuple(clipped)))
    return pieces


def _tagged(
    text: str,
    entities: Sequence[EntitySpan],
    offsets: Sequence[tuple[int, int]],
    segments: Sequence[int | None],
    tags: Mapping[str, int],
) -> tuple[TaggedWords, list[int]]:
    """The words of a text with their tags, and each token's target."""
    words = spans.words(text)
    references = [tags[tag] for tag in tags_of_spans(words, entities)]
    tokens_of = spans.tokens_of_words(words, offsets)
    target = [IGNORED] * len(offsets)
    for word, tokens in tokens_of.items():
        for token in tokens:
            # A token that reaches over several words answers for the first of them.
            target[token] = references[word] if target[token] == IGNORED else target[token]
    firsts = tuple(tokens_of[word][0] if word in tokens_of else None for word in range(len(words)))
    read = tuple(index for index, part in enumerate(segments) if part is not None)
    return TaggedWords(tuple(map(spans.parse_tag, tags)), firsts, tuple(references), read), target
