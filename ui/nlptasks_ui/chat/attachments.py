"""The text of attached files: .txt, .md, .pdf and .docx."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from pathlib import Path

from nlptasks import NlptasksError
from nlptasks_ui.chat.conversation import Document

MAX_BYTES = 20_000_000
MAX_CHARACTERS = 300_000
"""About 150 pages."""
MAX_PAGES = 500


class AttachmentError(NlptasksError):
    """A file whose text cannot be read."""


def read(path: Path) -> Document:
    """The text of a file, with `\\n` as line ending.

    Raises:
        AttachmentError: the file is of another type, too large, damaged, password-protected, or has no text.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise AttachmentError(f"{path.name}: expected {', '.join(_READERS)}, found {path.suffix or 'no extension'}.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise AttachmentError(f"{path.name}: expected at most {MAX_BYTES:,} bytes, found {size:,}: split the file.")
    text = reader(path).replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        raise AttachmentError(f"{path.name}: expected text, found none. Scanned pages need OCR first.")
    if len(text) > MAX_CHARACTERS:
        raise AttachmentError(
            f"{path.name}: expected at most {MAX_CHARACTERS:,} characters, found {len(text):,}: split the file."
        )
    return Document(name=path.name, text=text)


def _plain(path: Path) -> str:
    """Text in UTF-8, UTF-16 or UTF-32 by its byte order mark, else UTF-8, else Windows-1252, as most old files are."""
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
        raise AttachmentError(f"{path.name}: expected text, found binary data.")
    for name in [encoding] if encoding else ["utf-8", "cp1252"]:
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            continue
    raise AttachmentError(f"{path.name}: expected UTF-8 or UTF-16, found another encoding: save the file as UTF-8.")


def _pdf(path: Path) -> str:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise AttachmentError(f"{path.name} is password-protected: save a copy without a password.")
        if len(reader.pages) > MAX_PAGES:
            raise AttachmentError(
                f"{path.name}: expected at most {MAX_PAGES} pages, found {len(reader.pages)}: split the file."
            )
        return "\n\n".join(page.extract_text() for page in reader.pages)
    except (PyPdfError, ValueError, KeyError, IndexError, TypeError, OSError) as error:
        raise AttachmentError(f"{path.name} cannot be read as a PDF ({error}): open it and save it again.") from error


def _docx(path: Path) -> str:
    """Paragraphs and tables in document order; the cells of a row are joined by tabs."""
    from zipfile import BadZipFile, ZipFile

    from docx import Document as open_docx
    from docx.opc.exceptions import PackageNotFoundError
    from docx.table import Table

    try:
        with ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > 10 * MAX_BYTES:
            raise AttachmentError(
                f"{path.name}: expected at most {10 * MAX_BYTES:,} bytes unpacked, found {size:,}: split the file."
            )
        parts = []
        for part in open_docx(str(path)).iter_inner_content():
            if isinstance(part, Table):
                parts += ["\t".join(cell.text for cell in row.cells) for row in part.rows]
            else:
                parts.append(part.text)
        return "\n".join(parts)
    except (BadZipFile, PackageNotFoundError, KeyError, ValueError, OSError) as error:
        raise AttachmentError(
            f"{path.name} cannot be read as a Word document ({error}): open it and save it as .docx again."
        ) from error


_READERS: Mapping[str, Callable[[Path], str]] = {".txt": _plain, ".md": _plain, ".pdf": _pdf, ".docx": _docx}

TYPES = tuple(_READERS)
"""The extensions of files that can be attached."""
