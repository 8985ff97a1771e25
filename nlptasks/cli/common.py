"""What several commands share: reading texts, option values."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click


def option_values(pairs: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """`-o KEY VALUE` pairs; a value that is JSON is read as JSON, else it is a text."""
    values: dict[str, Any] = {}
    for key, text in pairs:
        try:
            values[key.replace("-", "_")] = json.loads(text)
        except json.JSONDecodeError:
            values[key.replace("-", "_")] = text
    return values


def read_stdin() -> str:
    """All of standard input as UTF-8; bytes that are none become replacement characters."""
    return sys.stdin.buffer.read().decode("utf-8", "replace")


def read_inputs(path: Path, by_line: bool) -> Iterator[Any]:
    """The inputs in a file: JSONL rows, CSV or TSV rows with a header, lines, or the whole text as one."""
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        yield from _json_lines(path)
    elif suffix in {".csv", ".tsv"}:
        import csv

        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from csv.DictReader(stream, delimiter="\t" if suffix == ".tsv" else ",")
    elif by_line:
        yield from lines(path.read_text(encoding="utf-8", errors="replace"))
    else:
        yield path.read_text(encoding="utf-8", errors="replace")


def lines(text: str) -> list[str]:
    """The lines of a text that hold something."""
    return [line for line in text.splitlines() if line.strip()]


def _json_lines(path: Path) -> Iterator[Any]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise click.ClickException(
                f"{path}:{number}: expected a JSON value, found {line[:60]!r} ({error.msg})."
            ) from None
