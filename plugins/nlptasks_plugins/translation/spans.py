"""What a translation must keep as it is: addresses, numbers, code, placeholders, tags, signs.

A model reads a sentence with a stand-in for each such span, and the span takes the stand-in's place in the translation.
Where a stand-in does not come back exactly once, the words around the spans are translated by themselves.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

STAND_INS = ("X{}", "#{}")
"""How spans are written for the model, by attempt. These two, `47` and `PHP` came back from the embedded translator
in 177 of 180 sentences (three directions); `{0}` in none."""

IN_PARTS = len(STAND_INS)
"""The last attempt, which translates the words around the spans one by one."""

TAG = r"</?[A-Za-z][^<>\n]*>|<!--.*?-->|<\|[^<>|\n]*\|>|>>\w+<<|[\ue000-\uf8ff]"
"""Tags and control tokens: `<b>`, `</s>`, `<|im_end|>`, `>>fra<<`; what `markup.lifted` puts for a mark."""

_OPAQUE = re.compile(
    rf"""
      {TAG}
    | &(?:[A-Za-z]\w+|\#\w+);                                        # an entity of HTML
    | (?<!`)`{{1,3}}[^`\n]+`{{1,3}}                                     # code
    | (?:[a-z][a-z0-9+.-]*://|www\.)[^\s<>"]+[^\s<>"'.,;:!?)\]}}»”’]   # an address
    | (?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*                       # mail
    | \$?\{{{{1,3}}[^{{}}\n]*\}}{{1,3}} | \[\[[^\[\]\n]*\]\]                       # {{name}}, ${{name}}, [[name]]
    | %(?:\(\w+\)|\d+\$)?[-+\#0]?\d*(?:\.\d+)?[sdifgxXu@](?!\w)      # %s, %(count)d, %1$s
    | (?<!\w)[$@\#:][A-Za-z_]\w*                                     # $name, @name, #name, :name
    | (?:SELECT\ [^;\n]{{1,200}}?\ FROM|INSERT\ INTO|UPDATE\ [\w.]+\ SET|DELETE\ FROM|(?:CREATE|ALTER|DROP)\ TABLE)
      \ [^;\n]{{1,300}};                                             # a statement of SQL
    | (?<![\w./-])(?:git|pip3?|npm|docker|kubectl)                  # a command, with its options
      \ (?:install|run|build|add|init|push|pull|clone|commit|checkout|exec|apply)(?![\w-])
      (?:\ --?[A-Za-z][\w-]*(?:=\S+)?)*
    | (?<![\w./-])(?:[\w-]+/)+[\w.-]*\.[a-z\d]+(?!\w)               # folder/file.md
    | (?<![\w.])(?:\w+(?:\.\w+)+\((?:[^()\s]|,\ )*\)|\w+\(\))        # getName(), a.b("x").c
      (?:\.\w+(?:\((?:[^()\s]|,\ )*\))?)*
    | (?<![\w.,-])(?![A-Za-z]?[a-z]*\.[A-Z][a-z]+\b)                 # example.org, a.tar.gz, but not "end.Next"
      (?=[\w.-]*[A-Za-z])(?=[\w.-]*\w{{2}})[\w-]+(?:\.[\w-]*\w)+(?:/[\w./?=&%\#-]*\w)?(?!\w)
    | (?<!\w)--?[A-Za-z][\w-]*(?:=\S+)? (?=\s|$)                     # an option of a command
    | (?:(?<!\w)[A-Za-z]:|(?<!\\)\\(?=\\\w))                         # C:\My folder\file, \\server\file
      (?:\\[^\\\n"'<>:|?*]{{1,80}}(?<!\ )(?=\\))*\\[^\s"'<>\\]*[\w\\]
    | (?<![\w/])(?:~|\.{{1,2}})?/[\w.@~+-]*\w(?:/[\w.@~+-]*\w)*/?      # /folder/file
    | (?<!\w)(?:\w*_\w*|[a-z]+[A-Z]\w*)                              # my_name, myName
    """,
    re.VERBOSE | re.ASCII,
)
_SIGN = r"[^\w\s.,;:!?'\"()\[\]/&%@*\-–—‘’“”„‚«»‹›¿¡…·‐‑\u0300-\u036f\u200b-\u200f\u00ad\ufe0f]"
_SIGNS = re.compile(rf"(?<!\w)\w*{_SIGN}+\w*")
"""Signs, with the word they stand in: →, C++, Windows™."""

_NUMBER = re.compile(
    rf"""(?<!\w)(?:{_SIGN}\ ?|-(?=\d)){{0,3}}                              # €, #, +, ≤
    (?:(?<!\w)[A-Za-z]{{1,5}}-?)?                                    # BA2490, v3, COVID-19
    \d+(?:[.,:/'’×°′-]?\d+|[A-Z]+\d*(?!\w)|T\d+)*
    (?:\ \d{{2,}}(?:[.,:/-]?\d+)*)*                                 # 0049 221 5550
    (?:\ ?(?:[%‰€$£¥₹′″]|°[CF]?|(?:km/h|km|cm|mm|kg|mg|ml|kWh|GB|MB|kB|Hz|m|g|l|h|s)(?!['’]))[²³NSEW]?)*(?!\w)""",
    re.VERBOSE,
)
_FIGURE = re.compile(r"(?<!\w)\w*[¹²³⁰-₎½¼¾⅐-⅞]\w*")
"""Raised and lowered figures and fractions, with the letters beside them: x², H₂O, ½."""

_PLAIN = re.compile(r"\d{1,4}(?:[.,:]\d{1,2})?")
"""Numbers that models copy well; beside words, a model that reads them inflects the words rightly."""

FOREIGN = re.compile(
    r"[\u0370-\u1dbf\u1f00-\u1fff\u2c80-\ua71f\ua840-\uab2f\uab70-\ufaff\ufb1d-\uff20\U00010000-\U0001efff\U00020000-\U0003ffff]+"
    r"|(?<!\w)\w*[ÅåÐðÞþĀ-őŔ-ŷŹ-ɏḀ-ẝẟ-ỿ]\w*"
)
"""What `WESTERN` languages have in names and quotations only: other scripts, and words with other Latin letters."""

WESTERN = frozenset({"de", "en", "es", "fr", "it", "nl", "pt"})

_DIGITS = re.compile(r"\d+(?:[.,:'’\u00a0\u202f ]?\d+)*")


@dataclass(frozen=True)
class StandIn:
    """What the model reads in place of a span, and whether a word of the text touches the span on its left or right."""

    name: str
    span: str
    left: bool
    right: bool


@dataclass(frozen=True)
class Reading:
    """What a model reads of a sentence: the texts to translate, between or around what stays.

    `parts` alternate: words, what stands behind them, words, ... `stand_ins` are in the words.
    """

    parts: tuple[str, ...]
    stand_ins: tuple[StandIn, ...] = ()
    capitals: bool = False

    @property
    def texts(self) -> list[str]:
        """The texts to translate, in order."""
        return [part.strip() for part in self.parts[::2] if has_letter(part)]

    def joined(self, translations: Sequence[str]) -> str | None:
        """The whole translation; None if a stand-in is not there exactly once, or tags changed places."""
        left = iter(translations)
        parts = list(self.parts)
        for place in range(0, len(parts), 2):
            if has_letter(part := parts[place]):
                words = self._restored(next(left).strip() or part.strip())
                if words is None:
                    return None
                parts[place] = part[: len(part) - len(part.lstrip())] + words + part[len(part.rstrip()) :]
        return "".join(parts)

    def _restored(self, text: str) -> str | None:
        if not self.stand_ins:
            return self._cased(text)
        by_name = {one.name: one for one in self.stand_ins}
        pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, by_name))})(?!\w)")
        parts = pattern.split(text)
        order = [by_name[name] for name in parts[1::2]]
        tags = [one for one in order if re.match(TAG, one.span)]
        if Counter(order) != Counter(self.stand_ins) or tags != [one for one in self.stand_ins if one in tags]:
            return None
        words = [self._cased(part) for part in parts[::2]]
        for number, one in enumerate(order):
            words[number] = words[number].rstrip() if one.left else words[number]
            words[number + 1] = words[number + 1].lstrip() if one.right else words[number + 1]
        return "".join(a + b for a, b in zip(words, [*(one.span for one in order), ""], strict=True))

    def _cased(self, text: str) -> str:
        return text.upper() if self.capitals else text


def reading(text: str, attempt: int, *, western: bool = True) -> Reading:
    """How the model reads a sentence at its first attempt (0), the next (1) and the last.

    Args:
        text: the sentence.
        attempt: 0 leaves plain numbers to the model; 1 has other stand-ins, for numbers too; `IN_PARTS` has none and
            cuts the sentence.
        western: whether both languages are `WESTERN`.
    """
    places = protected(text, plain=attempt > 0, western=western)
    outside = _outside(text, places)
    if capitals := _in_capitals("".join(outside)):
        outside = [_sentence_case(outside[0]), *map(str.lower, outside[1:])]
    spans = [text[start:end] for start, end in places]
    if attempt >= IN_PARTS:
        parts = [part for pair in zip(outside, [*spans, ""], strict=True) for part in pair]
        return Reading(tuple(parts[:-1]), (), capitals)
    if not any(map(has_letter, outside)):
        return Reading(("", text))
    # Tags at the ends are no part of the sentence.
    first = next((i for i, part in enumerate(outside) if part.strip() or not _is_tag(spans, i)), len(spans))
    last = next((i for i in range(len(spans), first, -1) if outside[i].strip() or not _is_tag(spans, i - 1)), first)
    head = "".join(a + b for a, b in zip(outside[:first], spans[:first], strict=True))
    tail = "".join(a + b for a, b in zip(spans[last:], outside[last + 1 :], strict=True))
    stand_ins = tuple(
        StandIn(name, spans[i], outside[i][-1:].isalnum(), outside[i + 1][:1].isalnum())
        for i, name in zip(range(first, last), _names(text, last - first, STAND_INS[attempt]), strict=True)
    )
    # A name must stand alone to be copied.
    names = [" " * one.left + one.name + " " * one.right for one in stand_ins]
    inner = "".join(a + b for a, b in zip(outside[first : last + 1], [*names, ""], strict=True))
    return Reading(("", head, inner, tail), stand_ins, capitals)


@functools.lru_cache(maxsize=8192)  # each sentence of a batch is looked at about six times
def protected(text: str, *, plain: bool = True, western: bool = True) -> tuple[tuple[int, int], ...]:
    """(start, end) of each span that a translation keeps, in order; with `plain`, plain numbers too."""
    # Bytes, since a list of spans would be compared with each new one: a text may hold thousands.
    taken = bytearray(len(text))
    spans: list[tuple[int, int]] = []
    for pattern in (_OPAQUE, _NUMBER, _FIGURE, _SIGNS, *([FOREIGN] if western else [])):
        for match in pattern.finditer(text):
            start, end = match.span()
            if match[0].strip() and not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                spans.append((start, end))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and not text[merged[-1][1] : start].strip(" "):
            start = merged.pop()[0]
        merged.append((start, end))
    return tuple(place for place in merged if plain or not _PLAIN.fullmatch(text[slice(*place)]))


def differences(source: str, translation: str, *, western: bool = True) -> str | None:
    """What a translation did not keep of a sentence's spans, or None."""
    for start, end in protected(source, western=western):
        span = source[start:end]
        if any(map(str.isdigit, span)) and not _OPAQUE.fullmatch(span):
            continue
        if span not in translation:
            return f"{span!r} is not in it"
    numbers, others = (Counter(re.sub(r"\D", "", n) for n in _DIGITS.findall(t)) for t in (source, translation))
    lost = next(iter(numbers - others), None)
    if lost is not None and lost not in re.sub(r"\D", "", translation):
        return f"the number {lost} is not in it"
    new = next(
        (number for number in others - numbers if len(number) > 2 and number not in re.sub(r"\D", "", source)), None
    )
    return f"it adds the number {new}" if new else None


def has_letter(text: str) -> bool:
    """Whether there is a word to translate."""
    return any(unicodedata.category(character).startswith("L") for character in text)


def _outside(text: str, places: Sequence[tuple[int, int]]) -> list[str]:
    borders = [0, *(border for place in places for border in place), len(text)]
    return [text[start:end] for start, end in zip(borders[::2], borders[1::2], strict=True)]


def _is_tag(spans: Sequence[str], number: int) -> bool:
    return re.fullmatch(f"(?:{TAG}| )+", spans[number]) is not None


def _names(text: str, count: int, pattern: str) -> list[str]:
    """Stand-ins that the text does not hold itself."""
    names: list[str] = []
    number = 1
    while len(names) < count:
        name = pattern.format(number)
        names += [] if name in text else [name]
        number += 1
    return names


def _in_capitals(text: str) -> bool:
    """Whether a sentence is written in capitals, and is more than an abbreviation."""
    return text.isupper() and sum(map(str.isalpha, text)) > 5


def _sentence_case(text: str) -> str:
    first = next((i for i, character in enumerate(text) if character.isalpha()), 0)
    return text[: first + 1] + text[first + 1 :].lower()
