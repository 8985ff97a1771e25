"""Texts with named entities out of records: every common annotation format becomes text and character spans."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nlptasks.data.rows import Row, RowFault, Table, plural, show
from nlptasks.data.tables import Findings
from nlptasks.errors import DataError
from nlptasks.families.spans import words

SHOWN = 20
"""How many of the spans left out are noted one by one."""

TOKEN_COLUMNS = ("tokens", "words")
TAG_COLUMNS = ("tags", "ner_tags", "labels")
SPAN_COLUMNS = ("spans", "entities", "label", "labels")

_TAG = re.compile(r"O|(?P<prefix>[BIELSU])-(?P<label>.*\S)")

Bounds = tuple[int, int]


@dataclass(frozen=True)
class EntitySpan:
    """An entity: the characters `start` to `end` (not included) of its text."""

    label: str
    start: int
    end: int


@dataclass(frozen=True)
class EntityRow:
    """One text; `spans` are sorted and do not overlap.

    `tokens` are the bounds of the data's own tokens, or of the words where the data has none.
    """

    place: str
    text: str
    spans: tuple[EntitySpan, ...]
    tokens: tuple[Bounds, ...]


@dataclass
class EntityExamples:
    """All rows; `labels` in order of appearance, `problems` a line for each span that was moved."""

    rows: list[EntityRow]
    labels: tuple[str, ...]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Stated:
    """A span as the data has it, valid or not."""

    label: str
    start: int
    end: int
    text: str | None = None


@dataclass
class _Reading(Findings):
    repaired: int = 0
    blank: int = 0
    empty: int = 0
    rejected: int = 0
    skipped: int = 0
    dropped: list[str] = field(default_factory=list)


def read_entities(tables: Sequence[Table], *, allow_misaligned: bool = False) -> EntityExamples:
    """Read and check texts with entities.

    Known are tokens with tags (IOB1, IOB2, BIOES, BILOU), and text with spans as Doccano, Prodigy, spaCy and
    Label Studio write them. Misaligned spans are moved to the nearest words.

    Args:
        tables: what `read_tables` found.
        allow_misaligned: move misaligned spans even if more than 1 % are.

    Raises:
        DataError: naming every bad row, and the misaligned spans if there are too many.
    """
    found = _Reading("spans")
    rows: list[EntityRow] = []
    for table in tables:
        faults: list[str] = []
        for record in table.rows:
            try:
                row = _read_row(record, table, found)
            except RowFault as fault:
                faults.append(f"{record.place}: {fault}")
                continue
            if row:
                rows.append(row)
        found.add_table(table, faults)
    found.check(allow_misaligned)
    if not rows:
        raise DataError(f"{', '.join(table.source for table in tables)}: expected rows, found none.")
    labels = tuple(dict.fromkeys(span.label for row in rows for span in row.spans))
    return EntityExamples(rows, labels, found.moved, _notes(found))


def spans_of_tags(tokens: Sequence[Bounds], tags: Sequence[str]) -> list[EntitySpan]:
    """The spans that tags of any scheme mean; a continuation without its beginning starts a span.

    Raises:
        ValueError: naming a tag of no scheme.
    """
    return [
        EntitySpan(label, tokens[first][0], tokens[last][1]) for label, first, last in _groups([_tag(t) for t in tags])
    ]


def tags_of_spans(tokens: Sequence[Bounds], spans: Sequence[EntitySpan]) -> list[str]:
    """The IOB2 tags of tokens; a token belongs to the span that holds all of it."""
    tags = ["O"] * len(tokens)
    for span in spans:
        inside = [i for i, (start, end) in enumerate(tokens) if span.start <= start and end <= span.end]
        for index in inside:
            tags[index] = f"{'B' if index == inside[0] else 'I'}-{span.label}"
    return tags


def _read_row(record: Row, table: Table, found: _Reading) -> EntityRow | None:
    fields = record.fields
    tokens = next((name for name in TOKEN_COLUMNS if _strings(fields.get(name))), None)
    tags = next((name for name in TAG_COLUMNS if fields.get(name) is not None), None)
    if tokens and tags:
        return _from_tags(record.place, fields[tokens], _named(fields[tags], tags, table), found)
    if fields.get("answer") in ("reject", "ignore"):
        # Prodigy keeps what the annotator refused; it must not be learnt.
        found.rejected += 1
        return None
    if "annotations" in fields:
        given = _objects(fields["annotations"], "annotations")
        finished = [one for one in given if not one.get("was_cancelled")]
        if not finished:
            # Nobody has read the text yet, or whoever did skipped it: that is not a text without entities.
            found.rejected += 1
            return None
        found.skipped += len(given) - len(finished)
        text, stated = _label_studio(fields.get("data"), finished)
    else:
        text, stated = _text_and_spans(fields)
    if not words(text):
        raise RowFault("text: expected a text, found none.")
    return _from_spans(record.place, text, stated, found)


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _named(tags: Any, column: str, table: Table) -> list[str]:
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


def _from_tags(place: str, tokens: list[str], tags: list[str], found: _Reading) -> EntityRow | None:
    if len(tokens) != len(tags):
        raise RowFault(f"expected as many tags as tokens, found {len(tags)} tags and {len(tokens)} tokens.")
    pairs = [(token.strip(), tag) for token, tag in zip(tokens, tags, strict=True) if token.strip()]
    found.blank += len(tokens) - len(pairs)
    if not pairs:
        found.empty += 1
        return None
    parsed = []
    for token, tag in pairs:
        try:
            parsed.append(_tag(tag))
        except ValueError as error:
            raise RowFault(f"tag of {token!r}: {error}.") from error
    bounds: list[Bounds] = []
    for token, _ in pairs:
        start = bounds[-1][1] + 1 if bounds else 0
        bounds.append((start, start + len(token)))
    groups = list(_groups(parsed))
    found.total += len(groups)
    found.repaired += sum(parsed[first][0] in "IEL" for _, first, _ in groups)
    spans = tuple(EntitySpan(label, bounds[first][0], bounds[last][1]) for label, first, last in groups)
    return EntityRow(place, " ".join(token for token, _ in pairs), spans, tuple(bounds))


def _tag(tag: str) -> tuple[str, str]:
    """Prefix and label of a tag, both empty for O."""
    match = _TAG.fullmatch(tag.strip())
    if not match:
        raise ValueError(f"expected O, or B-, I-, E-, S-, L- or U- and a type, found {tag!r}")
    return match["prefix"] or "", match["label"] or ""


def _groups(tags: Sequence[tuple[str, str]]) -> Iterator[tuple[str, int, int]]:
    """Label, first and last index of each span."""
    label, first = "", 0
    for index, (prefix, new) in enumerate([*tags, ("", "")]):
        goes_on = prefix in ("I", "E", "L") and new == label
        if label and not goes_on:
            yield label, first, index - 1
        if not goes_on:
            label, first = new, index
        if label and prefix in ("E", "L", "S", "U"):
            yield label, first, index
            label = ""


def _text_and_spans(fields: Mapping[str, Any]) -> tuple[str, list[_Stated]]:
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
    return text, _stated_spans(fields[column], column) if column else []


def _label_studio(data: Any, annotations: Sequence[Mapping[str, Any]]) -> tuple[str, list[_Stated]]:
    strings = {name: value for name, value in data.items() if isinstance(value, str)} if isinstance(data, dict) else {}
    text = strings.get("text") or (next(iter(strings.values())) if len(strings) == 1 else None)
    if text is None:
        raise RowFault(f"data.text: expected a text, found {show(data)}.")
    spans: list[_Stated] = []
    for annotation in annotations:
        for result in _objects(annotation.get("result"), "result"):
            value = result.get("value")
            # Relations and choices stand in the same list and are no spans.
            if isinstance(value, dict) and "labels" in value:
                labels = value["labels"]
                if not _strings(labels) or not labels:
                    raise RowFault(f"labels: expected a list of labels, found {show(labels)}.")
                spans += [_stated({**value, "label": label}, "value") for label in labels]
    return text, spans


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise RowFault(f"{name}: expected a list of objects, found {show(value)}.")
    return value


def _stated_spans(value: Any, column: str) -> list[_Stated]:
    if not isinstance(value, list | tuple):
        raise RowFault(f"{column}: expected a list of spans, found {show(value)}.")
    return [_stated(one, column) for one in value]


def _stated(value: Any, column: str) -> _Stated:
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
    return _Stated(label.strip(), start, end, text if isinstance(text, str) else None)


def _from_spans(place: str, text: str, stated: list[_Stated], found: _Reading) -> EntityRow:
    bounds = words(text)
    starts, ends = [start for start, _ in bounds], [end for _, end in bounds]
    spans = []
    for one in stated:
        span = EntitySpan(one.label, one.start, one.end)
        misfit = _misfit(one, text, starts, ends)
        if misfit:
            span = _nearest(one, text, starts, ends)
            nearest = _quote(text, span.start, span.end)
            shown = f"{_quote(text, one.start, one.end)} of {one.label}"
            found.moved.append(f"{place}: span {shown} {misfit}; nearest: {nearest}")
        spans.append(span)
    found.total += len(spans)
    return EntityRow(place, text, _disjoint(place, text, spans, found), tuple(bounds))


def _misfit(span: _Stated, text: str, starts: list[int], ends: list[int]) -> str:
    """What is wrong with a span, or nothing."""
    if span.start >= span.end:
        return "is reversed" if span.start > span.end else "is empty"
    if span.start < 0 or span.end > len(text):
        return f"is out of range (the text has {len(text)} characters)"
    if span.text is not None and span.text != text[span.start : span.end]:
        return f"is stated as {span.text!r}"
    faults = []
    if not _holds(starts, span.start):
        faults.append(f"begins {'in white space' if text[span.start].isspace() else 'inside a word'}")
    if not _holds(ends, span.end):
        faults.append(f"ends {'in white space' if text[span.end - 1].isspace() else 'inside a word'}")
    return " and ".join(faults)


def _nearest(span: _Stated, text: str, starts: list[int], ends: list[int]) -> EntitySpan:
    """The stated text's nearest occurrence between words, or else the nearest words."""
    first, last = (min(max(edge, 0), len(text)) for edge in sorted((span.start, span.end)))
    inside = text[first:last]
    if inside.strip():
        # White space at the edges is no reason to reach for the words beyond it.
        first, last = first + len(inside) - len(inside.lstrip()), last - len(inside) + len(inside.rstrip())
    if span.text and span.text.strip():
        places = [match.start() for match in re.finditer(f"(?={re.escape(span.text.strip())})", text)]
        size = len(span.text.strip())
        fitting = [place for place in places if _holds(starts, place) and _holds(ends, place + size)]
        if fitting:
            start = min(fitting, key=lambda place: abs(place - first))
            return EntitySpan(span.label, start, start + size)
    after, until = bisect_right(starts, first), bisect_left(ends, last)
    pairs = [
        (start, end)
        for start in starts[max(0, after - 2) : after + 1]
        for end in ends[max(0, until - 1) : until + 2]
        if start < end
    ]
    start, end = min(pairs, key=lambda pair: (abs(pair[0] - first) + abs(pair[1] - last), pair[0] - pair[1]))
    return EntitySpan(span.label, start, end)


