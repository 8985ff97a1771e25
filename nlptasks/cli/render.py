"""Results as text for a person; --json is for programs."""

from __future__ import annotations

from typing import Any

from nlptasks.results import Classification, GeneratedText, Result

_OWN = set(Result.model_fields)


def render(result: Result, source: str | None = None) -> str:
    """A result in a line or a few; `source` is the text it belongs to, shown when there are several."""
    if isinstance(result, Classification):
        body = _classification(result)
    elif isinstance(result, GeneratedText):
        body = (result.prompt or "") + result.text
    else:
        body = _fields(result)
    notes = _notes(result)
    head = f"{_shorten(source)}\n  " if source is not None else ""
    return f"{head}{body}{f'  [{notes}]' if notes else ''}"


def _classification(result: Classification) -> str:
    if len(result.labels) > 1:
        return ", ".join(f"{s.label} {s.score:.3f}" for s in result.scores if s.label in result.labels)
    best = result.scores[0]
    if result.label is None:
        return f"undecided (best: {best.label} {best.score:.3f})"
    return f"{result.label} {result.score:.3f}"


def _fields(result: Result) -> str:
    values: dict[str, Any] = {k: v for k, v in result.model_dump(mode="json").items() if k not in _OWN}
    if len(values) == 1:
        return str(next(iter(values.values())))
    return "\n  ".join(f"{name}: {value}" for name, value in values.items())


def _notes(result: Result) -> str:
    """What a reader must know: a cut, several windows."""
    notes = []
    if result.truncated:
        notes.append("part of the input was cut")
    if result.windows > 1:
        notes.append(f"{result.windows} windows")
    return ", ".join(notes)


def _shorten(text: str, width: int = 100) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
