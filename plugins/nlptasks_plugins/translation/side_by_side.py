"""A translation beside its text, for the web app: sentences that belong together light up together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from nlptasks_plugins import languages

if TYPE_CHECKING:
    from nlptasks_plugins.translation.results import Translation

Span = tuple[int, int]


def view(result: Translation, inputs: Any) -> str:
    """Two columns of HTML; a doubtful sentence is marked and says why."""
    source = _aligned(inputs.text, [(segment.start, segment.end) for segment in result.segments], result)
    target = _aligned(result.translation, [(s.target_start, s.target_end) for s in result.segments], result)
    left = f'<div class="nlp-pane"><h4>{_language(result.source_language)}</h4>{source}</div>'
    right = f'<div class="nlp-pane"><h4>{_language(result.target_language)}</h4>{target}</div>'
    return f'<div class="nlp-columns">{left}{right}</div>{"".join(_remarks(result))}'


def _aligned(text: str, places: Sequence[Span], result: Translation) -> str:
    """A text with each of its sentences in an element of its own; between them it stays as it is."""
    parts, at = [], 0
    for number, ((start, end), segment) in enumerate(zip(places, result.segments, strict=True)):
        doubt = f' class="nlp-doubt" title="Doubtful: {escape(segment.doubt)}"' if segment.doubt else ""
        parts += [escape(text[at:start]), f'<span data-pair="{number}"{doubt}>{escape(text[start:end])}</span>']
        at = end
    return f'<div class="nlp-text">{"".join(parts)}{escape(text[at:])}</div>'


def _remarks(result: Translation) -> Iterator[str]:
    for segment in result.segments:
        if segment.doubt:
            yield f'<p class="nlp-note">“{escape(segment.text)}”: {escape(segment.doubt)}.</p>'
        if segment.alternatives:
            others = "".join(f"<li>{escape(other)}</li>" for other in segment.alternatives)
            yield f'<p class="nlp-note">Others for “{escape(segment.source)}”</p><ul class="nlp-list">{others}</ul>'


def _language(tag: str) -> str:
    return escape("Unknown language" if tag == languages.UNDETERMINED else languages.name(tag))
