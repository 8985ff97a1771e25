"""Results as text for a person; --json is for programs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from textwrap import indent
from typing import Any

from pydantic import BaseModel

from nlptasks import Answer, AnswerSpan, Classification, Entities, Entity, GeneratedText, Result, sentences
from nlptasks.surfaces.marking import Mark, mark, visible

_REACH = 160
"""Most characters of the sentence around an answer, on each side of it."""

_OWN = set(Result.model_fields)

_SURE = 0.8
"""An entity less sure than this shows its score; a number behind every name would hide the few that matter."""


def render(result: Result, source: Any = None, *, several: bool = False, colour: bool = False) -> str:
    """A result in a line or more.

    `source` is the input it belongs to, a text or a mapping of fields. With `several` results a line about the
    source stands above each.
    """
    if isinstance(result, Entities):
        return _entities(result, source, several, colour)
    if isinstance(result, Answer):
        body = _answer(result, source, colour)
    else:
        body = _shown(result) if result.shown else _plain(result)
    return f"{_head(result, source)}\n{indent(body, '  ')}" if several else body


def _plain(result: Result) -> str:
    """What has no span to mark."""
    if isinstance(result, Classification):
        body = _classification(result)
    elif isinstance(result, GeneratedText):
        body = (result.prompt or "") + result.text
    else:
        body = _fields(result)
    notes = _notes(result)
    return visible(f"{body}  [{', '.join(notes)}]" if notes else body)


def _classification(result: Classification) -> str:
    if len(result.labels) > 1:
        return ", ".join(f"{s.label} {s.score:.3f}" for s in result.scores if s.label in result.labels)
    best = result.scores[0]
    if result.label is None:
        return f"undecided (best: {best.label} {best.score:.3f})"
    return f"{result.label} {result.score:.3f}"


def _shown(result: Result) -> str:
    """The answer itself, and below it what to know of it."""
    text = str(getattr(result, result.shown))
    notes = [*_notes(result), *([result.note] if getattr(result, "note", None) else [])]  # type: ignore[attr-defined]
    return visible(f"{text}\n  ({', '.join(notes)})" if notes else text)


def _fields(result: Result) -> str:
    values: dict[str, Any] = {k: v for k, v in result.model_dump(mode="json").items() if k not in _OWN}
    if len(values) == 1:
        return str(next(iter(values.values())))
    return "\n".join(f"{name}: {value}" for name, value in values.items())


def _entities(result: Entities, source: Any, several: bool, colour: bool) -> str:
    """The whole text with its entities marked, or a line for each entity where the text is not known."""
    text = _text(source, "text", result.entities)
    if text is None:
        body = visible("\n".join(f"{e.label} {e.text} {e.score:.2f}" for e in result.entities))
    else:
        body = mark(text.rstrip(), [Mark(e.start, e.end, _tag(e), e.label) for e in result.entities], colour=colour)
    notes = _notes(result) if result.entities else ["no entity found", *_notes(result)]
    lines = [line for line in (body, f"  ({', '.join(notes)})" if notes else "") if line]
    # A page needs a gap to the next one; lines do not.
    return "\n".join(lines) + ("\n" if several and "\n" in body else "")


def _tag(entity: Entity) -> str:
    return entity.label if entity.score >= _SURE else f"{entity.label} {entity.score:.2f}"


def _answer(result: Answer, source: Any, colour: bool) -> str:
    """The answer, the sentence that it stands in, and the other spans if more than the best were asked for."""
    said = " ".join(result.text.split()) if result.answerable else "no answer in the text"
    lines = [visible(f"{said} ({', '.join([f'{result.score:.2f}', *_notes(result)])})")]
    context = _text(source, "context", [result])
    if result.answerable and context is not None:
        quoted, start, end = _excerpt(context, result.start, result.end)
        lines.append("  " + mark(quoted, [Mark(start, end)], colour=colour))
    lines += [visible(f"  or: {' '.join(one.text.split())} ({one.score:.2f})") for one in _others(result)]
    return "\n".join(lines)


def _others(result: Answer) -> Iterator[AnswerSpan]:
    """The alternatives to what is shown; one alone is there unasked."""
    if len(result.alternatives) > 1:
        for one in result.alternatives:
            if not result.answerable or (one.start, one.end) != (result.start, result.end):
                yield one


def _text(source: Any, field: str, spans: Sequence[Entity | Answer]) -> str | None:
    """The text that the spans are cut from, as far as the input holds it and they fit it."""
    text = source.get(field) if isinstance(source, Mapping) else source
    if not isinstance(text, str) or any(text[span.start : span.end] != span.text for span in spans):
        return None
    # A plugin may break the promise of its result; a text would then be told twice.
    return None if any(right.start < left.end for left, right in pairwise(spans)) else text


def _notes(result: Result) -> list[str]:
    """What a reader must know: a cut, several windows."""
    notes = []
    if result.truncated:
        notes.append("part of the input was cut")
    if result.windows > 1:
        notes.append(f"{result.windows} windows" + (" of characters" if result.windowed_by == "characters" else ""))
    return notes


def _head(result: Result, source: Any) -> str:
    """The source in a line; an answer quotes its context below."""
    if isinstance(result, Answer) and result.answerable and isinstance(source, Mapping):
        source = {name: value for name, value in source.items() if name != "context"}
    return visible(one_line(source, 100))


def _excerpt(text: str, start: int, end: int) -> tuple[str, int, int]:
    """The sentence that holds `text[start:end]`, as one line, and where the span stands in it.

    A span over several sentences brings all of them. A sentence that goes on for long is cut, with an ellipsis.
    """
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
