"""Questions with answers in a context: SQuAD files, and flat rows with or without offsets."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nlptasks.data.rows import Row, RowFault, Table, plural, show
from nlptasks.data.tables import Findings
from nlptasks.errors import clip

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

Answer = tuple[str, int]
"""An answer's text and its start in the context."""


@dataclass(frozen=True)
class QuestionRow:
    """One question; without `answers`, the context does not answer it.

    `title` is the article of the context, where the data has it; `source` is the row's file.
    """

    place: str
    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    title: str = ""
    source: str = ""


@dataclass
class _Findings(Findings[QuestionRow]):
    """`ambiguous` counts answers whose place nobody knows."""

    ambiguous: int = 0


def read_questions(tables: Sequence[Table], *, allow_misaligned: bool = False) -> Findings[QuestionRow]:
    """Read and check questions, of SQuAD 1.1 and 2.0 or of flat rows.

    A flat row has question, context, and either answers or answer, with or without answer_start: an answer without
    it is searched for. Answers that are not at their start are moved to the nearest occurrence.

    Args:
        tables: from `read_tables`.
        allow_misaligned: move misaligned answers even if more than 1 % are.

    Raises:
        DataError: naming every bad row, and the misaligned answers if there are too many.
    """
    findings = _Findings("answers")
    parse = partial(_read_row, findings=findings)
    findings.notes += _notes(findings.read(tables, parse, expand=_flatten, allow_misaligned=allow_misaligned))
    if count := findings.ambiguous:
        repeated = f"{plural(count, 'answer')} without answer_start"
        findings.notes.append(f"the context has {repeated} several times, and the first place is learnt")
    return findings


def _flatten(record: Row) -> Iterator[Row]:
    """The questions of a SQuAD article or paragraph, or the record itself."""
    fields = record.fields
    if "paragraphs" in fields:
        for paragraph in _parts(record, "paragraphs", "paragraph"):
            yield from _flatten(paragraph)
    elif "qas" in fields:
        for question in _parts(record, "qas", "question"):
            yield question._replace(fields={**question.fields, "context": fields.get("context")})
    else:
        yield record


def _parts(record: Row, name: str, what: str) -> Iterator[Row]:
    """The parts of an article or paragraph, each with its title; those that are no objects as faults."""
    parts = record.fields[name]
    if not isinstance(parts, list):
        yield Row(record.place, fault=f"{name}: expected a list, found {show(parts)}.")
        return
    title = {"title": record.fields["title"]} if "title" in record.fields else {}
    for number, part in enumerate(parts, start=1):
        place = f"{record.place}, {what} {number}"
        if isinstance(part, dict):
            yield Row(place, {**part, **title})
        else:
            yield Row(place, fault=f"expected an object, found {show(part)}.")


def _read_row(record: Row, table: Table, findings: _Findings) -> QuestionRow:
    fields = record.fields
    question, context = _text(fields, "question"), _text(fields, "context")
    annotated = _annotated(fields)
    impossible = _impossible(fields.get("is_impossible"))
    if impossible and annotated:
        raise RowFault(f"is_impossible: expected no answer beside true, found {annotated[0][0]!r}.")
    if impossible is False and not annotated:
        raise RowFault("answers: expected an answer, because is_impossible is false, found none.")
    answers = tuple(_place(record.place, text, start, context, findings) for text, start in annotated)
    name, title = fields.get("id"), fields.get("title")
    name = str(record.place if name in (None, "") else name)
    title = title.strip() if isinstance(title, str) else ""
    return QuestionRow(record.place, name, question, context, answers, title, table.source)


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
    word = str(value).strip().casefold()
    if word and word not in _TRUTH:
        raise RowFault(f"is_impossible: expected true or false, found {show(value)}.")
    return _TRUTH.get(word)


def _annotated(fields: Mapping[str, Any]) -> list[tuple[str, int | None]]:
    """The answers of a row and their starts; blank answers are dropped."""
    match fields.get("answers" if "answers" in fields else "answer"):
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


def _place(place: str, text: str, start: int | None, context: str, findings: _Findings) -> Answer:
    """The answer at its start, or else at the nearest occurrence; at the first one without a start."""
    findings.total += 1
    at = "" if start is None else f" at {start}"
    findings.ambiguous += start is None and context.count(text) > 1
    nearest = _nearest(text, start or 0, context, exact=start is None)
    if nearest is None:
        raise RowFault(f"answer {clip(text)!r}{at}: expected a text of the context, found no place that has it.")
    if start is not None and (_composed(nearest[0]), nearest[1]) != (_composed(text), start):
        there = context[max(0, start) : max(0, start + len(text))]
        findings.problems.append(
            f"{place}: answer {clip(text)!r}{at}, where the context has {clip(there)!r}; "
            f"nearest: {nearest[1]} {clip(nearest[0])!r}"
        )
    return nearest


def _nearest(text: str, start: int, context: str, *, exact: bool) -> Answer | None:
    """The nearest occurrence, in any normal form; unless `exact`, also in another case or with other white space."""
    if start >= 0 and context.startswith(text, start):
        return text, start
    loose = r"\s+".join(map(_either, text.split()))
    patterns = (f"(?=({_either(text)}))", *(() if exact else (f"(?i)(?=({loose}))",)))
    for pattern in patterns:
        matches = [(match[1], match.start()) for match in re.finditer(pattern, context)]
        if matches:
            return min(matches, key=lambda match: abs(match[1] - start))
    return None


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _either(text: str) -> str:
    """A pattern for a text with each character composed or decomposed."""
    forms = ((char, unicodedata.normalize("NFD", char)) for char in _composed(text))
    return "".join(re.escape(char) if char == parts else f"(?:{char}|{parts})" for char, parts in forms)


def _notes(rows: Sequence[QuestionRow]) -> list[str]:
    notes = []
    unanswerable = sum(not row.answers for row in rows)
    if unanswerable:
        notes.append(f"{unanswerable} of {len(rows)} questions have no answer in their context")
    repeated = [name for name, count in Counter(row.id for row in rows).items() if count > 1]
    if repeated:
        notes.append(f"{len(repeated)} ids occur more than once: {', '.join(repeated[:5])}; all their rows are used")
    return notes
