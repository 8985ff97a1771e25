"""Public faces: packages whose names are imported when they are first used.

The names of a face stand once, in the stub beside its `__init__.py`: type checkers and editors read it, and so do we.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

Homes = Mapping[str, Iterable[str]]
"""Modules, and the names that are imported from each."""


def lazy(package: str, homes: Homes) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a package that has the names of other modules."""
    home_of = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(home_of[name]), name)
        setattr(import_module(package), name, value)
        return value

    names = sorted(home_of)
    return get, lambda: names, names


def stub(file: str) -> Homes:
    """What the stub beside a package's `__init__.py` imports; `file` is the package's `__file__`."""
    body = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8")).body
    homes: dict[str, list[str]] = {}
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module:
            homes.setdefault(node.module, []).extend(alias.name for alias in node.names)
    return homes
