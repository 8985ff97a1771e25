"""Texts with named entities: every common annotation format becomes a text and character spans."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate, product
from typing import Any
from unicodedata import normalize

from nlptasks.data.rows import Row, RowFault, Table, is_missing, plural, read_note, show
from nlptasks.data.tables import Findings
from nlptasks.errors import clip
from nlptasks.families.spans import Group, Tag, decode, parse_tag, words

MAX_NOTES = 20
"""The number of dropped spans that are noted one by one."""

TOKEN_COLUMNS = ("tokens", "words")
TAG_COLUMNS = ("tags", "ner_tags", "labels")
SENTENCE_COLUMNS = ("sentence_id", "sentence #", "sentence")
SPAN_COLUMNS = ("spans", "entities", "label", "labels")

_TAG = re.compile(r"O|[BIELSU]-.*\S")

Bounds = tuple[int, int]


@dataclass(frozen=True)
class EntitySpan:
    """An entity: the characters from `start` to before `end` of its text."""

    label: str
    start: int
    end: int


@dataclass(frozen=True)
class EntityRow:
    """One text; `spans` are sorted and do not overlap.

    `tokens` are the bounds of the data's tokens, or of the words if the data has none.
    """

    place: str
    text: str
    spans: tuple[EntitySpan, ...]
    tokens: tuple[Bounds, ...]


Annotation = tuple[EntitySpan, str | None]
"""A span as it is in the data, valid or not, and the text that the data gives for it."""


@dataclass
class _Findings(Findings[EntityRow]):
    """`repairs` counts what was changed or left out: (noun, what happened)."""

    repairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    dropped: list[str] = field(default_factory=list)


def read_entities(tables: Sequence[Table], *, allow_misaligned: bool = False) -> Findings[EntityRow]:
    """Read and check texts with entities.

    The formats are tokens with tags (IOB1, IOB2, BIOES, BILOU), in one row a sentence or one row a token with the
    sentence's number, tokens with spans (GLiNER), and texts with spans as written by Doccano, Prodigy, spaCy and Label
    Studio. Misaligned spans are moved to the nearest words.

    Args:
        tables: from `read_tables`.
        allow_misaligned: move misaligned spans even if more than 1 % are.

    Raises:
        DataError: naming every bad row, and the misaligned spans if there are too many.
    """
    findings = _Findings("spans")
    tables = [_by_sentence(table) for table in tables]
    findings.read(tables, partial(_read_row, findings=findings), allow_misaligned=allow_misaligned)
    if findings.dropped:
        dropped = plural(len(findings.dropped), "span")
        findings.notes.append(f"{dropped} left out; of overlapping spans the longest is kept")
        findings.notes += findings.dropped[:MAX_NOTES]
    findings.notes += [f"{plural(count, noun)} {what}" for (noun, what), count in findings.repairs.items()]
    return findings


def spans_of_tags(tokens: Sequence[Bounds], tags: Sequence[str]) -> list[EntitySpan]:
    """The spans of tags in any scheme; a continuation without its beginning starts a span.

    Raises:
        ValueError: naming a tag that is in no scheme.
    """
    return [_span(group, tokens) for group in decode([_tag(tag) for tag in tags])]


def tags_of_spans(tokens: Sequence[Bounds], spans: Sequence[EntitySpan]) -> list[str]:
    """The IOB2 tags of tokens; a token belongs to the span that covers all of it."""
    tags = ["O"] * len(tokens)
    for span in spans:
        inside = [i for i, (start, end) in enumerate(tokens) if span.start <= start and end <= span.end]
        for index in inside:
            tags[index] = f"{'B' if index == inside[0] else 'I'}-{span.label}"
    return tags


def _read_row(record: Row, table: Table, findings: _Findings) -> EntityRow | None:
    fields = record.fields
    cells = dict(fields)  # looked at without being noted as read
    tokens = next((name for name in TOKEN_COLUMNS if _strings(cells.get(name))), None)
    tags = next((name for name in TAG_COLUMNS if cells.get(name) is not None), None)
    if tokens and tags:
        return _from_tags(record.place, fields[tokens], _tag_names(fields[tags], tags, table), findings)
    if _strings(cells.get("tokenized_text")) and "ner" in fields:
        return _from_token_spans(record.place, fields["tokenized_text"], fields["ner"], findings)
    column = next((name for name in TOKEN_COLUMNS if cells.get(name) is not None), None)
    if tags and column and "text" not in cells:
        raise RowFault(f"{column}: expected a list of texts, found {show(cells[column])}.")
    refused = fields.get("answer") in ("reject", "ignore")  # Prodigy's answers.
    if not refused and "annotations" in fields:
        annotations = _objects(fields["annotations"], "annotations")
        finished = [one for one in annotations if not one.get("was_cancelled")]
        # Without one, nobody has read the text yet, or whoever did skipped it: it is not a text without entities.
        refused = not finished
        if finished and len(finished) < len(annotations):
            cancelled = ("cancelled annotation", "left out of rows that have another")
            findings.repairs[cancelled] += len(annotations) - len(finished)
    if refused:
        findings.repairs["row", "left out that the annotator rejected, ignored or did not reach"] += 1
        return None
    text, spans = _label_studio(fields.get("data"), finished) if "annotations" in fields else _text_and_spans(fields)
    if not words(text):
        raise RowFault("text: expected a text, found none.")
    return _from_spans(record.place, text, spans, findings)


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _tag_names(tags: Any, column: str, table: Table) -> list[str]:
    if not isinstance(tags, list):
        raise RowFault(f"{column}: expected a list of tags, found {show(tags)}.")
    names = table.class_names.get(column, ())
    named = [names[tag] if type(tag) is int and 0 <= tag < len(names) else tag for tag in tags]
    for tag in named:
        if type(tag) is int:
            meant = f"a number below {len(names)}" if names else "names such as B-PER"
            raise RowFault(f"{column}: expected {meant}, found the number {tag}; write the tags as names.")
        if not isinstance(tag, str):
            raise RowFault(f"{column}: expected a tag such as O or B-PER, found {show(tag)}.")
    return named


def _from_tags(place: str, tokens: list[str], tags: list[str], findings: _Findings) -> EntityRow | None:
    if len(tokens) != len(tags):
        raise RowFault(f"expected as many tags as tokens, found {len(tags)} tags and {len(tokens)} tokens.")
    text, parsed = "", []
    bounds: list[Bounds] = []
    for token, tag in zip(map(str.strip, tokens), tags, strict=True):
        if token:
            try:
                parsed.append(_tag(tag))
            except ValueError as error:
                raise RowFault(f"tag of {token!r}: {error}.") from error
            text += f" {token}" if text else token
            bounds.append((len(text) - len(token), len(text)))
    groups = decode(parsed)
    findings.total += len(groups)
    repaired = sum(parsed[group.first].place in ("inside", "end") for group in groups)
    for key, count in (
        (("span", "without a beginning tag (B-) begin at their first token"), repaired),
        (("blank token", "left out"), len(tokens) - len(bounds)),
        (("row", "without any token left out"), not bounds),
    ):
        if count:
            findings.repairs[key] += count
    return EntityRow(place, text, tuple(_span(group, bounds) for group in groups), tuple(bounds)) if bounds else None


def _span(group: Group, tokens: Sequence[Bounds]) -> EntitySpan:
    return EntitySpan(group.type, tokens[group.first][0], tokens[group.last][1])


def _from_token_spans(place: str, tokens: list[str], spans: Any, findings: _Findings) -> EntityRow:
    """GLiNER's spans: first and last token, and label."""
    tokens = [" ".join(token.split()) for token in tokens]
    text, ends = " ".join(tokens), list(accumulate(len(token) + 1 for token in tokens))
    bounds = [(end - 1 - len(token), end - 1) for token, end in zip(tokens, ends, strict=True)]
    if not words(text):
        raise RowFault("tokenized_text: expected a text, found none.")
    placed = []
    for span in spans if isinstance(spans, list | tuple) else [spans]:
        match span:
            case [int() as first, int() as last, str() as label] if 0 <= first <= last < len(tokens) and label.strip():
                placed.append(EntitySpan(label.strip(), bounds[first][0], bounds[last][1]))
            case _:
                raise RowFault(f"ner: expected spans [first token, last token, label], found {show(span)}.")
    findings.total += len(placed)
    return EntityRow(place, text, _disjoint(place, text, placed, findings), tuple(b for b in bounds if b[0] < b[1]))


