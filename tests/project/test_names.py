"""Names are the field's nouns and verbs: words that name nothing are bound nowhere, retired names stay away."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("nlptasks", "plugins", "ui", "examples", "benchmarks", "recipes", "docs")

BANNED = frozenset({"found", "given", "told", "said", "own", "asked", "done", "shown", "kept"})
"""Participles and pronouns that say nothing about the thing they stand for."""

RETIRED = frozenset({"Lesson", "Settled", "Summarizing", "WritingOptions", "Root", "Lanes", "Turn", "Place"})
"""Class names of earlier versions that nobody outside could know; the CHANGELOG has the table old to new."""


def bindings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name that a file binds: variables, arguments, attributes of self, functions, classes, imports as."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.alias(asname=str() as name):
                yield getattr(node, "lineno", 0), name
            case ast.MatchAs(name=str() as name) | ast.MatchStar(name=str() as name):
                yield node.lineno, name


def files() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.long
@pytest.mark.parametrize("folder", FOLDERS)
def test_no_banned_or_retired_name_is_bound(folder: str) -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in bindings(ast.parse(path.read_text(encoding="utf-8")))
        if name.lstrip("_") in BANNED | RETIRED
    ]
    assert faults == []
