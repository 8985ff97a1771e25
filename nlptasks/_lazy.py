"""Public faces: packages whose names are imported when they are first used.

The stub beside a package's `__init__.py` lists its names, for type checkers and editors as for this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a package; `file` is its `__file__`."""
    stub = Path(file).with_suffix(".pyi").read_text(encoding="utf-8")
    # Not by `ast`, which alone takes a tenth of the time of `import nlptasks`; a test reads the stubs with it.
    imports = re.findall(r"^from (\S+) import (\([^)]*\)|.*)$", stub, re.MULTILINE)
    module_of = {name: module for module, names in imports for name in re.findall(r"(\w+) as \w+", names)}

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(module_of[name]), name)
        setattr(import_module(package), name, value)
        return value

    names = sorted(module_of)
    return get, lambda: names, names
