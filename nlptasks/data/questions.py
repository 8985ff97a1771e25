"""Questions with answers in a context out of records: SQuAD files, flat rows with offsets or without."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nlptasks.data.rows import Row, RowFault, Table, show
from nlptasks.data.tables import Findings
from nlptasks.errors import DataError

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

Answer = tuple[str, int]
"""An answer's text and its start in the context."""


@dataclass(frozen=True)
class QuestionRow:
    """One question; without `answers` the context does not answer it.

    `title` is the article that the context is of, where the data names it; `source` is the row's file.
    """

    place: str
    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    title: str = ""
    source: str = ""


@dataclass
class QuestionExamples:
    """All rows; `problems` has a line for each answer that was moved, `notes` say how rows were read."""

    rows: list[QuestionRow]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_questions(tables: Sequence[Table], *, allow_misaligned: bool = False) -> QuestionExamples:
    """Read and check questions, of SQuAD 1.1 and 2.0 or of flat rows.

    A flat row has question, context, and either answers or answer, with answer_start or without: an answer
    without one is looked for. Answers that do not stand at their start are moved to the nearest occurrence.

    Args:
        tables: what `read_tables` found.
        allow_misaligned: move misaligned answers even if more than 1 % are.

    Raises:
        DataError: naming every bad row, and the misaligned answers if there are too many.
    """
    found = Findings("answers")
    rows: list[QuestionRow] = []
    for table in tables:
        faults: list[str] = []
        for record in table.rows:
            for flat in _flatten(record, faults):
                try:
                    rows.append(_read_row(flat, found, table.source))
                except RowFault as fault:
                    faults.append(f"{flat.place}: {fault}")
        found.add_table(table, faults)
    found.check(allow_misaligned)
    if not rows:
        raise DataError(f"{', '.join(table.source for table in tables)}: expected questions, found none.")
    return QuestionExamples(rows, found.moved, found.notes + _notes(rows))


def _flatten(record: Row, faults: list[str]) -> Iterator[Row]:
    """The questions of a SQuAD article or paragraph, or the record itself."""
    fields = record.fields
    if "paragraphs" in fields:
        for paragraph in _parts(record, "paragraphs", "paragraph", faults):
            yield from _flatten(_titled(paragraph, fields), faults)
    elif "qas" in fields:
        for question in _parts(record, "qas", "question", faults):
            yield Row(question.place, {**_titled(question, fields).fields, "context": fields.get("context")})
    else:
        yield record


def _titled(part: Row, above: Mapping[str, Any]) -> Row:
    """The part with the title of the article it stands in."""
    return Row(part.place, {**part.fields, "title": above["title"]}) if "title" in above else part


def _parts(record: Row, name: str, what: str, faults: list[str]) -> Iterator[Row]:
    parts = record.fields[name]
    if not isinstance(parts, list):
        faults.append(f"{record.place}: {name}: expected a list, found {show(parts)}.")
        return
    for number, part in enumerate(parts, start=1):
        place = f"{record.place}, {what} {number}"
        if isinstance(part, dict):
            yield Row(place, part)
        else:
            faults.append(f"{place}: expected an object, found {show(part)}.")


def _read_row(record: Row, found: Findings, source: str) -> QuestionRow:
    fields = record.fields
    question, context = _text(fields, "question"), _text(fields, "context")
    stated = _stated(fields)
    impossible = _impossible(fields.get("is_impossible"))
    if impossible and stated:
        raise RowFault(f"is_impossible: expected no answer beside true, found {stated[0][0]!r}.")
    if impossible is False and not stated:
        raise RowFault("answers: expected an answer, because is_impossible is false, found none.")
    answers = tuple(_place(record.place, text, start, context, found) for text, start in stated)
    name, title = fields.get("id"), fields.get("title")
    name = str(record.place if name in (None, "") else name)
    title = title.strip() if isinstance(title, str) else ""
    return QuestionRow(record.place, name, question, context, answers, title, source)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if name not in fields:
        raise RowFault(f"expected the fields question, context and answers, found {', '.join(fields) or 'none'}.")
    if not isinstance(value, str) or not value.strip():
        raise RowFault(f"{name}: expected a text, found {show(value)}.")
    return value