def _holds(ordered: list[int], value: int) -> bool:
    index = bisect_left(ordered, value)
    return index < len(ordered) and ordered[index] == value


def _disjoint(place: str, text: str, spans: list[EntitySpan], found: _Reading) -> tuple[EntitySpan, ...]:
    """The spans in order, of overlapping ones the longest."""
    kept: list[EntitySpan] = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span.start)):
        other = next((one for one in kept if one.start < span.end and span.start < one.end), None)
        if other is None:
            kept.append(span)
            continue
        how = "repeats" if other == span else "overlaps"
        shown = f"{_quote(text, span.start, span.end)} of {span.label}"
        found.dropped.append(f"{place}: span {shown} {how} {_quote(text, other.start, other.end)} of {other.label}")
    return tuple(sorted(kept, key=lambda span: span.start))


def _quote(text: str, start: int, end: int) -> str:
    shown = text[max(0, start) : max(0, end)]
    return f"{start}..{end} {shown if len(shown) <= 60 else shown[:57] + '...'!r}"


def _notes(found: _Reading) -> list[str]:
    notes = list(found.notes)
    if found.dropped:
        notes.append(f"{plural(len(found.dropped), 'span')} left out; of overlapping spans the longest is kept")
        notes += found.dropped[:SHOWN]
    if found.repaired:
        notes.append(f"{plural(found.repaired, 'span')} without a beginning tag (B-) begin at their first token")
    if found.blank:
        notes.append(f"{plural(found.blank, 'blank token')} left out")
    if found.empty:
        notes.append(f"{plural(found.empty, 'row')} without any token left out")
    if found.rejected:
        notes.append(f"{plural(found.rejected, 'row')} left out that the annotator rejected, ignored or did not reach")
    if found.skipped:
        notes.append(f"{plural(found.skipped, 'cancelled annotation')} left out of rows that have another")
    return notes
