"""Installed distributions made by hand: a module and its dist-info in a folder on the path."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

import pytest

from nlptasks.plugins import Plugins
from nlptasks.settings import Settings

GOOD = """
from nlptasks import TextClassification, hookimpl

class Good(TextClassification):
    '''A task that works.'''
    name = "{name}"
    labels = ("a", "b")
    examples = ("x",)

@hookimpl
def register_tasks(register):
    register(Good())
"""


class Site:
    """A folder like site-packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, code: str, *, entry: str | None = None, value: str | None = None) -> str:
        """Install the distribution `nlptasks-NAME` with one module and one entry point; returns the module's name."""
        module = f"plugin_{name.replace('-', '_')}"
        (self.folder / f"{module}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        self.add_metadata(f"nlptasks-{name}", f"[nlptasks]\n{entry or name} = {value or module}\n")
        return module

    def add_metadata(self, distribution: str, entry_points: str | bytes, metadata: str | None = None) -> Path:
        info = self.folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        if metadata is None:
            metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        if metadata:
            (info / "METADATA").write_text(metadata, encoding="utf-8")
        raw = entry_points if isinstance(entry_points, bytes) else entry_points.encode()
        (info / "entry_points.txt").write_bytes(raw)
        return info

    def good(self, name: str) -> str:
        return self.add(name, GOOD.format(name=name))

    def entry_points(self) -> list[EntryPoint]:
        return [
            entry
            for distribution in distributions(path=[str(self.folder)])
            for entry in distribution.entry_points
            if entry.group == "nlptasks"
        ]


@pytest.fixture(name="site")
def site_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A folder of distributions on the path; its modules are forgotten afterwards."""
    made = Site(tmp_path / "site")
    monkeypatch.syspath_prepend(made.folder)
    yield made
    for name in [name for name in sys.modules if name.startswith("plugin_")]:
        del sys.modules[name]


@pytest.fixture(name="plugins")
def plugins_fixture(settings: Settings) -> Plugins:
    return Plugins(settings)