def _impossible(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    shown = str(value).strip().casefold()
    if shown and shown not in _TRUTH:
        raise RowFault(f"is_impossible: expected true or false, found {show(value)}.")
    return _TRUTH.get(shown)


def _stated(fields: Mapping[str, Any]) -> list[tuple[str, int | None]]:
    """Answers as the data has them; blank ones are none."""
    match fields.get("answers", fields.get("answer")):
        case {"text": texts, **rest}:
            return _paired(texts, rest.get("answer_start"))
        case str() as text:
            return _paired([text], [fields.get("answer_start")])
        case [*items] if all(isinstance(item, dict) for item in items):
            return _paired([item.get("text") for item in items], [item.get("answer_start") for item in items])
        case None if "answers" in fields or "answer" in fields or fields.get("is_impossible") is not None:
            return []
        case None:
            raise RowFault(f"expected the field answers or answer, found {', '.join(fields)}.")
        case other:
            raise RowFault(f'answers: expected {{"text": [...], "answer_start": [...]}}, found {show(other)}.')


def _paired(texts: Any, starts: Any) -> list[tuple[str, int | None]]:
    texts = [texts] if isinstance(texts, str) else texts
    starts = [starts] if isinstance(starts, int) else starts
    if not isinstance(texts, list):
        raise RowFault(f"answers: expected a list of texts, found {show(texts)}.")
    if not starts:
        starts = [None] * len(texts)
    if not isinstance(starts, list) or len(starts) != len(texts):
        raise RowFault(f"answer_start: expected {len(texts)} numbers, one for each answer, found {show(starts)}.")
    pairs = []
    for text, start in zip(texts, starts, strict=True):
        if not isinstance(text, str):
            raise RowFault(f"answers: expected a text, found {show(text)}.")
        if text.strip():
            pairs.append((text, _start(start)))
    return pairs


def _start(value: Any) -> int | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float) and value != value:  # A missing number in Parquet.
        return None
    try:
        number = int(value)
        if not isinstance(value, bool) and number == float(value):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise RowFault(f"answer_start: expected a whole number, found {show(value)}.")


def _place(place: str, text: str, start: int | None, context: str, found: Findings) -> Answer:
    """The answer at its start, or at the occurrence nearest to it."""
    found.total += 1
    if start is None:
        first = context.find(text)
        if first < 0:
            raise RowFault(f"answer {_cut(text)!r}: expected a text of the context, found no place that has it.")
        return text, first
    if start >= 0 and context.startswith(text, start):
        return text, start
    nearest = _nearest(text, start, context)
    if nearest is None:
        raise RowFault(f"answer {_cut(text)!r} at {start}: expected a text of the context, found no place that has it.")
    there = context[max(0, start) : max(0, start + len(text))]
    line = f"{place}: answer {_cut(text)!r} at {start}, where the context has {_cut(there)!r}"
    found.moved.append(f"{line}; nearest: {nearest[1]} {_cut(nearest[0])!r}")
    return nearest


def _nearest(text: str, start: int, context: str) -> Answer | None:
    """The nearest occurrence, if need be in another case or with other white space."""
    loose = r"\s+".join(re.escape(part) for part in text.split())
    for pattern in (re.compile(f"(?=({re.escape(text)}))"), re.compile(f"(?=({loose}))", re.IGNORECASE)):
        matches = [(match[1], match.start()) for match in pattern.finditer(context)]
        if matches:
            return min(matches, key=lambda match: abs(match[1] - start))
    return None


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _notes(rows: Sequence[QuestionRow]) -> list[str]:
    notes = []
    unanswerable = sum(not row.answers for row in rows)
    if unanswerable:
        notes.append(f"{unanswerable} of {len(rows)} questions have no answer in their context")
    repeated = [name for name, count in Counter(row.id for row in rows).items() if count > 1]
    if repeated:
        notes.append(f"ids that stand more than once, each row is kept: {', '.join(repeated[:5])} ({len(repeated)})")
    return notes
