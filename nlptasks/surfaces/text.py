"""Results as text for people; --json is for programs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from textwrap import indent
from typing import Any

from pydantic import BaseModel

from nlptasks import Answer, Classification, Entities, Entity, Explanation, GeneratedText, Result, sentences
from nlptasks.surfaces.marking import Mark, heat, mark, visible

_REACH = 160
"""Maximum number of characters of the sentence, on each side of an answer."""

MAX_NUMBERS = 16
"""The most numbers of a vector that are printed; --json prints all."""

_SURE = 0.8
"""Entities below this score are printed with it; a number behind every name would hide the few that matter."""


def render(result: Result, source: Any = None, *, several: bool = False, colour: bool = False) -> str:
    """A result in a line or more.

    `source` is its input, a text or a mapping of fields. With `several` results, each is headed by a line about its
    source.
    """
    why = _explanations(getattr(result, "explanations", ()), source, colour)
    if isinstance(result, Entities):
        return _entities(result, source, several, colour) + why
    body = (_answer(result, source, colour) if isinstance(result, Answer) else _plain(result)) + why
    body += "".join(f"\n  {visible(remark)}" for remark in result.remarks())
    if not several:
        return body
    if isinstance(result, Answer) and result.answerable and isinstance(source, Mapping):
        # The answer quotes its context below.
        source = {name: value for name, value in source.items() if name != "context"}
    return f"{visible(one_line(source, 100))}\n{indent(body, '  ')}"


def _explanations(explanations: Sequence[Explanation], source: Any, colour: bool) -> str:
    """A line for each answer that is explained: of labels the first one, of entities all."""
    texts = source if isinstance(source, Mapping) else {"text": source}
    lines = []
    for one in explanations if explanations and explanations[0].start is not None else explanations[:1]:
        fields = [
            heat(str(texts.get(name, "")), [word for word in one.words if word.field == name], colour=colour)
            for name in dict.fromkeys(word.field for word in one.words)
        ]
        lines.append(f"  why {visible(one.target)}: {' | '.join(filter(None, fields))}")
    return "".join(f"\n{line}" for line in lines)


def _plain(result: Result) -> str:
    """A result without spans to mark, and its notes."""
    remarks = notes(result)
    if result.main_field:
        text = _value(getattr(result, result.main_field))
        return visible(f"{text}\n  ({', '.join(remarks)})" if remarks else text)
    if isinstance(result, Classification):
        text = _classification(result)
    elif isinstance(result, GeneratedText):
        text = (result.prompt or "") + result.text
    else:
        values = result.model_dump(mode="json", exclude=set(Result.model_fields))
        lines = [f"{name}: {_value(value)}" for name, value in values.items()]
        text = "\n".join(lines) if len(values) > 1 else "".join(map(_value, values.values()))
    return visible(f"{text}  [{', '.join(remarks)}]" if remarks else text)


def _value(value: Any) -> str:
    """A JSON value; what a list scores stands on lines of its own."""
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return "\n".join(_value(item) for item in value)
    if isinstance(value, list | tuple) and value and all(isinstance(item, float) for item in value):
        numbers = ", ".join(f"{item:.3f}" for item in value[:MAX_NUMBERS])
        return numbers if len(value) <= MAX_NUMBERS else f"{len(value)} numbers: {numbers}, …"
    if isinstance(value, Mapping):
        return "  ".join(f"{item:.3f}" if isinstance(item, float) else str(item) for item in value.values())
    return str(value)


def _classification(result: Classification) -> str:
    if len(result.labels) > 1:
        return ", ".join(f"{s.label} {s.score:.3f}" for s in result.scores if s.label in result.labels)
    best = result.scores[0]
    if result.label is None:
        return f"undecided (best: {best.label} {best.score:.3f})"
    return f"{result.label} {result.score:.3f}"


def _entities(result: Entities, source: Any, several: bool, colour: bool) -> str:
    """The whole text with its entities marked, or a line for each entity without the text."""
    text = _text(source, "text", result.entities)
    if text is None:
        body = visible("\n".join(f"{e.label} {e.text} {e.score:.2f}" for e in result.entities))
    else:
        body = mark(text.rstrip(), [Mark(e.start, e.end, _tag(e), e.label) for e in result.entities], colour=colour)
    remarks = notes(result) if result.entities else ["no entity found", *notes(result)]
    lines = [line for line in (body, f"  ({', '.join(remarks)})" if remarks else "") if line]
    # A page needs a gap to the next one; lines do not.
    return "\n".join(lines) + ("\n" if several and "\n" in body else "")


def _tag(entity: Entity) -> str:
    return entity.label if entity.score >= _SURE else f"{entity.label} {entity.score:.2f}"


def _answer(result: Answer, source: Any, colour: bool) -> str:
    """The answer, the sentence that it is in, and the other spans if more than the best were requested."""
    text = " ".join(result.text.split()) if result.answerable else "no answer in the text"
    lines = [visible(f"{text} ({', '.join([f'{result.score:.2f}', *notes(result)])})")]
    context = _text(source, "context", [result])
    if result.answerable and context is not None:
        quoted, start, end = _excerpt(context, result.start, result.end)
        lines.append("  " + mark(quoted, [Mark(start, end)], colour=colour))
    if len(result.alternatives) > 1:
        best = (result.start, result.end) if result.answerable else None
        others = [one for one in result.alternatives if (one.start, one.end) != best]
        lines += [visible(f"  or: {' '.join(one.text.split())} ({one.score:.2f})") for one in others]
    return "\n".join(lines)


def _text(source: Any, field: str, spans: Sequence[Entity | Answer]) -> str | None:
    """The text that the spans are from, if the input has it and they fit it."""
    text = source.get(field) if isinstance(source, Mapping) else source
    if not isinstance(text, str) or any(text[span.start : span.end] != span.text for span in spans):
        return None
    # A plugin's result may break its promise; overlapping spans would repeat their text.
    return None if any(right.start < left.end for left, right in pairwise(spans)) else text


def notes(result: Result) -> list[str]:
    """What a reader has to know of a result: a cut, several windows, its note."""
    remarks = []
    if result.truncated:
        remarks.append("part of the input was cut")
    if result.windows > 1:
        remarks.append(f"{result.windows} windows" + (" of characters" if result.windowed_by == "characters" else ""))
    return [*remarks, *filter(None, [result.note])]


def _excerpt(text: str, start: int, end: int) -> tuple[str, int, int]:
    """The sentences around `text[start:end]` as one line, and the span in it; long ones are cut with "…"."""
    near, beyond = max(0, start - 2 * _REACH), min(len(text), end + 2 * _REACH)
    spans = [(near + first, near + last) for first, last in sentences(text[near:beyond])]
    around = [span for span in spans if span[0] < end and span[1] > start] or [(start, end)]
    first, last = min(around[0][0], start), max(around[-1][1], end)
    before = _shorten(text[first:start], from_end=True, cut=around[0] in spans[:1] and near > 0)
    words = _line(text[start:end])
    after = _shorten(text[end:last], from_end=False, cut=around[-1] in spans[-1:] and beyond < len(text))
    return before + words + after, len(before), len(before) + len(words)


def _shorten(part: str, *, from_end: bool, cut: bool) -> str:
    line = _line(part)
    if not cut and len(line) <= _REACH:
        return line.lstrip() if from_end else line.rstrip()
    if from_end:
        return "…" + line[-_REACH:].partition(" ")[2]
    return line[:_REACH].rpartition(" ")[0] + "…"


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def one_line(value: Any, width: int) -> str:
    """An input's texts in a line of at most `width` characters."""
    line = " ".join(words(value).split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def words(value: Any) -> str:
    """An input's texts without the names of its fields."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return " | ".join(words(part) for name, part in value.items() if name != "role")
    return " | ".join(map(words, value)) if isinstance(value, list | tuple) else str(value)