def _by_sentence(table: Table) -> Table:
    """A table of one token a row with one sentence a row, if a column numbers the sentences.

    Rows without a number belong to the sentence above, as in Kaggle's "Sentence #".
    """
    columns = {name.lower(): name for name in table.columns}
    fields = [
        next((columns[name] for name in names if name in columns), "")
        for names in (SENTENCE_COLUMNS, ("word", "token", *TOKEN_COLUMNS), ("tag", "label", *TAG_COLUMNS))
    ]
    if not all(fields) or any(isinstance(row.fields.get(fields[1]), list) for row in table.rows):
        return table
    sentences: dict[str, tuple[str, list[str], list[Any]]] = {}
    number = ""
    for row in table.rows:
        value, token, tag = (row.fields.get(name) for name in fields)
        number = number if is_missing(value) else str(value)
        _, tokens, tags = sentences.setdefault(number, (row.place, [], []))
        tokens.append("" if is_missing(token) else str(token))
        tags.append("O" if is_missing(token) and is_missing(tag) else tag)
    names = {"tags": table.class_names[fields[2]]} if fields[2] in table.class_names else {}
    rows = [Row(place, {"tokens": tokens, "tags": tags}) for place, tokens, tags in sentences.values()]
    notes = [*table.notes, *read_note(table, set(fields))]
    return replace(table, columns=("tokens", "tags"), rows=rows, class_names=names, notes=notes)


