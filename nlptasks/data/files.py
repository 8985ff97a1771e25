"""Files of rows: their formats, the decoding of their bytes, and what is refused as no text."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from nlptasks.errors import DataError

TAGGED_FORMATS = (".conll", ".bio", ".iob")
"""One token per line with its tag in the last column; a blank line ends a sentence."""

FORMATS = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow", ".xlsx", *TAGGED_FORMATS)
"""The extensions of files that can be read, each also with .gz."""

LIMIT = 200_000_000
"""Maximum number of characters in memory: a whole .json or .txt file, or one line of any other."""

UNPACKED = 1_000_000_000
"""Maximum number of bytes that a .gz file of a format with random access unpacks to, since all of them are copied."""

_BLOCK = 1 << 16
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # Before UTF-16's mark, with which it begins.
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY = {b"%PDF-": "a PDF", b"PK\3\4": "a ZIP archive", b"\x1f\x8b": "gzip", b"PAR1": "Parquet", b"ARROW1": "Arrow"}
_BROKEN = re.compile("[\0\ud800-\udfff]")
_GUESSES = (("cp1251", "[а-яё]{3}"), ("shift_jis", "[\u3040-\u30ff]"), ("gb18030", "[\u4e00-\u9fff]{2}"))
"""Encodings that are not Latin, with a pattern that their texts have and a wrong decoding seldom has."""


@dataclass(frozen=True)
class DataFile:
    """A file of rows; `name` is its name in messages."""

    name: str
    path: Path
    encoding: str | None = None
    sheet: str | None = None

    @property
    def packed(self) -> bool:
        return self.path.suffix.lower() == ".gz"

    @property
    def format(self) -> str:
        """The extension in lower case, without .gz."""
        return (self.path.with_suffix("") if self.packed else self.path).suffix.lower()

    @property
    def fault(self) -> str:
        """Why the file cannot be read at all, or ''."""
        if not self.path.is_file():
            return f"{self.name}: expected a file, found {'a folder' if self.path.is_dir() else 'none'}."
        if self.format not in FORMATS:
            kinds = f"{', '.join(FORMATS)} (also with .gz)"
            return f"{self.name}: expected one of {kinds}, found {self.path.suffix or 'no extension'!r}."
        return ""

    @contextmanager
    def open(self, *, seekable: bool = False) -> Iterator[BinaryIO]:
        """The unpacked bytes; `seekable` for libraries that need random access."""
        with self.path.open("rb") as stream:
            if not self.packed:
                yield stream
                return
            with gzip.open(stream) as content, tempfile.TemporaryFile() as copy:
                if seekable:
                    while copy.tell() <= UNPACKED and (block := content.read(_BLOCK)):
                        copy.write(block)
                    if copy.tell() > UNPACKED:
                        raise DataError(
                            f"{self.name}: expected at most {UNPACKED // 10**9} GB unpacked, found more: unpack it "
                            "first, and name the file without .gz."
                        )
                    copy.seek(0)
                yield copy if seekable else cast(BinaryIO, content)

    @contextmanager
    def text(self, newline: str | None = None) -> Iterator[TextIO]:
        """The decoded text; see `open_text`."""
        with self.open() as stream, open_text(stream, self.name, self.encoding, newline) as text:
            yield text


def open_text(stream: BinaryIO, name: str, encoding: str | None = None, newline: str | None = None) -> TextIO:
    r"""Decode bytes: UTF-8, UTF-16 and UTF-32 by their marks, else `encoding`. Lines end at \n, \r\n and \r alone.

    Bytes that are no character come out as lone surrogates, which `text_fault` names.

    Raises:
        DataError: the bytes are no text, or nobody knows the encoding.
    """
    buffered = io.BufferedReader(cast(Any, stream), _BLOCK)
    head = buffered.peek(_BLOCK)
    marked = next((codec for mark, codec in _MARKS if head.startswith(mark)), None)
    if kind := next((kind for signature, kind in _BINARY.items() if head.startswith(signature)), None):
        raise DataError(f"{name}: expected text, found {kind}.")
    if not (marked or encoding) and head.count(0) > len(head) // 20:
        raise DataError(
            f"{name}: expected text, found NUL bytes; UTF-16 without its mark is read with --encoding utf-16-le."
        )
    try:
        codec = codecs.lookup(marked or encoding or "utf-8").name
        codec = "utf-8-sig" if codec == "utf-8" else codec
        errors = "surrogatepass" if codec.startswith(("utf-16", "utf-32")) else "surrogateescape"
        return io.TextIOWrapper(cast(Any, buffered), codec, errors, newline)
    except LookupError:
        raise DataError(f"--encoding: expected an encoding such as utf-8 or cp1252, found {encoding!r}.") from None


def lines(stream: TextIO, name: str) -> Iterator[str]:
    """The lines with their ends, one at a time."""
    while line := stream.readline(LIMIT):
        yield _bounded(line, name)


def whole(stream: TextIO, name: str) -> str:
    """All of a text."""
    return _bounded(stream.read(LIMIT), name)


def _bounded(text: str, name: str) -> str:
    if len(text) < LIMIT:
        return text
    raise DataError(
        f"{name}: expected fewer than {LIMIT // 10**6} million characters at once, found more: write one row a line, "
        "as in .jsonl or .csv, which are read row by row."
    )


def text_fault(value: Any, encoding: str | None = None) -> str:
    """Why a text, or one in lists and mappings, is invalid: undecodable bytes or NUL; else ''."""
    if isinstance(value, str):
        # Most texts are plain, and this is quicker than a search.
        match = None if value.isascii() and "\0" not in value else _BROKEN.search(value)
        return _fault_at(value, match.start(), encoding) if match else ""
    if isinstance(value, dict):
        value = (*value, *value.values())
    if isinstance(value, list | tuple):
        for item in value:
            if fault := text_fault(item, encoding):
                return fault
    return ""


def _fault_at(text: str, place: int, encoding: str | None) -> str:
    character = text[place]
    if character == "\0":
        return "expected text, found a NUL character."
    if not "\udc80" <= character <= "\udcff":
        return f"expected text, found half of a surrogate pair ({character!r})."
    near = _near_guess(text[max(0, place - 20) : place + 20])
    return f"expected {encoding or 'UTF-8'}, found other bytes; save the file as UTF-8{near}."


def _near_guess(text: str) -> str:
    """A hint of a likely encoding, with the text that it would give; else ''."""
    raw = text.encode("utf-8", "surrogateescape")
    foreign = sum(byte > 127 for byte in raw) > len(raw) / 3
    for name, pattern in _GUESSES if foreign else (("cp1252", ""),):
        read = raw.decode(name, "replace").replace("\ufffd", "")
        if re.search(pattern, read):
            return f", or give --encoding {name}, which reads {read.strip()!r}"
    return ""
