"""The public names: their stubs, which type checkers read, say what there is when the program runs."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import nlptasks
import nlptasks_plugins

PACKAGES = (nlptasks, nlptasks_plugins)


def stubbed(package: object) -> list[tuple[str, str]]:
    """The modules and names that a package's stub imports."""
    stub = Path(str(package.__file__)).with_suffix(".pyi")  # type: ignore[attr-defined]
    imports = [node for node in ast.parse(stub.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
    for node in imports:
        # `import x` in a stub is private, `import x as x` is not (PEP 484).
        assert all(alias.name == alias.asname for alias in node.names), f"{stub}: {node.module}"
    return [(str(node.module), alias.name) for node in imports for alias in node.names]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_stub_and_its_package_hold_the_same_names(package: object) -> None:
    pairs = stubbed(package)
    names = [name for _, name in pairs]
    assert len(names) == len(set(names))
    assert sorted(names) == sorted(set(package.__all__) - {"__version__"})  # type: ignore[attr-defined]
    for home, name in pairs:
        assert getattr(package, name) is getattr(import_module(home), name)
    assert set(names) <= set(dir(package))
    modules = list(dict.fromkeys(home for home, _ in pairs))
    assert modules == sorted(modules)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_name_that_there_is_not_is_an_attribute_error(package: object) -> None:
    with pytest.raises(AttributeError, match=r"module 'nlptasks\w*' has no attribute 'Sentimental'"):
        package.Sentimental  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.long
def test_importing_a_built_in_task_brings_in_no_torch_and_no_other_task() -> None:
    code = (
        "import sys; from nlptasks_plugins import Sentiment; print(Sentiment.name, "
        "*(name for name in ('torch', 'transformers', 'nlptasks_plugins.qa') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("sentiment", "")