def _tag(tag: str) -> Tag:
    if not _TAG.fullmatch(tag.strip()):
        raise ValueError(f"expected O, or B-, I-, E-, S-, L- or U- and a type, found {tag!r}")
    return parse_tag(tag.strip())


def _text_and_spans(fields: Mapping[str, Any]) -> tuple[str, list[Annotation]]:
    text = fields.get("text")
    column = next((name for name in SPAN_COLUMNS if fields.get(name) is not None), None)
    named = any(name in fields for name in SPAN_COLUMNS)
    if "text" not in fields or not (named or "answer" in fields):
        raise RowFault(
            "expected tokens with tags, or a text with one of spans, entities, label; "
            f"found the fields {', '.join(fields) or 'none'}."
        )
    if not isinstance(text, str):
        raise RowFault(f"text: expected a text, found {show(text)}.")
    spans = fields[column] if column else []
    if not isinstance(spans, list | tuple):
        raise RowFault(f"{column}: expected a list of spans, found {show(spans)}.")
    return text, [one for span in spans for one in _annotations(span, str(column))]


def _annotations(span: Any, column: str) -> list[Annotation]:
    """The span once for each of its labels: Label Studio writes a list of them, also in its JSON-MIN."""
    if not isinstance(span, dict) or "labels" not in span:
        return [_annotation(span, column)]
    labels = span["labels"]
    if not _strings(labels) or not labels:
        raise RowFault(f"labels: expected a list of labels, found {show(labels)}.")
    return [_annotation({**span, "label": label}, column) for label in labels]


def _label_studio(data: Any, annotations: Sequence[Mapping[str, Any]]) -> tuple[str, list[Annotation]]:
    strings = {name: value for name, value in data.items() if isinstance(value, str)} if isinstance(data, dict) else {}
    text = strings.get("text") or (next(iter(strings.values())) if len(strings) == 1 else None)
    if text is None:
        raise RowFault(f"data.text: expected a text, found {show(data)}.")
    spans: list[Annotation] = []
    for annotation in annotations:
        for result in _objects(annotation.get("result"), "result"):
            value = result.get("value")
            # The list also holds relations and choices, which are no spans.
            if isinstance(value, dict) and "labels" in value:
                spans += _annotations(value, "value")
    return text, spans


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise RowFault(f"{name}: expected a list of objects, found {show(value)}.")
    return value


