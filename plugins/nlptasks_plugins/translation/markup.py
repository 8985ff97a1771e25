"""The sentences of HTML and Markdown, and their inline marks, which are lifted out before a model reads them."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Literal

from nlptasks import sentences
from nlptasks_plugins.translation.segments import MARKS, segments
from nlptasks_plugins.translation.spans import has_letter

Format = Literal["text", "html", "markdown"]
Span = tuple[int, int]

_INLINE = frozenset(
    [
        *("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i"),
        *("img", "ins", "kbd", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time"),
        *("tt", "u", "var", "wbr"),
    ]
)
"""Elements that stand within a sentence (the HTML standard's phrasing content)."""

_UNTRANSLATED = frozenset({"script", "style", "pre", "textarea", "template", "svg", "math"})

_TAG = r"<!--.*?-->|<(code|kbd|samp|var)\b[^<>]*>.*?</\1>|</?[A-Za-z][^<>]*>|[\ue000-\uf8ff]"
_MARKUP = {
    "html": re.compile(_TAG, re.DOTALL),
    "markdown": re.compile(
        rf"""{_TAG}
        | (`+)(?!`).*?(?<!`)\2(?!`)                           # code
        | <[a-z]+:[^\s<>]+>                                   # an address
        | !\[[^\[\]]*\](?:\([^()]*\)|\[[^\[\]]*\])            # an image
        | \[(?=[^\[\]]*\][(\[]) | \](?:\([^()]*\)|\[[^\[\]]*\])  # a link, around its words
        | \\[^\w\s]                                           # an escaped character
        | (?<!\w)[*_]{{1,3}}(?=\S) | (?<=\S)[*_]{{1,3}}(?!\w) | ~~  # emphasis
        """,
        re.DOTALL | re.VERBOSE,
    ),
}
_FIRST = 0xE000
"""Marks are named by characters for private use, which no language writes."""


def places(text: str, format: Format) -> list[Span]:
    """(start, end) code points of each sentence to translate, in order, without overlap."""
    if format == "text":
        return segments(text)
    ranges = _of_html(text) if format == "html" else _of_markdown(text)
    pieces = [(start + a, start + b) for start, end in ranges for a, b in sentences(text[start:end])]
    return [(start, end) for start, end in pieces if has_letter(_MARKUP[format].sub("", text[start:end]))]


def lifted(text: str, format: Format) -> tuple[str, list[str]]:
    """A sentence with a character for each of its marks, and the marks; HTML's entities become characters."""
    if format == "text":
        return text, []
    marks = [match[0] for match in _MARKUP[format].finditer(text)]
    numbers = iter(range(_FIRST, _FIRST + len(marks)))
    bare = _MARKUP[format].sub(lambda _: chr(next(numbers)), text)
    return re.sub(r"\s+", " ", html.unescape(bare) if format == "html" else bare), marks


def lowered(text: str, marks: list[str], format: Format) -> str:
    """The inverse of `lifted`, for a translation."""
    text = html.escape(text, quote=False) if format == "html" else text
    return text.translate({_FIRST + number: mark for number, mark in enumerate(marks)})


class _Blocks(HTMLParser):
    """Where the tags stand that end a sentence, and what is not translated."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self._text = text
        self._lines = _line_starts(text)
        self._closing: list[tuple[str, int]] = []
        self.spans: list[Span] = []
        self.feed(text)
        self.close()
        if self._closing:
            self.spans.append((self._closing[0][1], len(text)))

    @property
    def _here(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._closing:
            if tag == self._closing[0][0]:
                self._closing.append((tag, self._here))
        elif tag in _UNTRANSLATED or ("translate", "no") in attrs:
            self._closing.append((tag, self._here))
        elif tag not in _INLINE:
            self.spans.append((self._here, self._here + len(self.get_starttag_text() or "")))

    def handle_endtag(self, tag: str) -> None:
        end = self._text.find(">", self._here) + 1 or len(self._text)
        if self._closing:
            if tag == self._closing[0][0]:
                _, start = self._closing.pop()
                self.spans += [] if self._closing else [(start, end)]
        elif tag not in _INLINE:
            self.spans.append((self._here, end))

    def handle_decl(self, decl: str) -> None:
        self.spans.append((self._here, self._text.find(">", self._here) + 1 or len(self._text)))

    def handle_pi(self, data: str) -> None:
        self.handle_decl(data)


def _of_html(text: str) -> list[Span]:
    """What stands between the tags of blocks."""
    borders = [0, *(border for span in sorted(_Blocks(text).spans) for border in span), len(text)]
    return [(start, end) for start, end in zip(borders[::2], borders[1::2], strict=True) if start < end]


def _of_markdown(text: str) -> list[Span]:
    """The lines of paragraphs, headings and cells; joined where nothing but white space stands between them."""
    from markdown_it import MarkdownIt

    starts = [*_line_starts(text), len(text)]
    ranges: list[Span] = []
    at = 0
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        if token.map is None or token.type not in ("inline", "html_block"):
            continue
        begin, end = starts[token.map[0]], starts[min(token.map[1], len(starts) - 1)]
        if token.type == "html_block":
            ranges += [(begin + a, begin + b) for a, b in _of_html(text[begin:end])]
            continue
        at = max(at, begin)
        block: list[Span] = []
        for line in token.content.split("\n"):
            line = line.strip()
            start = text.find(line, at, end) if line else -1
            if start < 0:
                continue
            at = start + len(line)
            mark = MARKS.match(line)
            block.append((start + (mark.end() if mark else 0), at))
        ranges += _paragraph(text, block)
    return ranges


def _paragraph(text: str, lines: list[Span]) -> list[Span]:
    """Lines as one range, cut at hard breaks and at the marks of quotations."""
    cuts = [
        number
        for number, ((_, end), (start, _)) in enumerate(pairwise(lines), 1)
        if text[end:start].strip() or text[end:start].startswith("  ") or text[end - 1] == "\\"
    ]
    return [(lines[first][0], lines[last - 1][1]) for first, last in pairwise([0, *cuts, len(lines)]) if first < last]


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\n", text))]
