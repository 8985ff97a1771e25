"""Attached files as text: .txt, .md, .pdf and .docx."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from pathlib import Path

from nlptasks import NlptasksError
from nlptasks_ui.chat.conversation import Document

MAX_BYTES = 20_000_000
MAX_CHARACTERS = 300_000
"""About a hundred and fifty pages."""
MAX_PAGES = 500


class AttachmentError(NlptasksError):
    """A file that cannot be read as text."""


def read(path: Path) -> Document:
    """The text of a file, with line ends as `\\n`.

    Raises:
        AttachmentError: another type, too large, damaged, locked by a password, or without a text.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise AttachmentError(f"{path.name}: expected {', '.join(_READERS)}, found {path.suffix or 'no extension'}.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise AttachmentError(f"{path.name} has {size:,} bytes, expected {MAX_BYTES:,} at most: split it.")
    text = reader(path).replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        raise AttachmentError(f"{path.name}: expected a text, found none. A scanned page needs OCR first.")
    if len(text) > MAX_CHARACTERS:
        raise AttachmentError(
            f"{path.name} has {len(text):,} characters, expected {MAX_CHARACTERS:,} at most: split it."
        )
    return Document(name=path.name, text=text)


def _plain(path: Path) -> str:
    """UTF-8, UTF-16 or UTF-32 with a byte order mark, else UTF-8, else Windows-1252, which most old files are in."""
    data = path.read_bytes()
    marks = (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    )
    encoding = next((name for mark, name in marks if data.startswith(mark)), None)
    if encoding is None and b"\0" in data:
        raise AttachmentError(f"{path.name}: expected a text, found binary data.")
    for name in [encoding] if encoding else ["utf-8", "cp1252"]:
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            continue
    raise AttachmentError(f"{path.name}: expected UTF-8 or UTF-16, found another encoding: save it as UTF-8.")


def _pdf(path: Path) -> str:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise AttachmentError(f"{path.name} is locked by a password: save a copy without one.")
        if len(reader.pages) > MAX_PAGES:
            raise AttachmentError(f"{path.name} has {len(reader.pages)} pages, expected {MAX_PAGES} at most: split it.")
        return "\n\n".join(page.extract_text() for page in reader.pages)
    except (PyPdfError, ValueError, KeyError, IndexError, TypeError, OSError) as error:
        raise AttachmentError(f"{path.name} cannot be read as a PDF ({error}): open and save it anew.") from error


def _docx(path: Path) -> str:
    """Paragraphs and tables in their order; the cells of a row are joined by tabs."""
    from zipfile import BadZipFile, ZipFile

    from docx import Document as open_docx
    from docx.opc.exceptions import PackageNotFoundError
    from docx.table import Table

    try:
        with ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > 10 * MAX_BYTES:
            raise AttachmentError(f"{path.name} has {size:,} bytes unpacked, expected {10 * MAX_BYTES:,} at most.")
        parts = []
        for part in open_docx(str(path)).iter_inner_content():
            if isinstance(part, Table):
                parts += ["\t".join(cell.text for cell in row.cells) for row in part.rows]
            else:
                parts.append(part.text)
        return "\n".join(parts)
    except (BadZipFile, PackageNotFoundError, KeyError, ValueError, OSError) as error:
        raise AttachmentError(
            f"{path.name} cannot be read as a Word document ({error}): save it anew as .docx."
        ) from error


_READERS: Mapping[str, Callable[[Path], str]] = {".txt": _plain, ".md": _plain, ".pdf": _pdf, ".docx": _docx}

TYPES = tuple(_READERS)
"""File endings that can be attached."""