def _annotation(value: Any, column: str) -> Annotation:
    match value:
        case [start, end, label]:
            text = None
        case {"start": start, "end": end, "label": label} | {"start_offset": start, "end_offset": end, "label": label}:
            text = value.get("text")
        case _:
            raise RowFault(f"{column}: expected spans with start, end and label, found {show(value)}.")
    if type(start) is not int or type(end) is not int:
        raise RowFault(f"{column}: expected whole numbers as start and end, found {show(value)}.")
    if not isinstance(label, str) or not label.strip():
        raise RowFault(f"{column}: expected a span's label, found {show(label)}.")
    return EntitySpan(label.strip(), start, end), text if isinstance(text, str) else None


def _from_spans(place: str, text: str, annotations: list[Annotation], findings: _Findings) -> EntityRow:
    bounds = words(text)
    starts, ends = {start for start, _ in bounds}, {end for _, end in bounds}
    spans = []
    for span, quoted in annotations:
        if misfit := _misfit(span, quoted, text, starts, ends):
            moved = _nearest(span, quoted, text, bounds)
            findings.problems.append(
                f"{place}: span {_quote(text, span)} of {span.label} {misfit}; nearest: {_quote(text, moved)}"
            )
            span = moved
        spans.append(span)
    findings.total += len(spans)
    return EntityRow(place, text, _disjoint(place, text, spans, findings), tuple(bounds))


def _misfit(span: EntitySpan, quoted: str | None, text: str, starts: set[int], ends: set[int]) -> str:
    """What is wrong with a span, or nothing."""
    if span.start >= span.end:
        return "is reversed" if span.start > span.end else "is empty"
    if span.start < 0 or span.end > len(text):
        return f"is out of range (the text has {len(text)} characters)"
    if quoted is not None and normalize("NFC", quoted) != normalize("NFC", text[span.start : span.end]):
        return f"is stated as {quoted!r}"
    faults = []
    if span.start not in starts:
        faults.append(f"begins {'in white space' if text[span.start].isspace() else 'inside a word'}")
    if span.end not in ends:
        faults.append(f"ends {'in white space' if text[span.end - 1].isspace() else 'inside a word'}")
    return " and ".join(faults)


def _nearest(span: EntitySpan, quoted: str | None, text: str, bounds: Sequence[Bounds]) -> EntitySpan:
    """The nearest occurrence of the quoted text between words, or else the nearest words."""
    starts, ends = map(list, zip(*bounds, strict=True))
    first, last = (min(max(edge, 0), len(text)) for edge in sorted((span.start, span.end)))
    inside = text[first:last]
    if inside.strip():
        # White space at the edges is no reason to reach for the words beyond it.
        first, last = first + len(inside) - len(inside.lstrip()), last - len(inside) + len(inside.rstrip())
    if quoted and (quoted := quoted.strip()):
        places = [match.start() for match in re.finditer(f"(?={re.escape(quoted)})", text)]
        fitting = [place for place in places if place in starts and place + len(quoted) in ends]
        if fitting:
            start = min(fitting, key=lambda place: abs(place - first))
            return EntitySpan(span.label, start, start + len(quoted))
    after, until = bisect_right(starts, first), bisect_left(ends, last)
    near = product(starts[max(0, after - 2) : after + 1], ends[max(0, until - 1) : until + 2])
    pairs = [(start, end) for start, end in near if start < end]
    start, end = min(pairs, key=lambda pair: (abs(pair[0] - first) + abs(pair[1] - last), pair[0] - pair[1]))
    return EntitySpan(span.label, start, end)


def _disjoint(place: str, text: str, spans: list[EntitySpan], findings: _Findings) -> tuple[EntitySpan, ...]:
    """The spans in order; of overlapping ones, the longest."""
    disjoint: list[EntitySpan] = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span.start)):
        other = next((one for one in disjoint if one.start < span.end and span.start < one.end), None)
        if other is None:
            disjoint.append(span)
            continue
        how = f"{'repeats' if other == span else 'overlaps'} {_quote(text, other)} of {other.label}"
        findings.dropped.append(f"{place}: span {_quote(text, span)} of {span.label} {how}")
    return tuple(sorted(disjoint, key=lambda span: span.start))


def _quote(text: str, span: EntitySpan) -> str:
    return f"{span.start}..{span.end} {clip(text[max(0, span.start) : max(0, span.end)])!r}"
